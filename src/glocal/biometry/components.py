"""The largest component of a region, with its holes filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Component", "largest_component"]


@dataclass(frozen=True, eq=False)
class Component:
    """The 8-connected component of largest area; of equal ones the first in raster order.

    Attributes:
        inside: ``(h, w)``: its bounding box.
        top: Row of the box in the image.
        left: Column of the box in the image.
        dropped: Pixels in other components.
        filled: Pixels of holes.
        components: How many there are.
        edges: Which sides of the box lie on the border of the image: top, bottom, left, right.
    """

    inside: NDArray[np.bool_]
    top: int
    left: int
    dropped: int
    filled: int
    components: int
    edges: tuple[bool, bool, bool, bool]

    @property
    def truncated(self) -> bool:
        """Whether it touches the border of the image."""
        return any(self.edges)

    def pixels(self) -> NDArray[np.int64]:
        """All pixels ``(n, 2)`` as ``(x, y)``."""
        rows, columns = np.nonzero(self.inside)
        return np.stack([columns + self.left, rows + self.top], axis=1)

    def outline(self) -> NDArray[np.float64]:
        """Where the outline crosses between a pixel and a neighbour, ``(n, 2)`` as ``(x, y)``.

        Half a pixel outside of the border pixels; pixels on the border of the image are left out.
        """
        padded = np.pad(self.inside, 1)
        seen = self.inside.copy()
        for place, on_edge in zip(((0,), (-1,), (..., 0), (..., -1)), self.edges, strict=True):
            if on_edge:
                seen[place] = False
        parts = []
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            height, width = self.inside.shape
            neighbour = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            rows, columns = np.nonzero(seen & ~neighbour)
            parts.append(np.stack([columns + self.left + dx / 2, rows + self.top + dy / 2], axis=1))
        return np.concatenate(parts)


def largest_component(region: NDArray[np.bool_]) -> Component | None:
    """The component that is measured; ``None`` for an empty region ``(H, W)``."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    box = region[top : rows[-1] + 1, left : columns[-1] + 1]
    labels, count = ndimage.label(box, np.ones((3, 3), bool))
    sizes = np.bincount(labels.ravel())[1:]
    largest = int(np.argmax(sizes)) + 1
    part = ndimage.find_objects(labels)[largest - 1]
    solid = labels[part] == largest
    inside = ndimage.binary_fill_holes(solid)
    top, left = top + part[0].start, left + part[1].start
    bottom, right = top + inside.shape[0], left + inside.shape[1]
    return Component(
        inside,
        top,
        left,
        dropped=int(sizes.sum() - sizes[largest - 1]),
        filled=int(np.count_nonzero(inside) - sizes[largest - 1]),
        components=count,
        edges=(top == 0, bottom == region.shape[0], left == 0, right == region.shape[1]),
    )
