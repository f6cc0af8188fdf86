"""Plots for the report: SVG that takes the colour of the page's text, so that it is readable in light and dark."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import optional_import
from glocal.evaluation.metrics import Metric
from glocal.evaluation.page import Markup
from glocal.evaluation.surface import FloatArray

__all__ = ["PALETTE", "curves", "distribution"]

PALETTE = ("#2f81f7", "#f97316", "#10a37f", "#a855f7", "#e0427f", "#b58900", "#14a3b8", "#7c8796")
_INK = "#010203"
"""Stands for the text colour of the page until the SVG is written."""

_MOST_VECTORS = 400


def _figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    figure = optional_import("matplotlib.figure", "train").Figure(figsize=(width, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=_INK, labelsize=9)
        axis.grid(True, color=_INK, alpha=0.12, linewidth=0.8)
        axis.set_axisbelow(True)
        for name, spine in axis.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(_INK)
    return figure, axes


def _svg(figure: Any, salt: str, label: str) -> Markup:
    """Write ``figure`` as an ``<svg>`` without fixed size, fonts, text colour, or names that clash on one page."""
    matplotlib = optional_import("matplotlib", "train")
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the glyph
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", text)
    text = re.sub(r"font-family:[^;\"]*|font: ([\d.]+px) [^;\"]*", lambda m: f"font-size: {m[1]}" if m[1] else "", text)
    head, _, rest = text.partition(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    width = round(100 * figure.get_figwidth())
    head += f' style="width:100%;max-width:{width}px;height:auto" role="img" aria-label="{html.escape(label)}"'
    return Markup(f"{head}>{rest}".replace(_INK, "currentColor").strip())


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
    figure, (axis,) = _figure(5.4, 1.0 + 0.62 * len(names))
    jitter = np.random.default_rng(0)
    found = values[~filled & ~np.isnan(values)]
    edge = float(found.max()) * 1.06 if metric.kind == "distance" and found.size and found.max() > 0 else np.inf
    for row in range(len(names)):
        known = ~np.isnan(values[row])
        if not known.any():
            continue
        ink = {"color": _INK, "linewidth": 0.9}
        axis.boxplot(
            values[row][known],
            positions=[row],
            orientation="horizontal",
            widths=0.5,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": _INK, "linewidth": 1.8},
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
    axis.set_yticks(range(len(names)), [_plain(name, 24) for name in names], color=_INK)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(label, color=_INK, fontsize=10)
    if metric.direction == 0:
        axis.axvline(0, color=_INK, linewidth=1, linestyle=":")
    elif metric.kind == "distance":
        axis.set_xlim(0, edge * 1.03 if math.isfinite(edge) else None)
    else:
        axis.set_xlim(-0.02, 1.02)
    return _svg(figure, metric.name, f"Distribution of {label} over the cases, one row a class")


def curves(history: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Plot the columns of ``history`` over its column ``epoch``: losses on the left, Dice, IoU, accuracy on the right.

    Args:
        history: One row an epoch; numbers may be text; missing values leave a gap. Other columns are not shown.

    Returns:
        ``None`` where there is nothing to plot.
    """
    columns = list(dict.fromkeys(key for row in history for key in row))
    epochs = [_number(row.get("epoch", index)) for index, row in enumerate(history)]
    chosen = [
        [name for name in columns if re.search(words, name, re.IGNORECASE)]
        for words in ("loss", "dice|iou|jaccard|accuracy|f1")
    ]
    chosen = [[name for name in names if _any(history, name)] for names in chosen]
    panels = [(title, names) for title, names in zip(("loss", "score"), chosen, strict=True) if names]
    if not panels:
        return None
    figure, axes = _figure(5.4 * len(panels), 3.2, len(panels))
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
                label=_plain(name, 32),
            )
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("epoch", color=_INK, fontsize=10)
        axis.set_ylabel(title, color=_INK, fontsize=10)
        axis.legend(frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(figure, "curves", "Training curves over the epochs")


def _any(history: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(not math.isnan(_number(row.get(name))) for row in history)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _plain(text: str, longest: int) -> str:
    """Shorten ``text`` and keep matplotlib from reading ``$`` as mathematics and a leading ``_`` as "no legend"."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return ("\u200b" + text if text.startswith("_") else text).replace("$", r"\$")
