"""One picture with its mask as a step, shared by the layouts of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glocal.data._tree import Part
from glocal.data.cases import size_mismatch
from glocal.data.distributed.distribution import Item, Step
from glocal.data.readers import IMAGE_SUFFIXES, Mask, Picture, read_image, read_mask
from glocal.data.volumes.opening import volume_kind
from glocal.errors import UserError

__all__ = ["Apply", "kept", "picture_item", "picture_step"]

Apply = Callable[[Mask, Path], npt.NDArray[np.uint8]]
"""Makes class indices of a mask, or raises :class:`~glocal.errors.UserError` about its path."""
_KEPT = (".png", ".jpg", ".jpeg")


def kept(path: Path, picture: Picture) -> bool:
    """Whether a file is better copied as it is: PNG and JPEG, and others of which PNG could not hold everything.

    Never DICOM: its header names the patient.
    """
    if picture.pages > 1 or volume_kind(path) is not None:
        return False
    suffix = path.suffix.lower()
    return suffix in _KEPT or (suffix in IMAGE_SUFFIXES and bool(picture.notes))


def picture_item(
    path: Path, picture: Picture, label: npt.NDArray[np.uint8] | None, notes: tuple[str, ...] = ()
) -> Item:
    """A picture that was read from ``path``: the file itself where it can be copied, otherwise its pixels."""
    if kept(path, picture):
        return Item(path, label, notes=notes)
    pixels = picture.pixels[..., 0] if picture.channels == 1 else picture.pixels
    kind = volume_kind(path)
    told = (*picture.notes, *((f"{kind} written as PNG",) if kind is not None else ()))
    return Item(pixels, label, notes=(*told, *notes))


def picture_step(
    id: str,
    image: Path,
    mask: Path,
    apply: Apply,
    *,
    group: str | None = None,
    split: Part | None = None,
    pixel_size: float | None = None,
) -> Step:
    """The step of a picture and one mask of the same size."""

    def read(mend: bool) -> Item:
        picture, drawn = read_image(image), read_mask(mask)
        if drawn.size != picture.size:
            raise UserError(size_mismatch(mask, drawn.size, image, picture.size))
        label = apply(drawn, mask)
        changed = drawn.values.shape != label.shape or bool((drawn.values != label).any())
        notes = tuple(f"mask: {note}" for note in drawn.notes)
        return picture_item(image, picture, label, (*notes, *("mask values made class indices",) * changed))

    return Step(id, (image, mask), read, group, split, pixel_size=pixel_size)
