"""What one case holds, or why it cannot be read: decoded once, boiled down to a few numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glocal.data._prepare import threads
from glocal.data.cases import Case, Dataset
from glocal.data.readers import Picture
from glocal.data.resize import image_at
from glocal.errors import UserError

__all__ = ["THUMBNAIL", "CaseFacts", "ImageFacts", "case_facts"]

THUMBNAIL = 24
"""Side of the small grey copy by which similar images are found."""


@dataclass(frozen=True)
class ImageFacts:
    """A decoded image in brief."""

    size: tuple[int, int]
    """Height and width in pixels."""
    kind: str
    """``"grey 8-bit"``, ``"RGB 8-bit"`` …"""
    low: int
    high: int
    mean: float
    """Mean intensity in [0, 1]."""
    digest: str
    """Hash of shape and pixels."""
    thumbnail: NDArray[np.uint8]
    """``(THUMBNAIL, THUMBNAIL)`` grey."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CaseFacts:
    """A case in brief. ``errors`` are lines for the user; empty for a case that can be used."""

    case: Case
    image: ImageFacts | None
    counts: dict[int, int] = field(default_factory=dict)
    """Segmentation: class index -> pixels."""
    label_digest: str = ""
    """Hash of the label: equal labels, equal hash."""
    errors: tuple[str, ...] = ()


def case_facts(dataset: Dataset, readable_masks: bool) -> Iterator[CaseFacts]:
    """Facts of every case, in order, decoded by threads. A bad file gives ``errors``, not an exception.

    Args:
        dataset: The data set.
        readable_masks: Whether mask values have a meaning (``dataset.encoding`` could be found).
    """

    def one(case: Case) -> CaseFacts:
        return _one(dataset, case, readable_masks)

    with ThreadPoolExecutor(threads()) as pool:
        try:
            yield from pool.map(one, dataset.cases)
        finally:
            pool.shutdown(cancel_futures=True)


def _one(dataset: Dataset, case: Case, readable_masks: bool) -> CaseFacts:
    errors: list[str] = []
    image, counts, label_digest = None, {}, str(case.label)
    try:
        image = _image(dataset.read_image(case))
    except UserError as error:
        errors.append(str(error))
    if dataset.task == "segmentation" and readable_masks and image is not None:
        try:
            label = dataset.read_label(case)
            values, numbers = np.unique(label, return_counts=True)
            counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
            label_digest = _digest(label)
        except UserError as error:
            errors.append(str(error))
    return CaseFacts(case, image, counts, label_digest, tuple(errors))


def _image(picture: Picture) -> ImageFacts:
    pixels = picture.pixels
    colour = "grey" if picture.channels == 1 else "RGB, all grey" if picture.is_grey else "RGB"
    thumbnail = image_at(picture, (THUMBNAIL, THUMBNAIL), 1)[0]
    return ImageFacts(
        picture.size,
        f"{colour}, {8 * pixels.itemsize}-bit",
        int(pixels.min()),
        int(pixels.max()),
        float(pixels.mean() / np.iinfo(pixels.dtype).max),
        _digest(pixels),
        thumbnail if thumbnail.dtype == np.uint8 else (thumbnail >> 8).astype(np.uint8),
        picture.notes,
    )


def _digest(array: NDArray[np.generic]) -> str:
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=12)
    digest.update(array.tobytes())
    return digest.hexdigest()
