"""An ellipse on the pixel grid: tangents, nearest point, ray, raster."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

__all__ = ["Ellipse", "Floats", "Point"]

Floats: TypeAlias = NDArray[np.float64]
Point: TypeAlias = tuple[float, float]
"""``(x, y)``: x to the right, y down, pixel centres at integers."""


@dataclass(frozen=True)
class Ellipse:
    """An ellipse.

    Attributes:
        x: Centre.
        y: Centre.
        a: Major semi-axis, along ``angle``.
        b: Minor semi-axis, across it.
        angle: Direction of the major axis in degrees, clockwise on the screen.
    """

    x: float
    y: float
    a: float
    b: float
    angle: float

    @classmethod
    def from_matrix(cls, centre: Floats, matrix: Floats) -> Ellipse:
        """The ellipse of the points ``centre + L u`` of unit vectors ``u``, for ``matrix = L Lᵀ`` ``(2, 2)``."""
        values, vectors = np.linalg.eigh(matrix)
        minor, major = np.sqrt(np.maximum(values, 0.0))
        angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
        return cls(float(centre[0]), float(centre[1]), float(major), float(minor), (angle + 90) % 180 - 90)

    @property
    def centre(self) -> Floats:
        """``(2,)``."""
        return np.array([self.x, self.y])

    @property
    def axes(self) -> Floats:
        """``(2, 2)``: columns are the unit vectors along the major and the minor axis."""
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return np.array([[cosine, -sine], [sine, cosine]])

    def to_unit(self, points: Floats) -> Floats:
        """Points ``(…, 2)`` in the frame in which the ellipse is the unit circle."""
        mapped: Floats = (points - self.centre) @ self.axes / (self.a, self.b)
        return mapped

    def from_unit(self, points: Floats) -> Floats:
        """The inverse of :meth:`to_unit`."""
        mapped: Floats = self.centre + points * (self.a, self.b) @ self.axes.T
        return mapped

    def boundary(self, count: int = 180) -> Floats:
        """Points ``(count, 2)`` on the ellipse, evenly spread in its parameter."""
        turn = np.linspace(0, 2 * math.pi, count, endpoint=False)
        return self.from_unit(np.stack([np.cos(turn), np.sin(turn)], axis=1))

    def covers(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Which points of the grid of columns ``x`` ``(W,)`` and rows ``y`` ``(H,)`` lie inside, ``(H, W)``."""
        along, across = self.axes.T
        dx, dy = x - self.x, (y - self.y)[:, None]
        first, second = (along[0] * dx + along[1] * dy) / self.a, (across[0] * dx + across[1] * dy) / self.b
        inside: NDArray[np.bool_] = first**2 + second**2 <= 1
        return inside

    def tangent_points(self, point: Floats) -> Floats | None:
        """Where the two lines through ``point`` touch, ``(2, 2)``; ``None`` from inside or from the ellipse itself."""
        w = self.to_unit(point)
        rho2 = float(w @ w)
        if rho2 <= 1:
            return None
        turned = math.sqrt(rho2 - 1) * np.array([-w[1], w[0]])
        return self.from_unit(np.stack([w + turned, w - turned]) / rho2)

    def nearest(self, point: Floats) -> Floats:
        """The point ``(2,)`` of the ellipse that is nearest to a point outside of it."""
        p = (point - self.centre) @ self.axes
        squares = np.array([self.a**2, self.b**2])

        def excess(t: float) -> float:
            return float(np.sum(squares * p**2 / (t + squares) ** 2)) - 1

        root = brentq(excess, 0.0, self.a * float(np.hypot(*p)), xtol=1e-12 * self.a**2, rtol=1e-15)
        foot: Floats = self.centre + self.axes @ (squares * p / (root + squares))
        return foot

    def first_on_ray(self, origin: Floats, direction: Floats) -> Floats | None:
        """Where the ray from a point outside first meets the ellipse, ``(2,)``; ``None`` if it passes by."""
        w = self.to_unit(origin)
        d = self.to_unit(origin + direction) - w
        along, length = float(w @ d), float(d @ d)
        root = along**2 - length * (float(w @ w) - 1)
        if root < 0 or along >= 0:
            return None
        met: Floats = origin + (-along - math.sqrt(root)) / length * direction
        return met

    def scaled(self, x: float, y: float) -> Ellipse:
        """The ellipse after both coordinates are multiplied by factors of their own."""
        factors = np.array([x, y])
        half = self.axes * (self.a, self.b) * factors[:, None]
        return Ellipse.from_matrix(self.centre * factors, half @ half.T)

    def mirrored(self, width: int) -> Ellipse:
        """The ellipse in an image ``width`` pixels wide whose left and right are exchanged."""
        return replace(self, x=width - 1 - self.x, angle=-self.angle)
