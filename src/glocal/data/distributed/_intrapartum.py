"""Which label is the pubic symphysis and which the fetal head: told from the values of the whole set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glocal.data.cases import Progress
from glocal.data.distributed.distribution import Array
from glocal.data.readers import read_mask
from glocal.errors import UserError

__all__ = ["CLASSES", "Meaning", "grey_mask", "label_indices", "meaning_of", "values_of"]

CLASSES = ("background", "pubic symphysis", "fetal head")
_KNOWN = ((0, 1, 2), (0, 7, 8), (0, 127, 255))
"""Background, symphysis and head as the makers number them: PSFHS, IUGC and JNU-IFM, IUGC validation and test."""

Meaning = Mapping[int, int]
"""Raw value -> class index."""


@dataclass
class Values:
    """What the masks of a set hold."""

    pixels: dict[int, int]
    """Value -> pixels in all readable masks."""
    example: dict[int, Path]
    """Value -> a mask that holds it."""


def values_of(masks: Sequence[Path], read: Callable[[Path], Array], progress: Progress | None) -> Values:
    """Count the values of all masks; one that cannot be read is passed over, its step says so."""
    pixels: dict[int, int] = {}
    example: dict[int, Path] = {}
    for done, path in enumerate(masks, 1):
        try:
            found, number = np.unique(read(path), return_counts=True)
        except UserError:
            found = number = np.array([], np.int64)
        for value, count in zip(found.tolist(), number.tolist(), strict=True):
            pixels[value] = pixels.get(value, 0) + count
            example.setdefault(value, path)
        if progress is not None:
            progress(done, len(masks))
    return Values(pixels, example)


def meaning_of(values: Values) -> tuple[Meaning, list[str]]:
    """Find the numbering that the set uses.

    Returns:
        Raw value -> class index, and notes.

    Raises:
        UserError: A value belongs to no numbering, or the symphysis would be larger than the head.
    """
    held = set(values.pixels)
    known = next((ids for ids in _KNOWN if held <= set(ids)), None)
    if known is None:
        closest = min(_KNOWN, key=lambda ids: len(held - set(ids)))
        strange = min(held - set(closest))
        listed = ", ".join(map(str, sorted(held)[:8]))
        raise UserError(
            f"{values.example[strange]}: holds the value {strange}; the masks of this set hold {listed}, which is none "
            "of the numberings 0 1 2, 0 7 8 and 0 127 255: correct or remove the mask"
        )
    _, symphysis, head = known
    small, large = values.pixels.get(symphysis, 0), values.pixels.get(head, 0)
    if large and small > large:
        raise UserError(
            f"{values.example[symphysis]}: the value {symphysis} should be the symphysis but covers more pixels of the "
            f"set than {head}, the head; the labels are exchanged: correct them"
        )
    notes = [] if known == (0, 1, 2) else [f"mask values {symphysis} = pubic symphysis, {head} = fetal head"]
    return {value: index for index, value in enumerate(known)}, notes


def label_indices(path: Path, values: Array, meaning: Meaning) -> Array:
    """Class indices of a mask, ``uint8``.

    Raises:
        UserError: It holds a value without meaning.
    """
    strange = set(np.unique(values).tolist()) - set(meaning)
    if strange:
        raise UserError(f"{path}: holds the value {min(strange)}, which means nothing in this set; correct the mask")
    table = np.zeros(max(meaning) + 1, np.uint8)
    for value, index in meaning.items():
        table[value] = index
    return np.asarray(table[values])


def grey_mask(path: Path) -> Array:
    """The values of a mask kept as a picture, ``(H, W)``.

    Raises:
        UserError: It is coloured or cannot be read.
    """
    values = read_mask(path).values
    if values.ndim != 2:
        raise UserError(f"{path}: a coloured mask, for viewing; take the one with the values of the classes")
    return values
