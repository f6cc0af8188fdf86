"""Images and labels at the size a network takes: the one way it is done, in training and in prediction."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from glocal.data.readers import Picture

__all__ = ["image_at", "label_at"]

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]


def image_at(picture: Picture, size: tuple[int, int], channels: int) -> Pixels:
    """An image stretched to ``size``, in the depth of its file.

    Bilinear interpolation, with antialiasing where it shrinks (Pillow's). The aspect ratio is not kept, as in the
    published recipes. Channels are converted as :meth:`Picture.unit <glocal.data.readers.Picture.unit>` does.

    Args:
        picture: The image.
        size: ``(height, width)`` in pixels.
        channels: 1 or 3.

    Returns:
        ``(channels, height, width)``, ``uint8`` or ``uint16`` as ``picture.pixels``.
    """
    pixels: NDArray[Any] = picture.pixels
    if channels == 1 and picture.channels == 3:
        pixels = np.rint(picture.unit(1) * np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    planes = [_stretched(pixels[:, :, plane], size) for plane in range(pixels.shape[2])]
    return np.stack(planes * (channels // len(planes)))


def label_at(label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class indices ``(H, W)`` stretched to ``size`` by nearest neighbour: no class appears that was not there."""
    from PIL import Image

    if label.shape == size:
        return label
    stretched: NDArray[np.uint8] = np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
    return stretched


def _stretched(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    from PIL import Image

    if plane.shape == size:
        return plane
    source = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
    stretched: NDArray[Any] = np.asarray(Image.fromarray(source).resize(size[::-1], Image.Resampling.BILINEAR))
    return np.rint(stretched).astype(plane.dtype) if stretched.dtype != plane.dtype else stretched
