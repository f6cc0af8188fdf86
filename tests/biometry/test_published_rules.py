"""The fast contour walk and landmarks against plain loops that follow the published rules one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from glocal.biometry import measure_aop
from glocal.biometry.contours import longest_border, outer_borders
from glocal.biometry.hull import convex_hull
from glocal.biometry.simplify import simplify


def slow_landmarks(mask):
    """Rules 2 to 5 of the challenge's evaluator, in loops and floating point; None where it would have stopped."""
    outline, skull = ([tuple(map(int, p)) for p in longest_border(mask == k)] for k in (1, 2))
    best, ends = 0, None
    for i, p in enumerate(outline):
        for q in outline[i + 1 :]:
            square = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
            if square > best:
                best, ends = square, (p, q)
    superior, inferior = (ends[1], ends[0]) if ends[0][0] > ends[1][0] else ends
    nearest = min(skull, key=lambda p: (p[0] - inferior[0]) ** 2 + (p[1] - inferior[1]) ** 2)
    for tangent in sorted(skull, key=lambda p: -p[0]):
        dx, dy = tangent[0] - inferior[0], tangent[1] - inferior[1]
        if dx == 0:
            accepted = all(p[0] <= tangent[0] for p in skull)
        else:
            slope = dy / dx
            below = [p[1] - inferior[1] - slope * (p[0] - inferior[0]) for p in skull]
            accepted = all(b >= -1e-9 for b in below) if slope >= 0 else all(b <= 1e-9 for b in below)
        if accepted:
            line = [p for p in skull if dx * (p[1] - inferior[1]) == dy * (p[0] - inferior[0])]
            touch = min(line, key=lambda p: math.dist(p, inferior))
            return superior, inferior, nearest, touch
    return superior, inferior, nearest, None


def blob(rng, shape, centre, radius):
    """A ragged region."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 2) * radius
    return np.hypot(x - centre[0], (y - centre[1]) * 1.4) + 3 * noise < radius


@pytest.mark.parametrize("seed", range(25))
def test_landmarks_by_loops(seed) -> None:
    rng = np.random.default_rng(seed)
    shape = (70, 80)
    mask = np.where(blob(rng, shape, rng.uniform([25, 45], [65, 60]), rng.uniform(10, 20)), 2, 0)
    mask[blob(rng, shape, rng.uniform([10, 8], [35, 20]), rng.uniform(6, 10))] = 1
    found = measure_aop(mask, method="iugc2024")
    points = slow_landmarks(mask)
    assert (found.superior, found.inferior, found.nearest, found.tangent) == points


@pytest.mark.parametrize("seed", range(20))
def test_a_border_is_what_touches_the_surrounding_background(seed) -> None:
    rng = np.random.default_rng(seed)
    region = ndimage.gaussian_filter(rng.standard_normal((30, 34)), 1.2) > 0.1
    background, _ = ndimage.label(np.pad(~region, 1, constant_values=True))
    outside = background == background[0, 0]
    touching = ndimage.binary_dilation(outside)[1:-1, 1:-1] & region
    borders = outer_borders(region)
    listed = {tuple(map(int, p)) for border in borders for p in border}
    assert listed == {(x, y) for y, x in np.argwhere(touching).tolist()}
    for border in borders:
        steps = np.abs(np.diff(border, axis=0, append=border[:1]))
        assert len(border) == 1 or set(steps.max(axis=1)) == {1}
        x, y = border.astype(float).T
        area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
        assert area <= 0  # counter-clockwise on the screen, y down
    starts = [(int(b[0][1]), int(b[0][0])) for b in borders]
    assert starts == sorted(starts, reverse=True)


def test_small_borders_by_hand() -> None:
    square = np.zeros((6, 6), bool)
    square[1:4, 2:5] = True
    walk = [(2, 1), (2, 2), (2, 3), (3, 3), (4, 3), (4, 2), (4, 1), (3, 1)]
    assert [tuple(p) for p in longest_border(square).tolist()] == walk
    line = np.zeros((3, 5), bool)
    line[1, 1:4] = True
    assert longest_border(line).tolist() == [[1, 1], [2, 1], [3, 1], [2, 1]]  # the middle is passed twice
    assert longest_border(np.ones((1, 1))).tolist() == [[0, 0]]
    assert longest_border(np.zeros((3, 3))) is None
    two = np.zeros((9, 5), bool)
    two[1:3, 1:3] = two[6:8, 2:4] = True
    assert longest_border(two).tolist()[0] == [2, 6]  # of equally long ones that which starts lowest


def test_a_component_in_a_hole_is_ignored() -> None:
    ring = np.zeros((11, 11), bool)
    ring[1:10, 1:10] = True
    ring[3:8, 3:8] = False
    ring[5, 5] = True
    assert len(outer_borders(ring)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_hull_holds_every_point_and_only_corners(seed) -> None:
    points = np.random.default_rng(seed).integers(0, 12, (40, 2))
    hull = convex_hull(points)
    crosses = []
    for a, b in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        crosses.append((b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0]))
    crosses = np.array(crosses)
    assert (crosses <= 0).all() or (crosses >= 0).all()
    for a, b, c in zip(hull, np.roll(hull, -1, axis=0), np.roll(hull, -2, axis=0), strict=True):
        assert (b[0] - a[0]) * (c[1] - a[1]) != (b[1] - a[1]) * (c[0] - a[0])


def test_simplification_keeps_within_its_tolerance() -> None:
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    border = np.unique(np.rint(np.stack([60 + 50 * np.cos(turn), 60 + 30 * np.sin(turn)], 1)).astype(int), axis=0)
    order = np.argsort(np.arctan2(border[:, 1] - 60, border[:, 0] - 60))
    vertices = simplify(border[order])
    assert 8 < len(vertices) < len(border) / 3
    starts, ends = vertices.astype(float), np.roll(vertices, -1, axis=0).astype(float)
    along = ends - starts
    for point in border:
        t = np.clip(((point - starts) * along).sum(1) / (along**2).sum(1), 0, 1)[:, None]
        assert np.hypot(*(point - starts - t * along).T).min() < 1.5
