"""What predictors of every task share: one way to load a model, to prepare pictures, and to pass batches."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, Self, TypeAlias, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from glocal.data.readers import Picture
from glocal.data.resize import image_at
from glocal.devices import choose_device
from glocal.errors import UserError
from glocal.inference._ahead import ahead
from glocal.inference._guards import flushing_denormals, naming_memory
from glocal.inference.inputs import Source, as_picture
from glocal.inference.tta import TTA, View, choose_views
from glocal.models.network import deploy as deployed
from glocal.models.registry import Task
from glocal.models.weights import LoadedModel, ModelRecord, find_model, load_model, read_record

__all__ = ["BasePredictor", "Prepared", "Tiling", "load_for_prediction", "read_model_record"]

Tiling: TypeAlias = Literal["auto", "never", "always"]
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Prepared:
    """An image on its way: ``pixels`` ``(C, h, w)`` float32 in [0, 1], at the size the network or its windows take."""

    picture: Picture
    pixels: Tensor
    windows: bool
    notes: tuple[str, ...]
    is_slice: bool = False
    """A slice of a volume: post-processing waits for all of them."""


def read_model_record(source: str | Path) -> ModelRecord:
    """Read what a run or model folder says of its network, and not its weights.

    Raises:
        UserError: No model is there, or its record is damaged.
    """
    folder = Path(source)
    if not folder.exists():
        raise UserError(f"{source}: no such run or model folder; check the path (models are folders on this disk)")
    if (folder / "manifest.json").exists() and not (folder / "model" / "model.json").exists():
        raise UserError(f"{source}: this run has no model yet; finish its training: glocal train --resume {source}")
    path = find_model(folder)[1]
    if path is None:
        return load_model(folder).record  # which says what is missing
    return read_record(path)


def load_for_prediction(source: str | Path, threads: int | None = None) -> LoadedModel:
    """Load the network of a run or model folder.

    Args:
        source: A run folder, or its ``model/`` or another model folder.
        threads: Threads of the network on a CPU, for the whole process; default: as PyTorch has it.

    Raises:
        UserError: No model is there, or it is damaged or hostile.
    """
    read_model_record(source)
    if threads is not None:
        if threads < 1:
            raise UserError(f"{threads} threads asked for; use at least 1")
        torch.set_num_threads(threads)
    return load_model(source)


class BasePredictor(ABC, Generic[Outcome]):
    """A trained network with everything between an image and what is said about it; see its two subclasses.

    What is done to an image comes from ``model.json`` alone and is what was done in training and validation: stretched
    to the training size (bilinear, antialiased), channels converted, mean and standard deviation normalised.

    Args:
        network: ``(N, C, H, W)`` -> logits.
        record: What the network was trained for.
        device: ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        deploy: Merge branches and fold norms first: faster, equal to 1e-4.

    Attributes:
        classes: Names of the classes.
        network_seconds: Time spent in the network so far.

    Raises:
        UserError: The network is for another task or not for grey or RGB images, or there is no such device.
    """

    task: ClassVar[Task]

    def __init__(self, network: nn.Module, record: ModelRecord, *, device: str = "auto", deploy: bool = True) -> None:
        if record.task != self.task:
            raise UserError(f"{record.name} was trained for {record.task}, not {self.task}; glocal.load takes both")
        if record.preprocessing.channels not in (1, 3) and record.preprocessing.neighbours == 1:
            raise UserError(
                f"{record.name} takes {record.preprocessing.channels} channels, which is neither grey nor RGB; "
                "call the network itself: glocal.models.weights.load_model(folder).network"
            )
        self.record = record
        self.classes = record.classes
        self.device = choose_device(device)
        self.network_seconds = 0.0
        merged = deployed(network) if deploy and not record.deployed else network.eval()
        self.network = merged.to(self.device)
        steps = record.preprocessing
        self._mean = torch.tensor(steps.mean, dtype=torch.float32, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(steps.std, dtype=torch.float32, device=self.device).view(1, -1, 1, 1)

    @classmethod
    def load(cls, source: str | Path, *, device: str = "auto", deploy: bool = True, threads: int | None = None) -> Self:
        """Load a run or model folder.

        Args:
            source: A run folder, or its ``model/`` or another model folder.
            device: See the class.
            deploy: See the class.
            threads: Threads of the network on a CPU, for the whole process; default: as PyTorch has it.

        Raises:
            UserError: No model is there, it is damaged or hostile, or for another task; or as the class.
        """
        model = load_for_prediction(source, threads)
        return cls(model.network, model.record, device=device, deploy=deploy)

    def __call__(self, image: Source, *, tta: bool | TTA = False, tiling: Tiling = "auto") -> Outcome:
        """Predict one image.

        Args:
            image: A path, a Pillow image, an array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(H, W)`` or
                ``(C, H, W)``; numbers as in :func:`glocal.inference.inputs.as_picture`.
            tta: Test-time augmentation: average the probabilities over the flips that training had (``True``); or over
                two sides (``"mirror"``), four flips (``"flips"``), or these and quarter turns (``"rotations"``).
            tiling: What is done to an image larger than the training size: cut into overlapping windows of that size,
                blended with Gaussian weights (``"always"``), stretched whole (``"never"``), or what ``model.json``
                says (``"auto"``). A classifier sees every image whole.

        Raises:
            UserError: The image cannot be read or has an unusable shape, type or range.
        """
        self.check_tiling(tiling)
        views = choose_views(tta, self.record.manifest)
        outcome = next(self._predicted([self.prepare(image, tiling)], 1, views))
        assert not isinstance(outcome, UserError)
        return outcome

    def outcomes(
        self,
        images: Iterable[Source],
        *,
        tta: bool | TTA = False,
        tiling: Tiling = "auto",
        batch_size: int | None = None,
    ) -> Iterator[Outcome | UserError]:
        """Predict many images, read ahead by threads; for one that cannot be read, the error comes in its place.

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
        self.check_tiling(tiling)
        size = self._batch_size(batch_size)
        views = choose_views(tta, self.record.manifest)
        workers = 1 if self.device.type == "cpu" else min(8, os.cpu_count() or 1)
        prepared = ahead(lambda image: self._prepared_or_error(image, tiling), images, workers, 2 * size + workers)
        return self._predicted(prepared, size, views)

    def predict_prepared(
        self, prepared: Iterable[Prepared], *, tta: bool | TTA = False, batch_size: int | None = None
    ) -> Iterator[Outcome]:
        """Predict images that were prepared elsewhere, such as slices of a volume; taken as they are needed.

        Args:
            prepared: Each as :meth:`prepare` would give it.
            tta: As for one image.
            batch_size: As :meth:`outcomes`.

        Raises:
            UserError: As :meth:`outcomes`.
        """
        size, views = self._batch_size(batch_size), choose_views(tta, self.record.manifest)
        for outcome in self._predicted(prepared, size, views):
            assert not isinstance(outcome, UserError)
            yield outcome

    def _batch_size(self, asked: int | None) -> int:
        """How many images the network sees at once: ``asked``, or 1 on a CPU and else 8."""
        size = asked if asked is not None else 1 if self.device.type == "cpu" else 8
        if size < 1:
            raise UserError(f"batches of {size} images asked for; use at least 1")
        return size

    def predict_many(
        self,
        images: Iterable[Source],
        *,
        tta: bool | TTA = False,
        tiling: Tiling = "auto",
        batch_size: int | None = None,
    ) -> Iterator[Outcome]:
        """Predict many images, as :meth:`outcomes`, and stop at the first that cannot be read.

        Raises:
            UserError: As for one image, or as :meth:`outcomes`.
        """
        for outcome in self.outcomes(images, tta=tta, tiling=tiling, batch_size=batch_size):
            if isinstance(outcome, UserError):
                raise outcome
            yield outcome

    def prepare(self, image: Source, tiling: Tiling = "auto") -> Prepared:
        """Read an image and bring it to the size the network takes.

        Raises:
            UserError: The image cannot be read or has an unusable shape, type or range.
        """
        steps = self.record.preprocessing
        picture = as_picture(image)
        notes = list(picture.notes)
        alone = steps.neighbours > 1  # a picture has no neighbouring slices
        channels = 1 if alone else steps.channels
        if picture.channels != channels:
            notes.append("grey repeated to RGB" if channels == 3 else "colour reduced to grey")
        if steps.intensity is not None:
            notes.append("the model was trained on volumes: black and white taken for the ends of their values")
        if alone:
            notes.append("seen as its own neighbours")
        windows = self.takes_windows(picture.size, tiling)
        size = "x".join(str(side) for side in steps.size)
        if windows:
            notes.append(f"seen in windows of {size}")
        elif picture.size != steps.size:
            notes.append(f"seen at {size}")
        pixels = image_at(picture, picture.size if windows else steps.size, channels)
        unit = torch.from_numpy(pixels.astype(np.float32)) / float(np.iinfo(pixels.dtype).max)
        return Prepared(picture, unit.repeat(steps.neighbours, 1, 1), windows, tuple(notes))

    def normalised(self, images: Iterable[Prepared]) -> Tensor:
        """A batch of prepared images of one size as the network takes it: ``(N, C, h, w)`` float32 on its device."""
        x = torch.stack([one.pixels for one in images]).to(self.device)
        return (x - self._mean) / self._std

    @abstractmethod
    def _augmented(self, views: tuple[View, ...]) -> nn.Module:
        """The network looking from several sides."""

    @abstractmethod
    def _outcome(self, image: Prepared, scores: Tensor, notes: tuple[str, ...]) -> Outcome:
        """What is said about one image, from the scores of the network."""

    def check_tiling(self, tiling: str) -> None:
        """Refuse a way of tiling that is unknown.

        Raises:
            UserError: It is.
        """
        if tiling not in get_args(Tiling):
            raise UserError(f"tiling {tiling!r} is unknown; use one of {', '.join(get_args(Tiling))}")

    def takes_windows(self, size: tuple[int, int], tiling: Tiling) -> bool:
        """Whether an image of this size is cut into windows."""
        return False

    def _pass(self, network: nn.Module, x: Tensor, windows: bool, window_batch: int) -> Tensor:
        """Scores of a batch; ``windows`` as :meth:`takes_windows` decided for it."""
        scores: Tensor = network(x)
        return scores

    def _prepared_or_error(self, image: Source, tiling: Tiling) -> Prepared | UserError:
        try:
            return self.prepare(image, tiling)
        except UserError as error:
            return error

    def _predicted(
        self, prepared: Iterable[Prepared | UserError], batch_size: int, views: tuple[View, ...]
    ) -> Iterator[Outcome | UserError]:
        """Collect batches of images of one size; windows of a larger image make batches of their own."""
        network = self._augmented(views).eval()
        sides = (f"averaged over {len(views)} views",) if len(views) > 1 else ()
        waiting: list[Prepared | UserError] = []
        for one in prepared:
            alone = isinstance(one, Prepared) and one.windows
            if alone:
                yield from self._batch(waiting, network, sides)
                waiting = []
            waiting.append(one)
            if alone or sum(isinstance(w, Prepared) for w in waiting) >= batch_size:
                yield from self._batch(waiting, network, sides, batch_size)
                waiting = []
        yield from self._batch(waiting, network, sides)

    def _batch(
        self, waiting: list[Prepared | UserError], network: nn.Module, sides: tuple[str, ...], window_batch: int = 1
    ) -> Iterator[Outcome | UserError]:
        images = [one for one in waiting if isinstance(one, Prepared)]
        scores = iter(self._scores(images, network, window_batch) if images else ())
        for one in waiting:
            if isinstance(one, UserError):
                yield one
            else:
                yield self._outcome(one, next(scores), (*one.notes, *sides))

    @torch.inference_mode()
    def _scores(self, images: list[Prepared], network: nn.Module, window_batch: int) -> Tensor:
        """Scores of each image, float32 on the CPU."""
        start = time.perf_counter()
        with naming_memory(self.device), flushing_denormals():
            scores = self._pass(network, self.normalised(images), images[0].windows, window_batch).float().cpu()
        self.network_seconds += time.perf_counter() - start
        return scores
