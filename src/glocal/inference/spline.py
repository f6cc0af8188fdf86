"""Prediction as TransUNet and its successors resize: the image by a cubic spline, the mask back to the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glocal.data.readers import Picture
from glocal.data.volumes import VolumeFile, restore
from glocal.inference.base import Prepared
from glocal.inference.predictor import Predictor
from glocal.inference.volumes.slices import choose_viewing
from glocal.models.weights import Preprocessing

__all__ = ["spline_masks", "spline_volume"]


def spline_masks(
    predictor: Predictor, pictures: Iterable[Picture], **options: Any
) -> Iterator[tuple[Picture, NDArray[np.uint8]]]:
    """Pictures and their masks, each ``uint8 (H, W)`` at its size.

    The picture is resized to the network by a spline of order 3, corners on corners, and may leave [0, 1]; the class
    with the highest score is taken there; and that mask is resized back by order 0 (HiPerformer's published code).

    Args:
        predictor: The network.
        pictures: Taken as they are needed.
        options: ``tta`` and ``batch_size``, as :meth:`Predictor.predict_prepared`.
    """
    steps = predictor.record.preprocessing
    prepared = (_prepared([picture], steps) for picture in pictures)
    yield from _masks(predictor, prepared, options)


def spline_volume(predictor: Predictor, file: VolumeFile, **options: Any) -> NDArray[np.uint8]:
    """The mask of a volume, ``uint8 (D, H, W)`` on the axes that are stored, slice by slice as :func:`spline_masks`.

    Args:
        predictor: The network.
        file: Not turned.
        options: As :func:`spline_masks`.

    Raises:
        UserError: As :func:`glocal.inference.volumes.predicting.predict_volume`.
    """
    steps = predictor.record.preprocessing
    viewing = choose_viewing(file, steps)
    pictures = list(viewing.pictures())
    side, last = steps.neighbours // 2, len(pictures) - 1
    prepared = (
        _prepared([pictures[min(max(k, 0), last)] for k in range(index - side, index + side + 1)], steps)
        for index in range(len(pictures))
    )
    return restore(np.stack([mask for _, mask in _masks(predictor, prepared, options)]), viewing.file)


def _prepared(around: list[Picture], steps: Preprocessing) -> Prepared:
    """A slice with its neighbours, or a picture alone, as the network takes it."""
    channels = 1 if len(around) > 1 else steps.channels
    planes = [plane for picture in around for plane in np.moveaxis(picture.unit(channels), 2, 0)]
    resized = [_zoomed(plane, steps.size, order=3) for plane in planes]
    return Prepared(around[len(around) // 2], torch.from_numpy(np.stack(resized)), False, ())


def _masks(
    predictor: Predictor, prepared: Iterable[Prepared], options: dict[str, Any]
) -> Iterator[tuple[Picture, NDArray[np.uint8]]]:
    size = predictor.record.preprocessing.size
    for outcome in predictor.predict_prepared(prepared, **options):
        yield outcome.picture, _zoomed(outcome.mask_at(size), outcome.size, order=0)


def _zoomed(plane: NDArray[Any], size: tuple[int, int], order: int) -> NDArray[Any]:
    from scipy.ndimage import zoom

    if plane.shape == tuple(size):
        return plane
    factors = [side / other for side, other in zip(size, plane.shape, strict=True)]
    resized: NDArray[Any] = zoom(plane, factors, order=order)
    return resized
