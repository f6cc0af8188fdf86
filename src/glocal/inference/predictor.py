"""A trained network with everything between an image and its mask."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from glocal.data.readers import Picture
from glocal.data.resize import image_at
from glocal.devices import choose_device
from glocal.errors import UserError, optional_import
from glocal.inference._ahead import ahead
from glocal.inference._guards import flushing_denormals, naming_memory
from glocal.inference.inputs import Source, as_picture
from glocal.inference.prediction import Prediction
from glocal.inference.tta import TTA, Augmented, View, choose_views
from glocal.models.network import deploy as deployed
from glocal.models.weights import ModelRecord, load_model

__all__ = ["Predictor", "Tiling"]

Tiling: TypeAlias = Literal["auto", "never", "always"]

OVERLAP = 0.5
"""Of neighbouring windows, as a fraction of their side."""


@dataclass(frozen=True)
class _Prepared:
    """An image on its way: ``pixels`` ``(C, h, w)`` float32 in [0, 1], at the size the network or its windows take."""

    picture: Picture
    pixels: Tensor
    windows: bool
    notes: tuple[str, ...]


class Predictor:
    """Segments images; :meth:`load` makes one, calling it predicts.

    What is done to an image comes from ``model.json`` alone and is what was done in training and validation: stretched
    to the training size (bilinear, antialiased), channels converted, mean and standard deviation normalised; the logits
    are resized back (bilinear) and the highest wins.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K, H, W)``.
        record: What the network was trained for.
        device: ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        deploy: Merge branches and fold norms first: faster, equal to 1e-4.

    Attributes:
        classes: Names of the classes; the first is the background.
        network_seconds: Time spent in the network so far.

    Raises:
        UserError: The network is no segmentation of grey or RGB images, or there is no such device.
    """

    def __init__(self, network: nn.Module, record: ModelRecord, *, device: str = "auto", deploy: bool = True) -> None:
        if record.task != "segmentation":
            raise UserError(f"{record.name} was trained for {record.task}; prediction of masks needs a segmentation")
        if record.preprocessing.channels not in (1, 3):
            raise UserError(
                f"{record.name} takes {record.preprocessing.channels} channels, which is neither grey nor RGB; "
                "call the network itself: glocal.models.weights.load_model(folder).network"
            )
        self.record = record
        self.classes = record.classes
        self.device = choose_device(device)
        self.network_seconds = 0.0
        merged = deployed(network) if deploy and not record.deployed else network.eval()
        self._network = merged.to(self.device)
        steps = record.preprocessing
        self._mean = torch.tensor(steps.mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(steps.std, device=self.device).view(1, -1, 1, 1)

    @classmethod
    def load(
        cls, source: str | Path, *, device: str = "auto", deploy: bool = True, threads: int | None = None
    ) -> Predictor:
        """Load a run or model folder.

        Args:
            source: A run folder, or its ``model/`` or another model folder.
            device: See the class.
            deploy: See the class.
            threads: Threads of the network on a CPU, for the whole process; default: as PyTorch has it.

        Raises:
            UserError: No model is there, it is damaged or hostile, or not for segmentation; or as the class.
        """
        folder = Path(source)
        if not folder.exists():
            raise UserError(f"{source}: no such run or model folder; check the path (models are folders on this disk)")
        if (folder / "manifest.json").exists() and not (folder / "model" / "model.json").exists():
            raise UserError(f"{source}: this run has no model yet; finish its training: glocal train --resume {source}")
        if threads is not None:
            if threads < 1:
                raise UserError(f"{threads} threads asked for; use at least 1")
            torch.set_num_threads(threads)
        model = load_model(folder)
        return cls(model.network, model.record, device=device, deploy=deploy)

    def __call__(self, image: Source, *, tta: bool | TTA = False, tiling: Tiling = "auto") -> Prediction:
        """Segment one image.

        Args:
            image: A path, a Pillow image, an array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(H, W)`` or
                ``(C, H, W)``; numbers as in :func:`glocal.inference.inputs.as_picture`.
            tta: Test-time augmentation: average the probabilities over the flips that training had (``True``); or over
                two sides (``"mirror"``), four flips (``"flips"``), or these and quarter turns (``"rotations"``).
            tiling: What is done to an image larger than the training size: cut into overlapping windows of that size,
                blended with Gaussian weights (``"always"``), stretched whole (``"never"``), or what ``model.json``
                says (``"auto"``).

        Raises:
            UserError: The image cannot be read or has an unusable shape, type or range.
        """
        _check(tiling)
        views = choose_views(tta, self.record.manifest)
        outcome = next(self._predicted([self._prepare(image, tiling)], 1, views))
        assert isinstance(outcome, Prediction)
        return outcome

    def outcomes(
        self,
        images: Iterable[Source],
        *,
        tta: bool | TTA = False,
        tiling: Tiling = "auto",
        batch_size: int | None = None,
    ) -> Iterator[Prediction | UserError]:
        """Segment many images, read ahead by threads; for one that cannot be read, the error comes in its place.

        Args:
            images: As for one; taken as they are needed.
            tta: As for one.
            tiling: As for one.
            batch_size: Images the network sees at once; default: 1 on a CPU, where more is not faster, else 8.

        Returns:
            As many as there are images, in their order.

        Raises:
            UserError: ``tta`` or ``tiling`` is unknown, ``batch_size`` is below 1, or memory runs out.
        """
        on_cpu = self.device.type == "cpu"
        size = batch_size if batch_size is not None else 1 if on_cpu else 8
        if size < 1:
            raise UserError(f"batches of {size} images asked for; use at least 1")
        _check(tiling)
        views = choose_views(tta, self.record.manifest)
        workers = 1 if on_cpu else min(8, os.cpu_count() or 1)
        prepared = ahead(lambda image: self._prepared_or_error(image, tiling), images, workers, 2 * size + workers)
        return self._predicted(prepared, size, views)

    def predict_many(
        self,
        images: Iterable[Source],
        *,
        tta: bool | TTA = False,
        tiling: Tiling = "auto",
        batch_size: int | None = None,
    ) -> Iterator[Prediction]:
        """Segment many images, as :meth:`outcomes`, and stop at the first that cannot be read.

        Raises:
            UserError: As for one image, or as :meth:`outcomes`.
        """
        for outcome in self.outcomes(images, tta=tta, tiling=tiling, batch_size=batch_size):
            if isinstance(outcome, UserError):
                raise outcome
            yield outcome

    def _takes_windows(self, size: tuple[int, int], tiling: Tiling) -> bool:
        steps = self.record.preprocessing
        larger = size[0] > steps.size[0] or size[1] > steps.size[1]
        return larger and (tiling == "always" or (tiling == "auto" and steps.mode == "window"))

    def _prepared_or_error(self, image: Source, tiling: Tiling) -> _Prepared | UserError:
        try:
            return self._prepare(image, tiling)
        except UserError as error:
            return error

    def _prepare(self, image: Source, tiling: Tiling) -> _Prepared:
        steps = self.record.preprocessing
        picture = as_picture(image)
        notes = list(picture.notes)
        if picture.channels != steps.channels:
            notes.append("grey repeated to RGB" if steps.channels == 3 else "colour reduced to grey")
        windows = self._takes_windows(picture.size, tiling)
        size = "x".join(str(side) for side in steps.size)
        if windows:
            notes.append(f"seen in windows of {size}")
        elif picture.size != steps.size:
            notes.append(f"seen at {size}")
        pixels = image_at(picture, picture.size if windows else steps.size, steps.channels)
        unit = torch.from_numpy(pixels.astype(np.float32)) / float(np.iinfo(pixels.dtype).max)
        return _Prepared(picture, unit, windows, tuple(notes))

    def _predicted(
        self, prepared: Iterable[_Prepared | UserError], batch_size: int, views: tuple[View, ...]
    ) -> Iterator[Prediction | UserError]:
        """Collect batches of images of one size; windows of a larger image make batches of their own."""
        network = Augmented(self._network, views).eval()
        waiting: list[_Prepared | UserError] = []
        for one in prepared:
            alone = isinstance(one, _Prepared) and one.windows
            if alone:
                yield from self._batch(waiting, network)
                waiting = []
            waiting.append(one)
            if alone or sum(isinstance(w, _Prepared) for w in waiting) >= batch_size:
                yield from self._batch(waiting, network, batch_size)
                waiting = []
        yield from self._batch(waiting, network)

    def _batch(
        self, waiting: list[_Prepared | UserError], network: Augmented, window_batch: int = 1
    ) -> Iterator[Prediction | UserError]:
        images = [one for one in waiting if isinstance(one, _Prepared)]
        scores = iter(self._scores(images, network, window_batch) if images else ())
        sides = (f"averaged over {len(network.views)} views",) if len(network.views) > 1 else ()
        for one in waiting:
            if isinstance(one, UserError):
                yield one
            else:
                yield Prediction(self.classes, one.picture, next(scores), (*one.notes, *sides))

    @torch.inference_mode()
    def _scores(self, images: list[_Prepared], network: nn.Module, window_batch: int) -> Tensor:
        """Scores ``(N, K, h, w)`` float32 on the CPU."""
        sliding = None
        if images[0].windows:
            sliding = optional_import("monai.inferers", "train").sliding_window_inference
        start = time.perf_counter()
        with naming_memory(self.device), flushing_denormals():
            x = torch.stack([one.pixels for one in images]).to(self.device)
            x = (x - self._mean) / self._std
            scores: Tensor
            if sliding is not None:
                size = self.record.preprocessing.size
                scores = sliding(x, size, window_batch, network, OVERLAP, mode="gaussian", padding_mode="replicate")
            else:
                scores = network(x)
            scores = scores.float().cpu()
        self.network_seconds += time.perf_counter() - start
        return scores


def _check(tiling: str) -> None:
    if tiling not in get_args(Tiling):
        raise UserError(f"tiling {tiling!r} is unknown; use one of {', '.join(get_args(Tiling))}")
