"""Ellipses, the field of view of a curved probe, and the angle of progression in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ellipse", "Fan", "Progression", "progression"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse on the pixel grid (x to the right, y down, pixel centres at integers).

    Attributes:
        x: Centre, in pixels.
        y: Centre, in pixels.
        a: Semi-axis along ``angle``, in pixels.
        b: Semi-axis across it, in pixels.
        angle: Direction of the first axis in degrees, clockwise on the screen.
    """

    x: float
    y: float
    a: float
    b: float
    angle: float

    @property
    def axis(self) -> Floats:
        """Unit vector ``(x, y)`` along the first axis."""
        radians = np.deg2rad(self.angle)
        return np.array([np.cos(radians), np.sin(radians)])

    def local(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Coordinates in the frame where the ellipse is the unit circle; same shape as ``x`` and ``y``."""
        cosine, sine = self.axis
        dx, dy = x - self.x, y - self.y
        return (cosine * dx + sine * dy) / self.a, (cosine * dy - sine * dx) / self.b

    def radius(self, x: Floats, y: Floats) -> Floats:
        """0 at the centre, 1 on the ellipse, more outside; same shape as ``x`` and ``y``."""
        radii: Floats = np.hypot(*self.local(x, y))
        return radii

    def boundary(self, count: int = 90) -> Floats:
        """Points ``(count, 2)`` on the ellipse."""
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        along, across = self.axis, np.array([-self.axis[1], self.axis[0]])
        points: Floats = (
            np.array([self.x, self.y])
            + np.outer(self.a * np.cos(turn), along)
            + np.outer(self.b * np.sin(turn), across)
        )
        return points

    def scaled(self, scale: float, shift: tuple[float, float]) -> Ellipse:
        """The ellipse after ``point * scale + shift``."""
        return Ellipse(self.x * scale + shift[0], self.y * scale + shift[1], self.a * scale, self.b * scale, self.angle)


@dataclass(frozen=True)
class Fan:
    """The field of view of a curved probe: a ring sector about a point above the image, cut at both sides.

    Attributes:
        x: Centre of curvature, in pixels.
        y: Centre of curvature, in pixels (usually negative: above the image).
        inner: Radius of the probe's face, in pixels.
        outer: Radius of the deepest echo, in pixels.
        half_angle: Half the opening, in degrees.
        half_width: The picture is cut at this horizontal distance from the middle, in pixels.
    """

    x: float
    y: float
    inner: float
    outer: float
    half_angle: float
    half_width: float

    def scaled(self, scale: float, shift: tuple[float, float]) -> Fan:
        """The fan after ``point * scale + shift``."""
        return Fan(
            self.x * scale + shift[0],
            self.y * scale + shift[1],
            self.inner * scale,
            self.outer * scale,
            self.half_angle,
            self.half_width * scale,
        )

    def polar(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Distance from the centre of curvature (pixels) and angle from straight down (radians, positive right)."""
        return np.hypot(x - self.x, y - self.y), np.arctan2(x - self.x, y - self.y)

    def contains(self, x: Floats, y: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
        """True where a point lies in the fan, at least ``margin`` pixels from its edge."""
        radius, angle = self.polar(x, y)
        to_side = radius * np.sin(np.deg2rad(self.half_angle) - np.abs(angle))
        in_ring = (radius >= self.inner + margin) & (radius <= self.outer - margin)
        inside: NDArray[np.bool_] = in_ring & (to_side >= margin) & (np.abs(x - self.x) <= self.half_width - margin)
        return inside


@dataclass(frozen=True)
class Progression:
    """The angle of progression and the three points it is measured between.

    Attributes:
        aop: Angle of progression in degrees, in [0, 360).
        superior: Superior end ``(x, y)`` of the symphysis' long axis, in pixels.
        inferior: Inferior end, the vertex of the angle.
        tangent: Where the line from the inferior end touches the head on its leading side.
    """

    aop: float
    superior: tuple[float, float]
    inferior: tuple[float, float]
    tangent: tuple[float, float]


def progression(symphysis: Ellipse, head: Ellipse) -> Progression | None:
    """Angle of progression of two ellipses in closed form (Barbera et al., Ultrasound Obstet. Gynecol. 33:313, 2009).

    At the inferior end of the symphysis (the end of its first axis with the larger x), the angle between that axis and
    the line tangent to the head on its leading side: the head lies clockwise of it on the screen.

    Args:
        symphysis: Its first axis must be the long one.
        head: The fetal head.

    Returns:
        The angle and its points, or ``None`` if the inferior end lies in the head, where no tangent exists.
    """
    axis = symphysis.axis
    if axis[0] < 0 or (axis[0] == 0 and axis[1] < 0):
        axis = -axis
    centre = np.array([symphysis.x, symphysis.y])
    superior, inferior = centre - symphysis.a * axis, centre + symphysis.a * axis
    w = np.array(head.local(inferior[0], inferior[1]))
    rho2 = float(w @ w)
    if rho2 <= 1:
        return None
    along = head.axis
    turn = np.array([[along[0], -along[1]], [along[1], along[0]]])
    to_head = np.array([head.x, head.y]) - inferior
    for sign in (1.0, -1.0):
        unit = (w + sign * np.sqrt(rho2 - 1) * np.array([-w[1], w[0]])) / rho2
        tangent = np.array([head.x, head.y]) + turn @ (np.array([head.a, head.b]) * unit)
        if _cross(tangent - inferior, to_head) > 0:
            break
    u, v = superior - inferior, tangent - inferior
    aop = float(np.rad2deg(np.arctan2(_cross(v, u), u @ v)) % 360)
    return Progression(aop, _pair(superior), _pair(inferior), _pair(tangent))


def _cross(a: Floats, b: Floats) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _pair(point: Floats) -> tuple[float, float]:
    return float(point[0]), float(point[1])
