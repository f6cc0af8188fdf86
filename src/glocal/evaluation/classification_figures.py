"""Plots of a classifier for the report: ROC, precision-recall, reliability, confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.page import Markup
from glocal.evaluation.plots import INK, PALETTE, axes_of, plain, to_svg
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.surface import FloatArray

__all__ = ["confidences", "curves_of", "reliability_diagram"]

_MOST_POINTS = 400
_SIZE = (5.4, 4.4)


def curves_of(rankings: Sequence[Ranking], names: Sequence[str], areas: Mapping[str, Sequence[str]]) -> list[Markup]:
    """Plot the ROC and the precision-recall curve of each class for which they are defined.

    Args:
        rankings: One a class; at most as many as the palette has colours.
        names: Of the classes.
        areas: ``"auroc"`` and ``"auprc"`` of each class, as printed.

    Returns:
        The two plots.
    """
    pairs = [ranking.curves() for ranking in rankings]
    specs = (
        ("auroc", "false-positive rate (1 − specificity)", "true-positive rate (recall)", "ROC curves"),
        ("auprc", "recall", "precision", "Precision-recall curves"),
    )
    plots = []
    for which, (key, x_label, y_label, what) in enumerate(specs):
        figure, (axis,) = axes_of(_SIZE[0], _SIZE[1] + 0.2 * ((len(names) + 1) // 2))
        if key == "auroc":
            axis.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
        for index, (name, pair) in enumerate(zip(names, pairs, strict=True)):
            points = _thinned(pair[which])
            if np.isnan(points).any():
                continue
            colour = PALETTE[index % len(PALETTE)]
            if key == "auprc":
                axis.axhline(pair[1][-1, 1], color=colour, linewidth=1, linestyle=":", alpha=0.8)
                points = np.concatenate([[[0.0, points[0, 1]]], points])
            axis.plot(
                *points.T,
                color=colour,
                linewidth=1.8,
                drawstyle="default" if key == "auroc" else "steps-pre",
                label=f"{plain(name, 28)}  {areas[key][index]}",
            )
        _unit_square(axis, x_label, y_label)
        figure.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower center", ncols=2)
        listed = "; ".join(f"{name} {area}" for name, area in zip(names, areas[key], strict=True))
        plots.append(to_svg(figure, key, f"{what}, with the area under the curve of each class: {listed}"))
    return plots


def reliability_diagram(states: Sequence[tuple[str, Mapping[str, Any]]], what: str) -> Markup:
    """Plot how often it was so over how sure the network was, bin by bin; larger points hold more.

    Args:
        states: Name and ``reliability`` of the summary, such as before and after the temperature.
        what: Label of the axis of what came true.
    """
    figure, (axis,) = axes_of(*_SIZE)
    axis.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
    said = []
    for index, (name, curve) in enumerate(states):
        known = [k for k, count in enumerate(curve["count"]) if count]
        x, y, count = (
            np.array([curve[key][k] for k in known], np.float64) for key in ("confidence", "frequency", "count")
        )
        style = "--" if index == 0 and len(states) > 1 else "-"
        colour = PALETTE[1 - index] if len(states) > 1 else PALETTE[0]
        axis.plot(x, y, style, color=colour, linewidth=1.6, label=plain(name, 40))
        axis.scatter(x, y, s=12 + 150 * count / count.sum(), color=colour, alpha=0.8, linewidths=0, zorder=3)
        said.append(f"{name}: " + ", ".join(f"{a:.2f} → {b:.2f}" for a, b in zip(x, y, strict=True)))
    _unit_square(axis, "probability given", what)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")
    return to_svg(figure, "reliability", f"Reliability diagram, probability given → {what}. " + "; ".join(said))


def confidences(confidence: FloatArray, confirmed: NDArray[np.bool_], names: tuple[str, str], label: str) -> Markup:
    """Plot how often each probability was given, where it was so and where not, stacked.

    Args:
        confidence: Any shape.
        confirmed: Same shape.
        names: Of what is confirmed, and of what is not.
        label: Of the axis.
    """
    figure, (axis,) = axes_of(*_SIZE)
    parts = [confidence[confirmed], confidence[~confirmed]]
    labels = [f"{name} ({part.size:,})" for name, part in zip(names, parts, strict=True)]
    axis.hist(parts, bins=np.linspace(0, 1, 21), stacked=True, color=[PALETTE[0], PALETTE[1]], label=labels)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.18 * axis.get_ylim()[1])  # room for the legend
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(label, color=INK, fontsize=10)
    axis.set_ylabel("number", color=INK, fontsize=10)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")
    return to_svg(figure, "confidence", f"Histogram of the {label}: {' and '.join(labels)}")


def _unit_square(axis: Any, x_label: str, y_label: str) -> None:
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.02)
    axis.set_xlabel(x_label, color=INK, fontsize=10)
    axis.set_ylabel(y_label, color=INK, fontsize=10)


def _thinned(points: FloatArray) -> FloatArray:
    """Drop points within straight lines along an axis, then, of very many, all but evenly spread ones."""
    still = np.diff(points, axis=0) == 0
    within = (still[1:] & still[:-1]).any(axis=1)
    kept = points[np.concatenate([[True], ~within, [True]])] if len(points) > 2 else points
    if len(kept) > _MOST_POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, _MOST_POINTS).round().astype(int))]
    return np.asarray(kept, np.float64)
