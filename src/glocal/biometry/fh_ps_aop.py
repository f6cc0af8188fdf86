"""The ellipse evaluator of the FH-PS-AOP challenge of 2023; what made it answer 0 is a reason here."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.contours import Border, longest_border, outer_borders, touches_edge
from glocal.biometry.ellipse import Ellipse, Floats
from glocal.biometry.fits import fit_two_step
from glocal.biometry.measurement import Measurement, Structure, angle_at, folded_angle, point
from glocal.biometry.simplify import simplify

__all__ = ["measure", "outline_ellipse"]

DEGREE = 0.01745
"""What its authors multiply degrees by, in place of π / 180."""


def outline_ellipse(region: NDArray[np.bool_]) -> tuple[Ellipse | None, int]:
    """The ellipse of the simplified longest border of a region ``(H, W)``, and how many vertices it comes from."""
    border = longest_border(region)
    return (None, 0) if border is None else _fit(border)


def _fit(border: Border) -> tuple[Ellipse | None, int]:
    vertices = simplify(border)
    return fit_two_step(vertices.astype(np.float64)), len(vertices)


def measure(symphysis: NDArray[np.bool_], head: NDArray[np.bool_]) -> Measurement:
    """Measure regions ``(H, W)`` in the standard orientation; square pixels."""
    parts: dict[str, Structure | None] = {}
    reasons, flags = [], []
    for name, region in (("symphysis", symphysis), ("head", head)):
        borders = outer_borders(region)
        if not borders:
            parts[name] = None
            reasons.append(f"no_{name}")
            continue
        border = max(borders, key=len)
        truncated = touches_edge(border, region.shape)
        if truncated:
            flags.append(f"{name}_truncated")
        if len(borders) > 1:
            flags.append("several_components")
        ellipse = _fit(border)[0]
        if ellipse is None:
            reasons.append("no_ellipse")
        parts[name] = Structure(
            int(np.count_nonzero(region)), components=len(borders), truncated=truncated, ellipse=ellipse
        )
    known: dict[str, Any] = dict(parts)
    result = Measurement("fh_ps_aop", **known, reasons=tuple(dict.fromkeys(reasons)), flags=tuple(dict.fromkeys(flags)))
    bone, skull = (None if part is None else part.ellipse for part in parts.values())
    return result if bone is None or skull is None else _between(bone, skull, result)


def _between(bone: Ellipse, skull: Ellipse, result: Measurement) -> Measurement:
    """The landmarks of two ellipses, by the formulas of the evaluator."""
    turn = bone.angle * DEGREE
    half = bone.a * np.array([math.cos(turn), math.sin(turn)])
    superior, inferior = bone.centre - half, bone.centre + half
    tangent, outside = _touch(skull, inferior)
    flags, reasons = list(result.flags), list(result.reasons)
    if not outside:
        flags.append("inferior_end_in_head")
    elif angle_at(inferior, superior, tangent) > 180:
        flags.append("aop_folded")
    across = np.array([-half[1], half[0]])
    across = across if across @ (skull.centre - inferior) >= 0 else -across
    met = skull.first_on_ray(inferior, across) if outside else None
    if met is None:
        reasons.append("no_perpendicular" if outside else "inferior_end_in_head")
    return replace(
        result,
        aop=folded_angle(inferior, superior, tangent),
        hsd_perpendicular_px=None if met is None else float(np.hypot(*(met - inferior))),
        superior=point(superior),
        inferior=point(inferior),
        tangent=point(tangent),
        perpendicular=None if met is None else point(met),
        flags=tuple(flags),
        reasons=tuple(reasons),
    )


def _touch(skull: Ellipse, inferior: Floats) -> tuple[Floats, bool]:
    """The tangent point by the slope in the head's frame, and whether there is one: from inside the slope is 0."""
    turn = skull.angle * DEGREE
    frame = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    x, y = (inferior - skull.centre) @ frame
    a2, b2 = skull.a**2, skull.b**2
    if x**2 == a2:
        x += 1
    root = b2 * x**2 + a2 * y**2 - a2 * b2
    slope = (x * y - math.sqrt(root)) / (x**2 - a2) if root >= 0 else 0.0
    offset = y - slope * x
    at_x = -slope * offset * a2 / (b2 + a2 * slope**2)
    tangent: Floats = skull.centre + frame @ np.array([at_x, slope * at_x + offset])
    return tangent, bool(root >= 0)
