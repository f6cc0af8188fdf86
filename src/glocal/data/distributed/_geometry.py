"""Whether a mask lies on its volume, and if not, why."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glocal.data.volumes import LabelVolume, Volume, VolumeFile, reorient

__all__ = ["Agreement", "agreement", "turned_onto"]

Agreement: TypeAlias = Literal["same", "turned", "mask lost", "image lost", "moved", "size", "unknown"]
"""``turned``: the same grid along other axes. ``lost``: same size, but one header holds no position. ``moved``: both
hold positions that cannot be reconciled. ``unknown``: neither does."""

_CLOSE = 0.05  # of a voxel


def agreement(image: VolumeFile | Volume, mask: LabelVolume) -> Agreement:
    """How the grid of ``mask`` relates to that of ``image``."""
    if image.shape == mask.shape:
        if not image.has_geometry and not mask.has_geometry:
            return "unknown"
        if image.has_geometry and mask.has_geometry and _close(image.affine, mask.affine, image.shape):
            return "same"
    if image.has_geometry and mask.has_geometry and turned_onto(image, mask) is not None:
        return "turned"
    if image.shape != mask.shape:
        return "size"
    if not mask.has_geometry or (_empty(mask.affine) and not _empty(image.affine)):
        return "mask lost"
    if not image.has_geometry or (_empty(image.affine) and not _empty(mask.affine)):
        return "image lost"
    return "moved"


def turned_onto(image: VolumeFile | Volume, mask: LabelVolume) -> npt.NDArray[Any] | None:
    """The values of ``mask`` along the axes of ``image``, if flips and permutations bring it exactly onto it."""
    if image.orientation is None or mask.orientation is None:
        return None
    turned = reorient(Volume(mask.values, mask.affine), image.orientation)
    if turned.shape != image.shape or not _close(image.affine, turned.affine, image.shape):
        return None
    return np.ascontiguousarray(turned.values)


def _close(one: npt.NDArray[Any], other: npt.NDArray[Any], shape: tuple[int, int, int]) -> bool:
    """Whether the corners of the grid are in the same places, to a twentieth of a voxel."""
    depth, height, width = (size - 1 for size in shape)
    corners = np.array([[0, 0, 0, 1], [width, 0, 0, 1], [0, height, 0, 1], [0, 0, depth, 1]], np.float64)
    apart = np.linalg.norm(corners @ (one - other).T, axis=1).max()
    return bool(apart <= _CLOSE * np.linalg.norm(one[:3, :3], axis=0).min())


def _empty(affine: npt.NDArray[Any]) -> bool:
    """Whether an affine is what programs write that know no position: unit spacing, no origin."""
    return bool(np.allclose(np.abs(affine), np.eye(4), atol=1e-6))
