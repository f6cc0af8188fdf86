"""Small copies of cases for the pictures of the report, a bounded number of them however many cases there are."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.cases import EvaluatedCase

__all__ = ["Gallery", "Thumbnail", "make_thumbnail", "small_image"]

LONGEST_SIDE = 256
"""Of a thumbnail, in pixels."""

NARROWEST_SIDE = 16
"""What the other side of a very elongated image keeps, at the price of its proportions."""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A case reduced to at most 256 pixels a side; a volume is shown by the slice that holds most of its structures.

    Attributes:
        id: Of the case.
        score: By which worst, median and best are told apart.
        slice: Which slice of a volume this is, ``None`` for an image.
    """

    id: str
    score: float
    slice: int | None
    shape: tuple[int, int]
    packed: bytes

    def unpack(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return image ``(h, w, 3)`` in 0 … 255, prediction ``(h, w)`` and truth ``(h, w)`` as class indices."""
        planes = np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(5, *self.shape)
        return np.moveaxis(planes[:3], 0, 2), planes[3], planes[4]


def make_thumbnail(case: EvaluatedCase, score: float) -> Thumbnail:
    """Reduce ``case``: the image by averaging, the label maps by taking the middle pixel of each block.

    Without an image, or with one of another size, the background is grey.
    """
    prediction, truth, image, index = case.prediction, case.truth, case.image, None
    if image is not None and (image.shape[: truth.ndim] != truth.shape or image.ndim > truth.ndim + 1):
        image = None
    if truth.ndim == 3:
        index = int(np.argmax(np.count_nonzero(truth, axis=(1, 2)) + np.count_nonzero(prediction, axis=(1, 2))))
        prediction, truth = prediction[index], truth[index]
        image = None if image is None else image[index]
    steps = _steps(truth.shape)
    middle = tuple(slice(size // 2, None, size) for size in steps)
    labels = [np.clip(plane[middle], 0, 255).astype(np.uint8) for plane in (prediction, truth)]
    shape = labels[0].shape
    colours = _to_bytes(image, steps, shape) if image is not None else np.full((3, *shape), 96, np.uint8)
    packed = zlib.compress(np.concatenate([colours, np.stack(labels)]).tobytes(), 3)
    return Thumbnail(case.id, score, index, (shape[0], shape[1]), packed)


def small_image(image: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Reduce an image ``(H, W)`` or ``(H, W, C)`` alone; see :func:`make_thumbnail`.

    Returns:
        ``(h, w, 3)`` in 0 … 255; ``None`` for an array that is no image.
    """
    if image.ndim not in (2, 3) or image.size == 0 or image.dtype.kind not in "buif":
        return None
    steps = _steps(image.shape[:2])
    shape = [len(range(size // 2, side, size)) for side, size in zip(image.shape, steps, strict=False)]
    return np.ascontiguousarray(np.moveaxis(_to_bytes(image, steps, shape), 0, 2))


def _steps(shape: Sequence[int]) -> list[int]:
    """How many pixels become one, along each axis."""
    step = max(1, math.ceil(max(shape) / LONGEST_SIDE))
    return [min(step, max(1, size // NARROWEST_SIDE)) for size in shape]


def _to_bytes(image: NDArray[Any], steps: Sequence[int], shape: Sequence[int]) -> NDArray[np.uint8]:
    """``(H, W[, C])`` of any number type → ``(3, h, w)`` in 0 … 255, blocks averaged; see :class:`EvaluatedCase`."""
    planes = image[..., None] if image.ndim == 2 else image
    height, width = shape[0] * steps[0], shape[1] * steps[1]
    missing = ((0, max(0, height - planes.shape[0])), (0, max(0, width - planes.shape[1])), (0, 0))
    blocks = np.pad(planes[:height, :width], missing, mode="edge")
    reduced = blocks.reshape(shape[0], steps[0], shape[1], steps[1], -1).mean(axis=(1, 3), dtype=np.float32)
    if image.dtype != np.uint8:
        reduced = np.nan_to_num(reduced, posinf=0.0, neginf=0.0)
        low, high = float(reduced.min()), float(reduced.max())
        if image.dtype.kind == "f" and low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        reduced = (reduced - low) * (255 / max(high - low, 1e-6))
    if reduced.shape[2] != 3:
        reduced = np.repeat(reduced[..., :1], 3, axis=2)
    return np.moveaxis(np.clip(np.rint(reduced), 0, 255).astype(np.uint8), 2, 0)


class Gallery:
    """Thumbnails of the worst, the median and the best cases, chosen without knowing what is still to come.

    All are kept up to ``limit``. Then the worst and best ``ends`` stay and every other one between them goes: the ends
    are exact for any number of cases, the median is exact up to ``limit`` cases and the nearest kept one beyond.
    """

    def __init__(self, limit: int = 200, ends: int = 8) -> None:
        self.limit, self.ends = limit, ends
        self._kept: list[Thumbnail] = []

    def add(self, case: EvaluatedCase, score: float) -> None:
        """Keep a thumbnail of ``case``, for now at least; a case without a score (NaN) is not kept."""
        if math.isnan(score):
            return
        self._kept.append(make_thumbnail(case, score))
        if len(self._kept) > self.limit:
            self._kept.sort(key=lambda thumbnail: thumbnail.score)
            middle = self._kept[self.ends : -self.ends : 2]
            self._kept = [*self._kept[: self.ends], *middle, *self._kept[-self.ends :]]

    def choose(self, median: float, count: int = 4) -> dict[str, list[Thumbnail]]:
        """Return up to ``count`` thumbnails each of the worst, median and best cases, no case twice.

        Args:
            median: Of the scores of all cases.
            count: How many of each.
        """
        ordered = sorted(self._kept, key=lambda thumbnail: (thumbnail.score, thumbnail.id))
        count = min(count, max(1, len(ordered) // 3))
        worst, best = ordered[:count], ordered[max(count, len(ordered) - count) :]
        rest = ordered[len(worst) : len(ordered) - len(best)]
        middle = sorted(sorted(rest, key=lambda t: abs(t.score - median))[:count], key=lambda t: t.score)
        return {"worst": worst, "median": middle, "best": best[::-1]}
