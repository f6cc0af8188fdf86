"""A slice as it is displayed: the patient's right on the left, front or head on top, pixels as they are in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glocal.data.readers import Picture
from glocal.data.resize import image_at, label_at

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Shown", "displayed"]

_AXES = ("LR", "AP", "IS")
_MOST = 16
"""Pixels are stretched up to so many times."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A slice and its mask ``uint8 (H, W)``, to be looked at."""

    picture: Picture
    mask: npt.NDArray[np.uint8]

    def overlay(self) -> Image.Image:
        """The slice with the classes tinted and outlined."""
        from PIL import Image

        from glocal.data.contact_sheet import overlay

        return Image.fromarray(overlay(self.picture, self.mask, max(self.picture.size)))


def displayed(
    picture: Picture, mask: npt.NDArray[np.uint8], codes: str | None, spacing: tuple[float, float] | None
) -> Shown:
    """Turn a slice to how radiologists look at it, and stretch it where its pixels are not square.

    Args:
        picture: Of size (H, W).
        mask: ``(H, W)``.
        codes: Where x (to the right) and y (downwards) point, such as ``"RAS"``; ``None``: left as it is.
        spacing: Of pixels, (y, x); ``None``: taken for square.
    """
    pixels: npt.NDArray[Any] = picture.pixels
    spacing = spacing or (1.0, 1.0)
    if codes is not None:
        x, y = codes[0], codes[1]
        if _rank(y) < _rank(x):
            pixels, mask, spacing, x, y = pixels.swapaxes(0, 1), mask.T, spacing[::-1], y, x
        right, down = (-1 if x in "RA" else 1), (-1 if y in "AS" else 1)
        pixels, mask = pixels[::down, ::right], mask[::down, ::right]
    least = min(spacing)
    size = [round(side * min(step / least, _MOST)) for side, step in zip(mask.shape, spacing, strict=True)]
    shape = size[0], size[1]
    turned = Picture(np.ascontiguousarray(pixels))
    stretched = np.moveaxis(image_at(turned, shape, turned.channels), 0, 2)
    return Shown(Picture(stretched), label_at(np.array(mask), shape))


def _rank(code: str) -> int:
    return next(rank for rank, axis in enumerate(_AXES) if code in axis)
