"""One way in to every method: :func:`measure_aop`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.biometry import ellipse_method, fh_ps_aop, iugc2024
from glocal.biometry.measurement import METHODS, Measurement, Method
from glocal.errors import UserError

__all__ = ["Spacing", "measure_aop"]

Spacing = float | Sequence[float] | None
"""Millimetres of a square pixel, or between rows and between columns ``(y, x)``; ``None`` where unknown."""


def measure_aop(
    mask: NDArray[Any],
    *,
    method: Method = "ellipse",
    spacing: Spacing = None,
    symphysis: int = 1,
    head: int = 2,
    symphysis_side: Literal["left", "right"] = "left",
) -> Measurement:
    """Measure the angle of progression and the head-symphysis distance of a mask.

    Anatomy that cannot be measured raises nothing: values are ``None`` and ``reasons`` says why.

    Args:
        mask: Label values, whole numbers or booleans ``(H, W)``, at the image's own pixel grid.
        method: ``"ellipse"``, recommended; or a published evaluator, exactly: ``"iugc2024"`` or ``"fh_ps_aop"``.
        spacing: See :data:`Spacing`. Without it distances are in pixels only, which are taken for square.
        symphysis: Label value of the pubic symphysis.
        head: Label value of the fetal head.
        symphysis_side: Where the symphysis is seen. ``"right"``: the frame is mirrored before it is measured, and the
            points back after. It cannot be told from the mask.

    Returns:
        The measurement, points in pixels of ``mask``.

    Raises:
        UserError: An argument is unusable: another shape or type, an unknown method, a spacing that is no length, or
            pixels that are not square with a published method.

    Example:
        >>> import numpy as np
        >>> y, x = np.mgrid[:400, :400]
        >>> mask = 1 * (((x - 100) / 50) ** 2 + ((y - 100) / 10) ** 2 <= 1)
        >>> mask[(x - 200) ** 2 + (y - 200) ** 2 <= 50**2] = 2
        >>> round(measure_aop(mask).aop)
        143
    """
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown; use one of {', '.join(METHODS)}")
    if symphysis_side not in ("left", "right"):
        raise UserError(f"symphysis side {symphysis_side!r} is unknown; use 'left' or 'right'")
    labels = np.asarray(mask)
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "bui":
        raise UserError(
            f"a mask is (H, W) whole numbers, this one is {labels.dtype} {labels.shape}; give one frame of class labels"
        )
    if symphysis == head:
        raise UserError(f"symphysis and head both have the label {head}; give two label values")
    steps = _steps(spacing)
    if symphysis_side == "right":
        labels = labels[:, ::-1]
    regions = labels == symphysis, labels == head
    square = steps is None or math.isclose(steps[0], steps[1], rel_tol=1e-6)
    if method == "ellipse":
        found = ellipse_method.measure(*regions, (1.0, 1.0) if square or steps is None else (steps[1], steps[0]))
    elif not square:
        raise UserError(
            f"method {method!r} is defined on square pixels, and these are {steps} mm; use method 'ellipse'"
        )
    else:
        found = (iugc2024 if method == "iugc2024" else fh_ps_aop).measure(*regions)
    if steps is not None:
        found = _in_millimetres(found, steps, square)
    return found if symphysis_side == "left" else found.mirrored(labels.shape[1])


def _steps(spacing: Spacing) -> tuple[float, float] | None:
    if spacing is None:
        return None
    steps = (spacing, spacing) if isinstance(spacing, int | float) else tuple(spacing)
    if len(steps) != 2 or not all(math.isfinite(step) and step > 0 for step in steps):
        raise UserError(f"spacing {spacing} is not one or two lengths in mm; give mm per pixel, or leave it out")
    return float(steps[0]), float(steps[1])


def _in_millimetres(found: Measurement, steps: tuple[float, float], square: bool) -> Measurement:
    changed: dict[str, Any] = {"spacing": steps}
    for name in ("nearest", "perpendicular"):
        distance: float | None = getattr(found, f"hsd_{name}_px")
        changed[f"hsd_{name}_mm"] = distance if distance is None or not square else distance * steps[0]
        changed[f"hsd_{name}_px"] = distance if square else None
    return replace(found, **changed)
