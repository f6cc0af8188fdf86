"""The order of cases in an epoch, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from glocal.training.augment import batch_generator

__all__ = ["EpochSampler", "balancing_weights"]

_ORDER = 2**31
"""Stands for the step in the seed of the order, so that no augmentation shares it."""


class EpochSampler(Sampler[int]):
    """Each case once in an order drawn anew every epoch; or, with weights, cases drawn with repetition.

    Args:
        count: Number of cases.
        seed: Seed of the run.
        weights: ``(count,)`` relative frequency of each case.

    Lightning calls :meth:`set_epoch` before every epoch.
    """

    def __init__(self, count: int, seed: int, weights: Tensor | None = None) -> None:
        self.count = count
        self.seed = seed
        self.weights = weights
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = batch_generator(self.seed, self.epoch, _ORDER)
        if self.weights is None:
            return iter(torch.randperm(self.count, generator=generator).tolist())
        return iter(torch.multinomial(self.weights, self.count, replacement=True, generator=generator).tolist())


def balancing_weights(present: npt.NDArray[np.bool_], *, empty: bool = False) -> Tensor:
    """Weights that let rare classes be seen more often.

    Args:
        present: ``(N, K)``, which case shows which class.
        empty: Slices of volumes: showing nothing but the background, class 0, counts as a class of its own. With one
            structure, half of the slices that are drawn then show it.

    Returns:
        ``(N,)``: for each case ``1 / share of cases that show the class``, of the rarest class it shows.
    """
    if empty:
        present = np.concatenate([~present[:, 1:].any(axis=1, keepdims=True), present[:, 1:]], axis=1)
    share = present.mean(axis=0)
    rarity = np.divide(1.0, share, out=np.zeros_like(share), where=share > 0)
    weights = np.maximum((present * rarity).max(axis=1), 1.0)
    return torch.from_numpy(weights)
