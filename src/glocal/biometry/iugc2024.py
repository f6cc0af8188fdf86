"""The evaluator of the IUGC 2024 challenge, with its rules for ties; what stopped it is a reason here.

Source: the starting kit of the challenge, ``maskoffs/IUGC2024`` at commit ``bad8150``; see ``docs/guides/biometry.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.contours import Border, outer_borders, touches_edge
from glocal.biometry.hull import convex_hull
from glocal.biometry.measurement import Measurement, Structure, angle_at, folded_angle, point

__all__ = ["measure"]


def measure(symphysis: NDArray[np.bool_], head: NDArray[np.bool_]) -> Measurement:
    """Measure regions ``(H, W)`` in the standard orientation; square pixels."""
    borders = [outer_borders(region) for region in (symphysis, head)]
    longest = [max(found, key=len, default=None) for found in borders]
    parts: dict[str, Any] = {
        name: None if border is None else _structure(region, border, len(found))
        for name, region, border, found in zip(("symphysis", "head"), (symphysis, head), longest, borders, strict=True)
    }
    flags = [] if all(len(found) <= 1 for found in borders) else ["several_components"]
    flags += [f"{name}_truncated" for name, part in parts.items() if part is not None and part.truncated]
    reasons = tuple(f"no_{name}" for name, part in parts.items() if part is None)
    outline, skull = longest
    result = Measurement("iugc2024", **parts, flags=tuple(flags), reasons=reasons)
    if outline is None:
        return result
    ends = _ends(outline)
    if ends is None:
        return replace(result, reasons=(*reasons, "symphysis_too_small"))
    superior, inferior = ends
    result = replace(result, superior=point(superior), inferior=point(inferior))
    if skull is None:
        return result
    squares = ((skull - inferior) ** 2).sum(axis=1)
    nearest = int(np.argmin(squares))
    result = replace(result, hsd_nearest_px=float(np.sqrt(squares[nearest])), nearest=point(skull[nearest]))
    tangent = _tangent(skull, inferior)
    if tangent is None:
        return replace(result, reasons=("no_tangent",))
    if angle_at(inferior, superior, tangent) > 180:
        flags.append("aop_folded")
    aop = folded_angle(inferior, superior, tangent)
    return replace(result, aop=aop, tangent=point(tangent), flags=tuple(flags))


def _structure(region: NDArray[np.bool_], border: Border, components: int) -> Structure:
    truncated = touches_edge(border, region.shape)
    return Structure(int(np.count_nonzero(region)), components=components, truncated=truncated)


def _ends(outline: Border) -> tuple[Border, Border] | None:
    """Superior and inferior end: the first pair in contour order with the largest distance; larger x is inferior."""
    corners = convex_hull(outline)
    if len(corners) < 2:
        return None
    first_at = [int(np.flatnonzero((outline == corner).all(axis=1))[0]) for corner in corners]
    points = outline[np.sort(first_at)]
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(np.argmax(np.triu(squares))), squares.shape)
    one, other = points[i], points[j]
    return (other, one) if one[0] > other[0] else (one, other)


def _tangent(skull: Border, inferior: Border) -> Border | None:
    """The point whose line from the inferior end has the whole contour on its small-x side.

    Of several the one with the largest x (the first in contour order), and of those in line with it the nearest.
    """
    lines, corners = skull - inferior, convex_hull(skull) - inferior
    crosses = lines[:, :1] * corners[:, 1] - lines[:, 1:] * corners[:, 0]
    falls = np.where(lines[:, 1] == 0, np.sign(lines[:, 0]), np.sign(lines[:, 1]))
    accepted = (falls[:, None] * crosses >= 0).all(axis=1) & (falls != 0)
    if not accepted.any():
        return None
    chosen = int(np.argmax(np.where(accepted, skull[:, 0], -1)))
    in_line = lines[chosen, 0] * lines[:, 1] == lines[chosen, 1] * lines[:, 0]
    squares = np.where(in_line, (lines**2).sum(axis=1), np.iinfo(np.int64).max)
    found: Border = skull[int(np.argmin(squares))]
    return found
