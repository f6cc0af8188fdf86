"""Whatever an image comes as, turned into the one form the network's input is made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from glocal.data.readers import Picture, picture_of, read_image
from glocal.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Source", "as_picture", "describe"]

Source: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any] | torch.Tensor"
"""A file, a Pillow image, a NumPy array ``(H, W)`` or ``(H, W, C)``, or a tensor ``(H, W)`` or ``(C, H, W)``."""

_EXACT = 1e-3
"""How near to a whole number a float times 255 must be to have been one: float32 rounds by less than 1e-4."""


def describe(source: Source) -> str:
    """A few words for messages: the path of a file, or the kind of object."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    return f"{type(source).__name__} image"


def as_picture(source: Source) -> Picture:
    """Read or convert one image.

    Numbers may be ``uint8`` or ``uint16`` over their full range, boolean, or floating point in [0, 1]. Floats that hold
    multiples of 1/255 are taken as the 8-bit image they come from, others are kept to 16 bits.

    Args:
        source: See :data:`Source`. Arrays and tensors have 1 or 3 channels (C): grey or RGB.

    Raises:
        UserError: The file cannot be read (:func:`glocal.data.read_image`), or an array has another shape, type or
            range, holds NaN or infinity, or no pixels.
        TypeError: It is none of these.
    """
    if isinstance(source, str | os.PathLike):
        return read_image(Path(source))
    if isinstance(source, torch.Tensor):
        values = source.detach().cpu()
        if values.is_floating_point():
            values = values.float()  # NumPy has no bfloat16
        array = values.numpy()
        return _from_array(np.moveaxis(array, 0, 2) if array.ndim == 3 else array, array.shape, "a tensor (C, H, W)")
    if isinstance(source, np.ndarray):
        return _from_array(source, source.shape, "an array (H, W, C)")
    from PIL import Image

    if isinstance(source, Image.Image):
        return picture_of(source)
    raise TypeError(f"an image is a path, a Pillow image, an array or a tensor, not {type(source).__name__}")


def _from_array(array: NDArray[Any], shape: tuple[int, ...], form: str) -> Picture:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or array.size == 0:
        raise UserError(
            f"the image has shape {shape}; give (H, W) or {form} with 1 or 3 channels and at least one pixel"
        )
    pixels, notes = _sixteen_bits_at_most(array)
    return Picture(np.array(pixels if pixels.ndim == 3 else pixels[:, :, None], order="C"), notes)


def _sixteen_bits_at_most(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return array.astype(array.dtype.newbyteorder("=")), ()
    if array.dtype == np.bool_:
        return array * np.uint8(255), ("true and false read as 255 and 0",)
    if array.dtype.kind != "f":
        raise UserError(f"the image has type {array.dtype}; give uint8, uint16, or floating point in [0, 1]")
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise UserError(f"{bad} of {array.size} values of the image are NaN or infinite; replace them by numbers")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise UserError(
            f"the floating-point image goes from {low:g} to {high:g}; bring it to [0, 1], not normalised "
            "(the model does that itself)"
        )
    scaled = array.astype(np.float64) * 255
    if np.abs(scaled - np.rint(scaled)).max() < _EXACT:
        return np.rint(scaled).astype(np.uint8), ()
    return np.rint(scaled * 257).astype(np.uint16), ("floating point kept to 16 bits",)
