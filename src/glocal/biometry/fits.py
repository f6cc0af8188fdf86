"""Ellipses of regions and points: by area moments, by direct least squares, and as the 2023 evaluator fits them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.ellipse import Ellipse, Floats

__all__ = ["fit_by_moments", "fit_direct", "fit_two_step"]


def fit_by_moments(points: NDArray[Any]) -> Ellipse | None:
    """The ellipse with the centroid and covariance of the pixels of a region.

    Exact for a filled ellipse, without the half pixel by which a border through pixel centres is too small.

    Args:
        points: ``(n, 2)``, all pixels of the region.

    Returns:
        The ellipse, or ``None`` where an axis is undefined (pixels on one line).
    """
    centre = points.mean(axis=0)
    offsets = points - centre
    ellipse = Ellipse.from_matrix(centre, 4 * (offsets.T @ offsets) / len(points))
    return ellipse if ellipse.b > 1e-6 * ellipse.a else None


def fit_direct(points: NDArray[Any]) -> Ellipse | None:
    """Direct least squares of Fitzgibbon, Pilu and Fisher (1999), in the stable form of Halíř and Flusser (1998).

    Args:
        points: ``(n, 2)``, on the outline.

    Returns:
        The ellipse, or ``None`` where the points determine none.
    """
    if len(points) < 6:
        return None
    shift = points.mean(axis=0)
    scale = float(np.abs(points - shift).mean()) or 1.0
    x, y = ((points - shift) / scale).T
    quadratic = np.stack([x * x, x * y, y * y], axis=1)
    linear = np.stack([x, y, np.ones_like(x)], axis=1)
    try:
        back = -np.linalg.solve(linear.T @ linear, linear.T @ quadratic)
        reduced = quadratic.T @ quadratic + quadratic.T @ linear @ back
        values, vectors = np.linalg.eig(np.stack([reduced[2] / 2, -reduced[1], reduced[0] / 2]))
    except np.linalg.LinAlgError:
        return None
    vectors = vectors.real
    proper = 4 * vectors[0] * vectors[2] - vectors[1] ** 2
    if not np.isfinite(values).all() or not (proper > 0).any():
        return None
    conic = vectors[:, int(np.argmax(proper > 0))]
    return _of_conic(conic, back @ conic, shift, scale)


def _of_conic(quadratic: Floats, linear: Floats, shift: Floats, scale: float) -> Ellipse | None:
    """The ellipse ``ax² + bxy + cy² + dx + ey + f = 0`` of scaled points."""
    a, b, c = quadratic
    d, e, f = linear
    form = np.array([[a, b / 2], [b / 2, c]])
    centre = np.linalg.solve(-2 * form, np.array([d, e]))
    level = -(f + (d * centre[0] + e * centre[1]) / 2)
    inverse = np.linalg.inv(form) * level
    if not np.isfinite(inverse).all() or np.linalg.eigvalsh(inverse)[0] <= 0:
        return None
    return Ellipse.from_matrix(shift + scale * centre, scale**2 * inverse)


def fit_two_step(points: NDArray[Any]) -> Ellipse | None:
    """The fit of the FH-PS-AOP evaluator: a conic for the centre, then one about that centre.

    Args:
        points: ``(n, 2)``, vertices of the simplified outline.

    Returns:
        The ellipse with its angle in [-90, 90), or ``None`` for fewer than 6 points or where they determine none.
    """
    if len(points) < 6:
        return None
    shift = points.mean(axis=0)
    spread = float(np.abs(points - shift).sum())
    if spread == 0:
        return None
    scale = 100 / spread
    x, y = ((points - shift) * scale).T
    design = np.stack([-x * x, -y * y, -x * y, x, y], axis=1)
    a, b, c, d, e = np.linalg.lstsq(design, np.full(len(x), 10000.0), rcond=None)[0]
    centre = np.linalg.lstsq(np.array([[2 * a, c], [c, 2 * b]]), np.array([d, e]), rcond=None)[0]
    u, v = x - centre[0], y - centre[1]
    a, b, c = np.linalg.lstsq(np.stack([u * u, v * v, u * v], axis=1), np.ones(len(x)), rcond=None)[0]
    angle = -0.5 * math.atan2(c, b - a)
    t = c / math.sin(-2 * angle) if abs(c) >= 1e-8 else b - a
    if min(abs(a + b - t), abs(a + b + t)) < 1e-12:
        return None
    width, height = (math.sqrt(2 / abs(a + b + sign * t)) for sign in (-1, 1))
    degrees = math.degrees(angle)
    if width > height:
        width, height, degrees = height, width, degrees + 90
    across = shift + centre / scale
    return Ellipse(float(across[0]), float(across[1]), height / scale, width / scale, degrees % 180 - 90)
