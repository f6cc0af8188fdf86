"""Closed contours with fewer points: Douglas and Peucker (1973) as the FH-PS-AOP evaluator's library does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["simplify"]


def simplify(border: NDArray[Any], tolerance: float = 1.0) -> NDArray[np.int64]:
    """Leave out points of a closed curve that lie within ``tolerance`` of the chord that replaces them.

    Args:
        border: ``(n, 2)`` integers, as of :func:`glocal.biometry.contours.longest_border`.
        tolerance: In pixels.

    Returns:
        Vertices ``(m, 2)``, in the order of the curve.
    """
    points = np.asarray(border, np.int64)
    here, there = 0, 0
    for _ in range(3):
        here, there = there, _farthest(points, there)
    span = points[there] - points[here]
    if span @ span <= tolerance**2:
        return points[here : here + 1]
    kept, stack = [], [(there, here), (here, there)]
    while stack:
        start, end = stack.pop()
        split = _split(points, start, end, tolerance)
        if split is None:
            kept.append(start)
        else:
            stack += [(split, end), (start, split)]
    return _without_flat(points[kept], tolerance)


def _farthest(points: NDArray[np.int64], start: int) -> int:
    """Index of the point farthest from one of them, the first along the curve from there."""
    offsets = np.roll(points, -start, axis=0) - points[start]
    return (start + int(np.argmax((offsets**2).sum(axis=1)))) % len(points)


def _split(points: NDArray[np.int64], start: int, end: int, tolerance: float) -> int | None:
    """Index of the point of an arc that is farthest from its chord; ``None`` if all are near enough."""
    count = len(points)
    between = (start + np.arange(1, (end - start) % count)) % count
    if not between.size:
        return None
    chord = points[end] - points[start]
    offsets = points[between] - points[start]
    crosses = np.abs(offsets[:, 1] * chord[0] - offsets[:, 0] * chord[1])
    place = int(np.argmax(crosses))
    if crosses[place] ** 2 <= tolerance**2 * (chord @ chord):
        return None
    return int(between[place])


def _without_flat(vertices: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    """One pass over the polygon that leaves out vertices on a nearly straight, slanting line."""
    count = len(vertices)
    kept = list[NDArray[np.int64]]()
    start, point, position, left = vertices[-1], vertices[0], 1, count
    examined = 0
    while examined < count and left > 2:
        end = vertices[position % count]
        position += 1
        examined += 1
        chord, first = end - start, point - start
        cross = int(first[0] * chord[1] - first[1] * chord[0])
        near = cross**2 <= 0.5 * tolerance**2 * int(chord @ chord)
        if near and chord.all() and first @ (end - point) >= 0:
            left -= 1
            kept.append(end)
            start, point = end, vertices[position % count]
            position += 1
            examined += 1
        else:
            kept.append(point)
            start, point = point, end
    if examined < count:
        return vertices
    return np.array(kept)
