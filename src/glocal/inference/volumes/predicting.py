"""One volume through a network for images: slice after slice, in memory that its depth does not change."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glocal.data.volumes import VolumeFile
from glocal.inference.base import Tiling
from glocal.inference.predictor import Predictor
from glocal.inference.tta import TTA
from glocal.inference.volumes.display import Shown, displayed
from glocal.inference.volumes.scratch import Scratch, along, probability_file
from glocal.inference.volumes.slices import choose_viewing

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["VolumePrediction", "predict_volume"]

_RELEASED = 16
"""Slices after which the pages of the mask that were touched are given back."""


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """The segmentation of a volume; its mask lies on disk and goes with this object."""

    file: VolumeFile
    """The volume, along the axes that are stored."""
    classes: tuple[str, ...]
    """Their names; the first is the background."""
    mask: npt.NDArray[np.uint8] = field(repr=False)
    """``(D, H, W)`` class indices on the stored axes; of a volume mapped from a temporary file."""
    notes: tuple[str, ...]
    """What was done, one phrase each."""
    middle: Shown = field(repr=False)
    """The slice in the middle and its mask, as radiologists display them."""
    scratch: Scratch | None = field(default=None, repr=False)

    def planes(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The slices of the mask in order; memory is given back after each."""
        for plane in self.mask:
            yield plane
            if self.scratch is not None:
                self.scratch.release()

    @cached_property
    def voxels(self) -> tuple[int, ...]:
        """Voxels of each class."""
        counts = np.zeros(len(self.classes), np.int64)
        for plane in self.planes():
            counts += np.bincount(plane.ravel(), minlength=len(counts))
        return tuple(counts.tolist())

    @property
    def millilitres(self) -> tuple[float, ...] | None:
        """Volume of each class in mL; ``None`` where the spacing of the voxels is not known."""
        if self.file.spacing is None:
            return None
        voxel = float(abs(np.linalg.det(self.file.affine[:3, :3]))) / 1000  # mm³; axes need not be square
        return tuple(count * voxel for count in self.voxels)

    def overlay(self) -> Image.Image:
        """The slice in the middle with the classes tinted and outlined, as it is displayed."""
        return self.middle.overlay()


def predict_volume(
    predictor: Predictor,
    file: VolumeFile,
    *,
    tta: bool | TTA = False,
    tiling: Tiling = "auto",
    batch_size: int | None = None,
    window: tuple[float, float] | None = None,
    probabilities: Path | None = None,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VolumePrediction:
    """Segment a volume with a network for images, slice by slice.

    As the model says of its training, the volume is turned (nothing is resampled between slices), brought to [0, 1],
    and each slice, with its neighbours where the model has been trained so, stretched to the size of the network or
    seen in windows. The highest class of every slice is settled at once; scores of one batch are all that is held. What
    grows with depth is the mask, one byte a voxel in a temporary file. The model's post-processing comes last, in three
    dimensions; it needs some five bytes for each voxel of the box around a class. A DICOM file of one frame is read as
    a picture (:func:`glocal.data.read_image`) by a model of pictures.

    Args:
        predictor: The network.
        file: Of :func:`glocal.data.volumes.open_volume`, not turned.
        tta: As :meth:`Predictor.__call__`.
        tiling: As :meth:`Predictor.__call__`, of slices.
        batch_size: Slices that the network sees at once; default: 1 on a CPU, else 8.
        window: For a model of pictures: the values taken for black and white.
        probabilities: Also write class probabilities to this ``.npy`` file: ``float16 (D, K, H, W)``, axes as stored.
        scratch: Folder for the temporary file; default: that of the system.
        progress: Called with (slices done, all).

    Raises:
        UserError: The volume cannot be read, its values or axes are not those that the model can take, memory runs
            out, or the disk is too full for the mask or the probabilities (before anything is computed).
    """
    steps = predictor.record.preprocessing
    predictor.check_tiling(tiling)
    if file.kind == "DICOM" and len(file) == 1 and steps.intensity is None and window is None:
        return _predict_picture(predictor, file, tta, tiling, probabilities)
    viewing = choose_viewing(file, steps, window)
    depth, height, width = viewing.file.shape
    windows = predictor.takes_windows((height, width), tiling)
    store = Scratch(file.shape, scratch or Path(tempfile.gettempdir()))
    seen = along(store.voxels, viewing.file)
    outcomes = predictor.predict_prepared(viewing.prepared(steps, windows), tta=tta, batch_size=batch_size)
    with contextlib.ExitStack() as stack:
        maps = None
        if probabilities is not None:
            shape = (file.shape[0], len(predictor.classes), *file.shape[1:])
            maps = along(np.moveaxis(stack.enter_context(probability_file(probabilities, shape)), 1, -1), viewing.file)
        for k, outcome in enumerate(outcomes):
            seen[k] = outcome.mask
            if maps is not None:
                maps[k] = np.moveaxis(outcome.probabilities, 0, -1)
            if k == depth // 2:
                middle = outcome.picture
            if k % _RELEASED == 0:
                store.release()
            if progress is not None:
                progress(k + 1, depth)
    notes = [*viewing.notes, *_size_notes(steps.size, (height, width), windows)]
    if predictor.postprocessing:
        predictor.postprocessing.apply_to(store.voxels)
        notes += predictor.postprocessing.describe(predictor.classes)
    shown = displayed(middle, seen[depth // 2], viewing.file.orientation, viewing.file.plane_spacing)
    store.release()
    return VolumePrediction(file, predictor.classes, store.voxels, tuple(notes), shown, store)


def _size_notes(size: tuple[int, int], plane: tuple[int, int], windows: bool) -> list[str]:
    said = "x".join(map(str, size))
    if windows:
        return [f"slices seen in windows of {said}"]
    return [] if size == plane else [f"slices seen at {said}"]


def _predict_picture(
    predictor: Predictor, file: VolumeFile, tta: bool | TTA, tiling: Tiling, probabilities: Path | None
) -> VolumePrediction:
    outcome = predictor(file.files[0], tta=tta, tiling=tiling)
    if probabilities is not None:
        with probability_file(probabilities, (1, *outcome.probabilities.shape)) as maps:
            maps[0] = outcome.probabilities
    shown = Shown(outcome.picture, outcome.mask)
    return VolumePrediction(file, predictor.classes, outcome.mask[None], outcome.notes, shown)
