"""Plots for the report: distributions of metrics, and training curves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.metrics import Metric
from glocal.evaluation.page import Markup
from glocal.evaluation.plots import INK, PALETTE, axes_of, plain, to_svg
from glocal.evaluation.surface import FloatArray

__all__ = ["curves", "distribution"]

_MOST_VECTORS = 400
_SCORES = "dice|iou|jaccard|accuracy|f1|auroc|auprc|kappa|mcc"


def distribution(
    metric: Metric, values: FloatArray, filled: NDArray[np.bool_], names: Sequence[str], label: str
) -> Markup:
    """Plot a box (quartiles, whiskers to 1.5 IQR) and every case, one row a class.

    Args:
        metric: What the values are.
        values: ``(classes, cases)``, NaN left out.
        filled: Same shape; values that a policy gave are crosses, at the edge where they lie beyond all others.
        names: Of the classes.
        label: Of the axis.
    """
    figure, (axis,) = axes_of(5.4, 1.0 + 0.62 * len(names))
    jitter = np.random.default_rng(0)
    found = values[~filled & ~np.isnan(values)]
    edge = float(found.max()) * 1.06 if metric.kind == "distance" and found.size and found.max() > 0 else np.inf
    for row in range(len(names)):
        known = ~np.isnan(values[row])
        if not known.any():
            continue
        ink = {"color": INK, "linewidth": 0.9}
        axis.boxplot(
            values[row][known],
            positions=[row],
            orientation="horizontal",
            widths=0.5,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": INK, "linewidth": 1.8},
            boxprops=ink,
            whiskerprops=ink,
            capprops=ink,
        )
        for chosen, mark, width in ((known & ~filled[row], "o", 0.0), (known & filled[row], "x", 1.4)):
            points = np.minimum(values[row][chosen], edge)
            axis.plot(
                points,
                row + jitter.uniform(-0.2, 0.2, points.size),
                mark,
                markersize=4 if mark == "o" else 6,
                markeredgewidth=width,
                color=PALETTE[row % len(PALETTE)],
                alpha=0.7 if points.size < 100 else 0.3,
                rasterized=points.size > _MOST_VECTORS,
            )
    axis.set_yticks(range(len(names)), [plain(name, 24) for name in names], color=INK)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(label, color=INK, fontsize=10)
    if metric.direction == 0:
        axis.axvline(0, color=INK, linewidth=1, linestyle=":")
    elif metric.kind == "distance":
        axis.set_xlim(0, edge * 1.03 if math.isfinite(edge) else None)
    else:
        axis.set_xlim(-0.02, 1.02)
    return to_svg(figure, metric.name, f"Distribution of {label} over the cases, one row a class")


def curves(history: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Plot the columns of ``history`` over its column ``epoch``: losses left; Dice, accuracy and such right.

    Args:
        history: One row an epoch; numbers may be text; missing values leave a gap. Other columns are not shown.

    Returns:
        ``None`` where there is nothing to plot.
    """
    columns = list(dict.fromkeys(key for row in history for key in row))
    epochs = [_number(row.get("epoch", index)) for index, row in enumerate(history)]
    chosen = [[name for name in columns if re.search(words, name, re.IGNORECASE)] for words in ("loss", _SCORES)]
    chosen = [[name for name in names if _any(history, name)] for names in chosen]
    panels = [(title, names) for title, names in zip(("loss", "score"), chosen, strict=True) if names]
    if not panels:
        return None
    figure, axes = axes_of(5.4 * len(panels), 3.2, len(panels))
    for axis, (title, names) in zip(axes, panels, strict=True):
        for index, name in enumerate(names):
            scores = [_number(row.get(name)) for row in history]
            known = [(x, y) for x, y in zip(epochs, scores, strict=True) if not math.isnan(y)]
            style = ("-", "--", ":", "-.")[index // len(PALETTE) % 4]
            axis.plot(
                *zip(*known, strict=True),
                style,
                color=PALETTE[index % len(PALETTE)],
                linewidth=1.8,
                marker="o" if len(known) < 25 else None,
                markersize=3.5,
                label=plain(name, 32),
            )
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("epoch", color=INK, fontsize=10)
        axis.set_ylabel(title, color=INK, fontsize=10)
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return to_svg(figure, "curves", "Training curves over the epochs")


def _any(history: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(not math.isnan(_number(row.get(name))) for row in history)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan
