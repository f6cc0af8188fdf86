"""The recommended measurement: ellipses of both structures, and the tangent in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.components import Component, largest_component
from glocal.biometry.ellipse import Ellipse, Floats
from glocal.biometry.fits import fit_by_moments, fit_direct
from glocal.biometry.measurement import Measurement, Structure, angle_at, point

__all__ = ["between_ellipses", "measure"]

FEWEST_PIXELS = 20
"""Of a structure that is measured."""
ROUND = 0.8
"""Minor by major axis, from which the direction of the symphysis is unreliable."""


def measure(symphysis: NDArray[np.bool_], head: NDArray[np.bool_], step: tuple[float, float]) -> Measurement:
    """Measure regions ``(H, W)`` in the standard orientation, the symphysis upper left.

    Args:
        symphysis: Its pixels.
        head: Its pixels.
        step: Length of a pixel along x and along y; distances and angles are those of the stretched plane.

    Returns:
        The measurement; its distances (``hsd_…_px``) are in units of ``step``, its points in pixels.
    """
    flags: list[str] = []
    parts = [_structure(region, step, name, flags) for region, name in ((symphysis, "symphysis"), (head, "head"))]
    reasons = [f"no_{name}" for part, name in zip(parts, ("symphysis", "head"), strict=True) if part is None]
    reasons += [
        f"{name}_too_small"
        for part, name in zip(parts, ("symphysis", "head"), strict=True)
        if part is not None and part.ellipse is None
    ]
    if any(part is not None and part.components > 1 for part in parts):
        flags.append("several_components")
    known: dict[str, Any] = {"symphysis": parts[0], "head": parts[1]}
    ellipses = [part.ellipse.scaled(*step) if part is not None and part.ellipse is not None else None for part in parts]
    if ellipses[0] is not None and ellipses[0].b > ROUND * ellipses[0].a:
        flags.append("symphysis_round")
    if ellipses[0] is None or ellipses[1] is None:
        return Measurement("ellipse", **known, flags=tuple(flags), reasons=tuple(reasons))
    found = between_ellipses(ellipses[0], ellipses[1])
    for name in ("superior", "inferior", "tangent", "nearest", "perpendicular"):
        at = getattr(found, name)
        known[name] = None if at is None else (at[0] / step[0], at[1] / step[1])
    return replace(found, **known, flags=(*flags, *found.flags))


def between_ellipses(symphysis: Ellipse, head: Ellipse) -> Measurement:
    """Measure two ellipses in the standard orientation, in closed form; see ``docs/guides/biometry.md``."""
    along = symphysis.axes[:, 0]
    if along[0] < 0 or (along[0] == 0 and along[1] < 0):
        along = -along
    superior, inferior = symphysis.centre - symphysis.a * along, symphysis.centre + symphysis.a * along
    ends: dict[str, Any] = {"superior": point(superior), "inferior": point(inferior)}
    touching = head.tangent_points(inferior)
    if touching is None:
        return Measurement("ellipse", **ends, reasons=("inferior_end_in_head",))
    to_head = head.centre - inferior
    tangent = max(touching, key=lambda t: (t - inferior)[0] * to_head[1] - (t - inferior)[1] * to_head[0])
    aop = angle_at(inferior, superior, tangent)
    nearest = head.nearest(inferior)
    across = np.array([-along[1], along[0]])
    met = head.first_on_ray(inferior, across if across @ to_head >= 0 else -across)
    return Measurement(
        "ellipse",
        aop,
        hsd_nearest_px=_distance(inferior, nearest),
        hsd_perpendicular_px=None if met is None else _distance(inferior, met),
        **ends,
        tangent=point(tangent),
        nearest=point(nearest),
        perpendicular=None if met is None else point(met),
        flags=("aop_above_180",) if aop > 180 else (),
        reasons=("no_perpendicular",) if met is None else (),
    )


def _structure(region: NDArray[np.bool_], step: tuple[float, float], name: str, flags: list[str]) -> Structure | None:
    component = largest_component(region)
    if component is None:
        return None
    pixels = component.pixels()
    ellipse = None
    if len(pixels) >= FEWEST_PIXELS:
        ellipse = fit_by_moments(pixels)
        if component.truncated:
            flags.append(f"{name}_truncated")
            fitted = fit_direct(component.outline() * step)
            if fitted is None:
                flags.append("truncated_fit_failed")
            else:
                ellipse = fitted.scaled(1 / step[0], 1 / step[1])
    return Structure(
        len(pixels),
        component.dropped,
        component.filled,
        component.components,
        component.truncated,
        ellipse,
        None if ellipse is None else _residual(component, ellipse, region.shape),
    )


def _residual(component: Component, ellipse: Ellipse, shape: tuple[int, ...]) -> float:
    """1 − Dice between the component and the ellipse, as far as it lies in the image."""
    half = np.hypot(*(ellipse.axes * (ellipse.a, ellipse.b)).T)
    height, width = component.inside.shape
    left, right = _window(component.left, width, ellipse.x, half[0], shape[1])
    top, bottom = _window(component.top, height, ellipse.y, half[1], shape[0])
    drawn = ellipse.covers(np.arange(left, right, dtype=np.float64), np.arange(top, bottom, dtype=np.float64))
    rows, columns = component.top - top, component.left - left
    common = np.count_nonzero(drawn[rows : rows + height, columns : columns + width] & component.inside)
    return float(1 - 2 * common / (np.count_nonzero(drawn) + np.count_nonzero(component.inside)))


def _window(start: int, length: int, centre: float, half: float, size: int) -> tuple[int, int]:
    low, high = min(start, int(centre - half)), max(start + length, int(centre + half) + 2)
    return max(low, 0), min(high, size)


def _distance(one: Floats, other: Floats) -> float:
    return float(np.hypot(*(one - other)))
