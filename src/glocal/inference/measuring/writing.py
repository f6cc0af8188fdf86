"""Measurements as a table, as JSON, and as a curve over the frames of a sequence."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.biometry import CineMeasurement
from glocal.errors import optional_import
from glocal.evaluation.table import guard
from glocal.files import atomic
from glocal.inference.measuring.measuring import MeasuredFrame

__all__ = ["COLUMNS", "cine_facts", "facts_of", "write_curve", "write_table"]

_NUMBERS = (
    *("aop", "aop_low", "aop_high"),
    *("hsd_nearest_px", "hsd_nearest_mm", "hsd_perpendicular_px", "hsd_perpendicular_mm"),
)
_POINTS = ("superior", "inferior", "tangent", "nearest", "perpendicular")
_STRUCTURES = ("symphysis", "head")
_OF_STRUCTURES = ("pixels", "dropped", "residual")
COLUMNS = (
    *("frame", "method", *_NUMBERS, "aop_smoothed"),
    *(f"{name}_{axis}" for name in _POINTS for axis in "xy"),
    *(f"{name}_{fact}" for name in _STRUCTURES for fact in _OF_STRUCTURES),
    *("spacing_y", "spacing_x", "reasons", "flags", "error", "file", "page"),
)
"""Of the table; later versions add columns at the end only."""


def facts_of(result: MeasuredFrame) -> dict[str, Any]:
    """One frame as plain nested values, as in the JSON file."""
    frame, found, interval = result.frame, result.measurement, result.interval
    facts: dict[str, Any] = {"frame": frame.id, "file": str(frame.path), "page": frame.page}
    if found is None:
        return {**facts, "error": result.error}
    facts["method"] = found.method
    for name in _NUMBERS:
        facts[name] = getattr(found, name, None)
    if interval is not None:
        facts |= {"aop_low": interval.low, "aop_high": interval.high}
        facts |= {"variants": interval.variants, "variants_measured": interval.measured}
    for name in _POINTS:
        point = getattr(found, name)
        facts[name] = None if point is None else list(point)
    for name in _STRUCTURES:
        part = getattr(found, name)
        facts[name] = None
        if part is not None:
            ellipse = part.ellipse
            facts[name] = {fact: getattr(part, fact) for fact in (*_OF_STRUCTURES, "filled", "components", "truncated")}
            axes = ("x", "y", "a", "b", "angle")
            facts[name]["ellipse"] = None if ellipse is None else {axis: getattr(ellipse, axis) for axis in axes}
    spacing = None if found.spacing is None else list(found.spacing)
    return {**facts, "spacing": spacing, "reasons": list(found.reasons), "flags": list(found.flags), "error": None}


def _row(facts: Mapping[str, Any], smoothed: float) -> dict[str, Any]:
    row = {name: facts.get(name) for name in ("frame", "method", *_NUMBERS, "error", "file", "page")}
    row["aop_smoothed"] = None if math.isnan(smoothed) else smoothed
    for name in _POINTS:
        row[f"{name}_x"], row[f"{name}_y"] = facts.get(name) or (None, None)
    for name in _STRUCTURES:
        for fact in _OF_STRUCTURES:
            row[f"{name}_{fact}"] = (facts.get(name) or {}).get(fact)
    row["spacing_y"], row["spacing_x"] = facts.get("spacing") or (None, None)
    for name in ("reasons", "flags"):
        row[name] = " ".join(facts.get(name) or ())
    return {name: guard(value) if isinstance(value, str) else value for name, value in row.items()}


def write_table(path: Path, frames: Sequence[Mapping[str, Any]], cine: CineMeasurement | None = None) -> None:
    """Write the table, UTF-8 with a comma; angles in degrees, points in pixels, an empty field for what is missing.

    Args:
        path: Of the file, which appears whole or not at all.
        frames: Of :func:`facts_of`.
        cine: The sequence of those frames that could be read, whose smoothed curve is a column.

    Raises:
        UserError: It cannot be written.
    """
    smoothed = iter([] if cine is None else cine.smoothed.tolist())
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for facts in frames:
            writer.writerow(_row(facts, math.nan if facts["error"] is not None else next(smoothed, math.nan)))


def cine_facts(cine: CineMeasurement, names: Sequence[str]) -> dict[str, Any]:
    """A sequence in plain values; ``names`` are those of its frames."""
    largest, top = cine.largest, cine.largest_smoothed
    return {
        "frames": len(cine.frames),
        "measured": int(np.isfinite(cine.aop).sum()),
        "largest": None if largest is None else {"frame": names[largest], "aop": float(cine.aop[largest])},
        "largest_smoothed": None if top is None else {"frame": names[top], "aop": float(cine.smoothed[top])},
        "smoothing": f"robust local lines (LOWESS) over {cine.window} frames",
    }


def write_curve(path: Path, cine: CineMeasurement, results: Sequence[MeasuredFrame]) -> None:
    """Draw AoP over the frames: dots, their intervals, the smoothed curve with its gaps, the frame of the largest AoP.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    figure = optional_import("matplotlib.figure", "train").Figure(figsize=(8, 3.6), layout="constrained")
    axis = figure.subplots()
    frames = np.arange(len(cine.frames))
    ends = np.array([_ends(result) for result in results if result.measurement is not None], np.float64)
    if np.isfinite(ends).any():
        axis.vlines(frames, ends[:, 0], ends[:, 1], color="#9ec5f7", linewidth=2, label="interval")
    axis.plot(frames, cine.aop, ".", color="#5a6673", markersize=5, label="each frame")
    axis.plot(frames, cine.smoothed, color="#d9480f", linewidth=1.8, label=f"smoothed over {cine.window} frames")
    if cine.largest is not None:
        at = cine.largest
        axis.plot(at, cine.aop[at], "o", markersize=9, markerfacecolor="none", markeredgecolor="#1864ab")
        side = "left" if 2 * at < len(frames) else "right"
        text = f"largest: frame {at}, {cine.aop[at]:.1f}°"
        axis.annotate(text, (at, cine.aop[at]), (0, 10), textcoords="offset points", ha=side, color="#1864ab")
    axis.axhline(120, color="#7c8796", linewidth=0.8, linestyle="--")
    axis.margins(y=0.15)
    axis.set(xlabel="frame, from 0", ylabel="AoP (°)")
    axis.legend(frameon=False, fontsize=9, loc="best")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    with atomic(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _ends(result: MeasuredFrame) -> tuple[float, float]:
    interval = result.interval
    if interval is None or interval.low is None or interval.high is None:
        return math.nan, math.nan
    return interval.low, interval.high
