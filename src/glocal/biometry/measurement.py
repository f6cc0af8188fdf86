"""What is measured in a frame: :class:`Measurement`, with a reason for everything that is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.ellipse import Ellipse, Point

__all__ = [
    "FLAGS",
    "HSD_OF",
    "METHODS",
    "REASONS",
    "Measurement",
    "Method",
    "Structure",
    "angle_at",
    "folded_angle",
    "point",
]

Method: TypeAlias = Literal["ellipse", "iugc2024", "fh_ps_aop"]
Numbers: TypeAlias = NDArray[np.float64] | NDArray[np.int64]
METHODS: tuple[Method, ...] = get_args(Method)

HSD_OF: MappingProxyType[Method, tuple[str, ...]] = MappingProxyType(
    {"ellipse": ("nearest", "perpendicular"), "iugc2024": ("nearest",), "fh_ps_aop": ("perpendicular",)}
)
"""Which head-symphysis distances a method gives: to the nearest point of the head, or along the infrapubic line."""

REASONS = MappingProxyType(
    {
        "no_symphysis": "the mask has no pubic symphysis",
        "no_head": "the mask has no fetal head",
        "symphysis_too_small": "the symphysis is too small to have a long axis",
        "head_too_small": "the head is too small to have an outline",
        "no_ellipse": "the outline has too few corners for an ellipse (an AoP of 0 in the published evaluator)",
        "inferior_end_in_head": "the inferior end of the symphysis lies in the head: no tangent",
        "no_tangent": "the published rule finds no tangent: it would rise, or the end lies in the head's hull",
        "no_perpendicular": "the infrapubic line passes by the head: no perpendicular HSD",
    }
)
"""Why a value is ``None``."""

FLAGS = MappingProxyType(
    {
        "symphysis_round": "the symphysis is nearly round: the direction of its axis is unreliable",
        "aop_above_180": "AoP is above 180°: the head is past the line of the symphysis",
        "aop_folded": "AoP is above 180°, which the published formula folds: the value is 360° less it",
        "head_truncated": "the head touches the border of the image; its ellipse comes from the outline inside",
        "symphysis_truncated": "the symphysis touches the border of the image; its ellipse comes from what is seen",
        "truncated_fit_failed": "no ellipse fits the outline inside the image; the moments of what is seen were taken",
        "several_components": "a structure has several parts; one was measured",
        "inferior_end_in_head": "the inferior end lies in the head: the published formula goes on with a wrong tangent",
    }
)
"""What to be wary of."""


@dataclass(frozen=True)
class Structure:
    """One anatomical structure as it was measured.

    Attributes:
        pixels: Of the component that was measured, with its holes filled; by a published method, of the whole class.
        dropped: Pixels of the class in other components; counted by ``ellipse`` alone.
        filled: Pixels of holes; counted by ``ellipse`` alone.
        components: 8-connected components of the class; of a published method, those in no hole of another.
        truncated: It touches the border of the image.
        ellipse: In pixels; ``None`` where the method takes none.
        residual: 1 − Dice between the component and the ellipse.
    """

    pixels: int
    dropped: int = 0
    filled: int = 0
    components: int = 1
    truncated: bool = False
    ellipse: Ellipse | None = None
    residual: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Angle of progression and head-symphysis distance of one frame; points are ``(x, y)`` in pixels of the mask.

    Attributes:
        method: How it was measured.
        aop: Angle of progression in degrees; in [0, 360) by ``ellipse``, in [0, 180] by the published methods.
        hsd_nearest_px: Distance from the inferior end to the nearest point of the head, in pixels; ``None`` where
            pixels are not square.
        hsd_nearest_mm: The same in millimetres, where the spacing is known.
        hsd_perpendicular_px: Distance along the infrapubic line, at a right angle to the symphysis.
        hsd_perpendicular_mm: The same in millimetres.
        superior: Superior end of the long axis of the symphysis.
        inferior: Inferior end, the vertex of the angle.
        tangent: Where the tangent touches the head.
        nearest: The point of the head that is nearest to ``inferior``.
        perpendicular: Where the infrapubic line meets the head.
        symphysis: What was measured of it.
        head: What was measured of it.
        flags: Keys of :data:`FLAGS`.
        reasons: Keys of :data:`REASONS`; empty when nothing is missing.
        spacing: Millimetres between rows and between columns, ``None`` where unknown.
    """

    method: Method
    aop: float | None = None
    hsd_nearest_px: float | None = None
    hsd_nearest_mm: float | None = None
    hsd_perpendicular_px: float | None = None
    hsd_perpendicular_mm: float | None = None
    superior: Point | None = None
    inferior: Point | None = None
    tangent: Point | None = None
    nearest: Point | None = None
    perpendicular: Point | None = None
    symphysis: Structure | None = None
    head: Structure | None = None
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    spacing: tuple[float, float] | None = None

    def mirrored(self, width: int) -> Measurement:
        """The same in an image ``width`` pixels wide whose left and right are exchanged."""
        changed: dict[str, Any] = {}
        for name in ("superior", "inferior", "tangent", "nearest", "perpendicular"):
            at: Point | None = getattr(self, name)
            changed[name] = None if at is None else (width - 1 - at[0], at[1])
        for name in ("symphysis", "head"):
            part: Structure | None = getattr(self, name)
            if part is not None and part.ellipse is not None:
                changed[name] = replace(part, ellipse=part.ellipse.mirrored(width))
        return replace(self, **changed)


def point(values: Numbers) -> Point:
    """An array ``(2,)`` as a pair."""
    return float(values[0]), float(values[1])


def angle_at(inferior: Numbers, superior: Numbers, tangent: Numbers) -> float:
    """The angle of progression in degrees, in [0, 360): from the tangent to the symphysis, clockwise on the screen."""
    u, v = superior - inferior, tangent - inferior
    return math.degrees(math.atan2(v[0] * u[1] - v[1] * u[0], u @ v)) % 360


def folded_angle(inferior: Numbers, superior: Numbers, tangent: Numbers) -> float:
    """The angle in degrees by the law of cosines, in [0, 180], as both published evaluators compute it."""
    first, second, across = (
        float(np.hypot(*side)) for side in (superior - inferior, tangent - inferior, superior - tangent)
    )
    cosine = (first**2 + second**2 - across**2) / (2 * first * second)
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
