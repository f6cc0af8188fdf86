"""Plausible geometry at random, in millimetres.

Ranges of sizes and poses follow the spread of the real masks of PSFHS (Chen et al., Scientific Data 11:436, 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from glocal.data.phantom.geometry import Ellipse, Fan, progression

__all__ = ["Anatomy", "draw_frame", "draw_patient"]

AOP_RANGE = (80.0, 170.0)
"""Angles of progression that are drawn, in degrees: the range met in practice."""

MARGIN = 1.0
"""Smallest distance, in millimetres, from an ellipse to the edge of the fan."""


@dataclass(frozen=True)
class Anatomy:
    """Geometry in millimetres; the origin is the middle of the probe's face, y down."""

    fan: Fan
    symphysis: Ellipse
    head: Ellipse

    def on_grid(self, height: int, width: int) -> tuple[Anatomy, float]:
        """The same geometry in pixels, the fan in the middle of the image; and the millimetres per pixel."""
        fan = self.fan
        opening = np.deg2rad(fan.half_angle)
        top, bottom = fan.y + fan.inner * np.cos(opening), fan.y + fan.outer
        scale = float(0.94 * min((height - 1) / (bottom - top), (width - 1) / (2 * fan.half_width)))
        shift = ((width - 1) / 2, float((height - 1 - scale * (top + bottom)) / 2))
        symphysis, head = self.symphysis.scaled(scale, shift), self.head.scaled(scale, shift)
        return Anatomy(fan.scaled(scale, shift), symphysis, head), 1 / scale


def draw_patient(rng: np.random.Generator) -> Anatomy:
    """Plausible geometry of one simulated patient, in millimetres."""
    return _plausible(lambda: _patient(rng))


def draw_frame(patient: Anatomy, rng: np.random.Generator) -> Anatomy:
    """The same patient a moment later, in millimetres: the probe slides, the head descends and turns a little."""
    return _plausible(lambda: _frame(patient, rng))


def _patient(rng: np.random.Generator) -> Anatomy:
    face, half_angle = rng.uniform(36, 46), rng.uniform(26, 39)
    outer = face + rng.uniform(118, 134)
    fan = Fan(0.0, -face, face, outer, half_angle, min(outer * np.sin(np.deg2rad(half_angle)), rng.uniform(74, 84)))
    long_axis = rng.uniform(16, 22)
    symphysis = Ellipse(
        rng.uniform(-28, -8),
        rng.uniform(12, 20),
        long_axis,
        long_axis * rng.uniform(0.42, 0.6),
        float(np.clip(rng.normal(-8, 13), -35, 22)),
    )
    head_axis = rng.uniform(43, 53)
    head = Ellipse(
        rng.uniform(-22, 24),
        rng.uniform(60, 84),
        head_axis,
        head_axis * rng.uniform(0.76, 0.92),
        rng.normal(95, 20),
    )
    return Anatomy(fan, symphysis, head)


def _frame(patient: Anatomy, rng: np.random.Generator) -> Anatomy:
    slide, press = rng.normal(0, 1.5), rng.normal(0, 0.8)
    symphysis = replace(
        patient.symphysis,
        x=patient.symphysis.x + slide,
        y=patient.symphysis.y + press,
        angle=patient.symphysis.angle + rng.normal(0, 2),
    )
    head = replace(
        patient.head,
        x=patient.head.x + slide + rng.normal(0, 2.5),
        y=patient.head.y + press + rng.normal(0, 2.5),
        angle=patient.head.angle + rng.normal(0, 4),
    )
    return Anatomy(patient.fan, symphysis, head)


def _is_plausible(anatomy: Anatomy) -> bool:
    """Both structures whole in the fan, apart from each other, and an angle of progression met in practice."""
    fan, symphysis, head = anatomy.fan, anatomy.symphysis, anatomy.head
    outlines = np.concatenate([symphysis.boundary(), head.boundary()])
    if not fan.contains(outlines[:, 0], outlines[:, 1], MARGIN).all():
        return False
    nearer = replace(head, a=head.a + 3 * MARGIN, b=head.b + 3 * MARGIN)
    outline = symphysis.boundary()
    if (nearer.radius(outline[:, 0], outline[:, 1]) <= 1).any():
        return False
    measured = progression(symphysis, head)
    return measured is not None and AOP_RANGE[0] <= measured.aop <= AOP_RANGE[1]


def _plausible(draw: Callable[[], Anatomy]) -> Anatomy:
    while not _is_plausible(anatomy := draw()):
        pass
    return anatomy
