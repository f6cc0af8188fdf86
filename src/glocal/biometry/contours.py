"""Outer borders of regions, pixel by pixel, in the order in which the published evaluators receive them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Border", "longest_border", "outer_borders", "touches_edge"]

Border: TypeAlias = NDArray[np.int64]
"""``(n, 2)``: the pixels ``(x, y)`` of a closed border in walking order."""

_EIGHT = np.ones((3, 3), bool)


def outer_borders(region: NDArray[Any]) -> list[Border]:
    """The outer border of every 8-connected component that lies in no hole of another (Suzuki and Abe, 1985).

    A border is followed counter-clockwise on the screen from its first pixel in raster order, with 8-connectivity; a
    pixel that is passed twice is listed twice. The edge of the image counts as background.

    Args:
        region: ``(H, W)``; what is not zero belongs to the region.

    Returns:
        Borders, those that start lowest (then rightmost) first.
    """
    found = _crop(np.asarray(region, bool))
    if found is None:
        return []
    inside, top, left = found
    background, _ = ndimage.label(~inside)
    filled = background != background[0, 0]
    labels, _ = ndimage.label(filled, _EIGHT)
    starts = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        row, columns = box[0].start, box[1]
        column = columns.start + int(np.argmax(labels[row, columns] == number))
        starts.append((row, column))
    width = filled.shape[1]
    cells = filled.astype(np.uint8).tobytes()
    borders = []
    for row, column in sorted(starts, reverse=True):
        path = np.array(_follow(cells, width, row * width + column), np.int64)
        borders.append(np.stack([path % width + left, path // width + top], axis=1))
    return borders


def longest_border(region: NDArray[Any]) -> Border | None:
    """The outer border with the most points, of equal ones that which starts lowest; ``None`` for an empty region."""
    return max(outer_borders(region), key=len, default=None)


def touches_edge(border: Border, shape: tuple[int, ...]) -> bool:
    """Whether a border reaches the edge of an image of ``shape`` ``(H, W)``."""
    return bool((border == 0).any() or (border == (shape[1] - 1, shape[0] - 1)).any())


def _crop(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int] | None:
    """The region's bounding box with one pixel of background around, and the pixel ``(y, x)`` its corner stands for."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(box, 1), int(rows[0]) - 1, int(columns[0]) - 1


def _follow(cells: bytes, width: int, start: int) -> list[int]:
    """Flat positions along one border of a padded region; directions count counter-clockwise from east."""
    steps = (1, 1 - width, -width, -1 - width, -1, width - 1, width, width + 1)
    back = next((d for d in (3, 2, 1, 0, 7, 6, 5) if cells[start + steps[d]]), None)
    if back is None:
        return [start]
    first, here, path = start + steps[back], start, []
    while True:
        ahead = (back + 1) & 7
        while not cells[here + steps[ahead]]:
            ahead = (ahead + 1) & 7
        path.append(here)
        there = here + steps[ahead]
        if there == start and here == first:
            return path
        here, back = there, (ahead + 4) & 7
