"""Augmentation of whole batches on the device: one geometric warp of image and mask, then colour.

Every draw comes from a generator seeded by (seed, epoch, step), so a batch is augmented alike whoever asks again.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from glocal.training import _colour, _rand_augment, _warp
from glocal.training.augment_config import NEEDS_RGB, AugmentConfig, OneOfName, check_augment

__all__ = ["Augment", "batch_generator"]

log = logging.getLogger("glocal")


def batch_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """A CPU generator that is a function of its three arguments alone."""
    state = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


class Augment:
    """The augmentation of a recipe, as a function of batch, seed, epoch and step.

    Args:
        config: Ranges and probabilities.
        channels: Of the images. Changes of colour are left out for grey images; the log says which.
        seed: Seed of the run.
        coloured: Three channels are RGB; otherwise all are grey, such as neighbouring slices.

    Raises:
        UserError: A probability or range that makes no sense.
    """

    def __init__(self, config: AugmentConfig, channels: int, seed: int, coloured: bool = True) -> None:
        check_augment(config)
        self.config = config
        self.channels = channels
        self.coloured = coloured and channels == 3
        self.seed = seed
        self.warps = any((config.crop.p, config.affine.p, config.flip.horizontal, config.flip.vertical))
        self.pool = [name for name in config.one_of.transforms if self.coloured or name not in NEEDS_RGB]
        left_out: list[str] = (
            [name for name in config.one_of.transforms if name not in self.pool] if config.one_of.p else []
        )
        if not self.coloured and config.color_jitter.p:
            left_out += ["saturation and hue of color_jitter"]
        if left_out:
            what = "grey images" if channels == 1 else f"{channels} neighbouring slices as channels"
            log.info("%s: augmentation leaves out %s", what, ", ".join(left_out))

    def __call__(self, images: Tensor, labels: Tensor, *, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Augment a batch of images and masks.

        Args:
            images: ``(N, C, H, W)`` float in [0, 1].
            labels: ``(N, H, W)`` integers.
            epoch: Number of the epoch.
            step: Number of the batch in the epoch.

        Returns:
            Images and labels of the same shapes and types. Labels get no values but those there were and 0.
        """
        images, maps = self._apply(images, labels, batch_generator(self.seed, epoch, step))
        assert maps is not None
        return images, maps

    def images(self, images: Tensor, *, epoch: int, step: int) -> Tensor:
        """Augment a batch of images that have no masks; they change as in :meth:`__call__`."""
        return self._apply(images, None, batch_generator(self.seed, epoch, step))[0]

    def _apply(self, images: Tensor, labels: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        n, _, height, width = images.shape
        size, c = (n, height, width), self.config
        turned = None
        if c.turn.p:  # not drawn otherwise, so that older recipes repeat what they did
            turned = torch.rand(n, generator=generator) < c.turn.p
            images, labels = _warp.turned(images, labels, turned, generator)
        plan = _warp.draw_plan(c.crop, c.affine, c.flip, size, generator, turned)
        chosen = self._choose(n, generator)
        displacement = _warp.draw_displacement(chosen, c.one_of, size, generator)
        if self.warps or displacement is not None:
            images, labels = _warp.warp(images, labels, plan, displacement)
        if c.rand_augment.p:
            images, labels = _rand_augment.rand_augment(images, labels, c.rand_augment, generator, self.coloured)
        images = _colour.color_jitter(images, c.color_jitter, generator, self.coloured)
        images = _colour.gaussian_blur(images, torch.rand(n, generator=generator) < c.blur.p, generator)
        for name, rows in chosen.items():
            images = _colour.apply(name, images, rows, c.one_of, generator, self.coloured)
        return images, labels

    def _choose(self, n: int, generator: torch.Generator) -> dict[OneOfName, Tensor]:
        """For each change of ``one_of``, which rows of the batch ``(N,)`` get it."""
        applied = torch.rand(n, generator=generator) < self.config.one_of.p
        index = torch.randint(max(1, len(self.pool)), (n,), generator=generator)
        chosen = {name: applied & (index == i) for i, name in enumerate(self.pool)}
        return {name: rows for name, rows in chosen.items() if rows.any()}
