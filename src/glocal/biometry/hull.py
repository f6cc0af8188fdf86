"""The convex hull of pixels, in whole numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from glocal.biometry.contours import Border

__all__ = ["convex_hull"]


def convex_hull(points: Border) -> Border:
    """The corners ``(h, 2)`` of the convex hull of pixels ``(n, 2)``, none on the line between two others.

    Andrew's monotone chain (1979) over the outermost pixels of every row.
    """
    order = np.lexsort((points[:, 0], points[:, 1]))
    rows = points[order]
    change = np.flatnonzero(np.diff(rows[:, 1])) + 1
    left = rows[np.concatenate([[0], change])].tolist()
    right = rows[np.concatenate([change - 1, [len(rows) - 1]])].tolist()
    one_side, other_side = _chain(left), _chain(reversed(right))
    corners = one_side + [corner for corner in other_side if corner not in (one_side[0], one_side[-1])]
    return np.array(corners, np.int64)


def _chain(points: Iterable[list[int]]) -> list[list[int]]:
    kept: list[list[int]] = []
    for x, y in points:
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2], kept[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) < 0:
                break
            kept.pop()
        kept.append([x, y])
    return kept
