"""Surfaces of masks and the distances between them, in two or three dimensions.

Everything the distance metrics need comes from **one** pair of distance vectors: the surface of each mask is taken
once, inside the box that holds both, and each surface point asks a k-d tree for the nearest point of the other surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["SurfaceDistances", "bounding_box", "modified_hausdorff", "surface", "surface_distances"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_ROUNDING = 1e-9
"""Relative slack of a tolerance: three pixels of 0.1 mm are within 0.3 mm."""


def bounding_box(mask: BoolArray) -> tuple[slice, ...] | None:
    """Return the smallest box that holds every true pixel of ``mask`` (any number of axes), ``None`` if it is empty."""
    box = []
    for axis in range(mask.ndim):
        profile = mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis))
        hits = np.flatnonzero(profile)
        if hits.size == 0:
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)


def surface(mask: BoolArray) -> BoolArray:
    """Return the surface pixels of ``mask``: those with a face neighbour outside it.

    Face neighbours are the 4 (2-D) or 6 (3-D) pixels that share a side. What lies outside the image counts as outside
    the mask, so that a structure cut by the image border has a surface there (as MONAI and MedPy have it).

    Args:
        mask: Boolean, any number of axes.
    """
    interior = mask.copy()
    for axis in range(mask.ndim):
        first, last = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        ahead, behind = list(first), list(first)
        first[axis], last[axis] = slice(0, 1), slice(-1, None)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        interior[tuple(ahead)] &= mask[tuple(behind)]
        interior[tuple(behind)] &= mask[tuple(ahead)]
        interior[tuple(first)] = False
        interior[tuple(last)] = False
    return mask & ~interior


@dataclass(frozen=True)
class SurfaceDistances:
    """The distance of every surface point to the other surface, in the unit of the spacing.

    Neither vector is empty; their order has no meaning.

    Attributes:
        from_prediction: Of each surface point of the prediction to the nearest one of the truth, float64.
        from_truth: Of each surface point of the truth to the nearest one of the prediction, float64.
    """

    from_prediction: FloatArray
    from_truth: FloatArray

    @property
    def hausdorff(self) -> float:
        """HD, the largest distance of either vector."""
        return float(max(self.from_prediction.max(), self.from_truth.max()))

    def percentile(self, percent: float) -> float:
        """Return the larger of the two directed percentiles (HD95 with 95), linearly interpolated.

        The percentile of the two vectors *pooled*, which some programs call HD95 as well, is lower where the surfaces
        differ in size.
        """
        return float(max(np.percentile(self.from_prediction, percent), np.percentile(self.from_truth, percent)))

    @property
    def average(self) -> float:
        """ASSD, the mean of both vectors together (not the mean of their two means)."""
        points = self.from_prediction.size + self.from_truth.size
        return float((self.from_prediction.sum() + self.from_truth.sum()) / points)

    def within(self, tolerance: float) -> float:
        """NSD, the fraction of all surface points no farther than ``tolerance`` from the other surface.

        Points count alike; they are not weighted by the area of surface they stand for.
        """
        limit = tolerance * (1 + _ROUNDING)
        close = np.count_nonzero(self.from_prediction <= limit) + np.count_nonzero(self.from_truth <= limit)
        return float(close / (self.from_prediction.size + self.from_truth.size))


def surface_distances(
    prediction: BoolArray, truth: BoolArray, spacing: Sequence[float] = ()
) -> SurfaceDistances | None:
    """Measure the distances between the surfaces of two masks.

    Args:
        prediction: Boolean, any number of axes.
        truth: Boolean, same shape.
        spacing: Distance between neighbouring pixels along each axis; empty for 1 along all of them.

    Returns:
        The two vectors, or ``None`` where a mask is empty and no distance exists.
    """
    first, second = bounding_box(prediction), bounding_box(truth)
    if first is None or second is None:
        return None
    union = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    surfaces = surface(prediction[union]), surface(truth[union])
    shared = int(np.count_nonzero(surfaces[0] & surfaces[1]))
    points = [_coordinates(mask, spacing) for mask in surfaces]
    alone = [_coordinates(surfaces[i] & ~surfaces[1 - i], spacing) for i in (0, 1)]
    return SurfaceDistances(*(_nearest(alone[i], points[1 - i], shared) for i in (0, 1)))


def _coordinates(mask: BoolArray, spacing: Sequence[float]) -> FloatArray:
    points = np.argwhere(mask).astype(np.float64)
    return points * np.asarray(spacing, np.float64) if len(spacing) else points


def _nearest(queries: FloatArray, targets: FloatArray, shared: int) -> FloatArray:
    """Distances of ``queries`` to ``targets``, then ``shared`` zeros for the points that lie in both surfaces."""
    distances = np.zeros(len(queries) + shared)
    if len(queries):
        tree = cKDTree(targets, leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[: len(queries)] = tree.query(queries)[0]
    return distances


def modified_hausdorff(prediction: BoolArray, truth: BoolArray) -> float:
    """Return the modified Hausdorff distance between all true pixels of two masks, in pixels.

    The larger of the two mean nearest-neighbour distances (Dubuisson and Jain, 1994), over *all* pixels of the masks,
    not their surfaces: pixels in both masks count with distance 0. Both masks empty give 0, one empty infinity.

    Args:
        prediction: Boolean, any number of axes.
        truth: Boolean, same shape.
    """
    sizes = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
    if not all(sizes):
        return 0.0 if not any(sizes) else float("inf")
    # The pixel of a mask nearest to a point outside it lies on the mask's surface.
    masks = prediction, truth
    means = []
    for i in (0, 1):
        outside = _coordinates(masks[i] & ~masks[1 - i], ())
        total = _nearest(outside, _coordinates(surface(masks[1 - i]), ()), 0).sum()
        means.append(float(total) / sizes[i])
    return max(means)
