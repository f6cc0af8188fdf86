"""Pictures of a comparison: critical differences, stability of ranks, differences, accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.comparison.costs import COSTS, Cost, pareto
from glocal.evaluation.plots import INK, PALETTE, axes_of, plain

if TYPE_CHECKING:
    from glocal.comparison.comparison import Comparison

__all__ = ["FIGURES", "figures_of"]

_LABEL = 28
_COSTS: tuple[tuple[str, str, float], ...] = (
    ("multiply_adds", "multiply-adds (G)", 1e9),
    ("parameters", "parameters (M)", 1e6),
    ("latency", "latency (ms)", 1e-3),
    ("memory", "memory (MB)", 1e6),
)


def figures_of(comparison: Comparison) -> dict[str, Any]:
    """Draw all that there is something to draw for: matplotlib figures by name of :data:`FIGURES`."""
    drawn = {name: draw(comparison) for name, (_, draw) in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _intervals(comparison: Comparison) -> Any:
    """Mean and interval of each model on the first metric, the means of its cells behind."""
    result = comparison.results[0]
    figure, (axis,) = axes_of(6.4, 1.1 + 0.42 * len(result.rows))
    for m, row in enumerate(result.rows):
        colour = _colour(m)
        cells = comparison.primary.cells[m]
        if len(cells) > 1:
            axis.plot(
                cells, np.full(len(cells), m + 0.25), "o", color=colour, alpha=0.6, markersize=4, markeredgewidth=0
            )
        axis.plot([row.low, row.high], [m, m], color=colour, linewidth=2.4, solid_capstyle="butt")
        axis.plot(row.estimate, m, "D", color=colour, markersize=7, markeredgecolor="white", markeredgewidth=0.8)
    _models_on_y(axis, comparison)
    axis.set_xlabel(result.facts.label, color=INK, fontsize=10)
    return figure


def _differences(comparison: Comparison) -> Any:
    """Differences to the reference, case by case, with the mean and its interval."""
    values, result = comparison.primary.values, comparison.results[0]
    if values is None or not result.pairs:
        return None
    base = comparison.labels.index(comparison.reference)
    figure, (axis,) = axes_of(6.4, 1.1 + 0.5 * len(result.pairs))
    jitter = np.random.default_rng(0)
    for row, pair in enumerate(result.pairs):
        m = comparison.labels.index(pair.model)
        d = values[:, m] - values[:, base]
        d = d[~np.isnan(d)]
        axis.plot(
            d,
            row + jitter.uniform(-0.26, 0.26, d.size),
            "o",
            color=_colour(m),
            alpha=0.5 if d.size < 150 else 0.22,
            markersize=4,
            markeredgewidth=0,
            rasterized=d.size > 400,
        )
        axis.plot([pair.low, pair.high], [row, row], color=INK, linewidth=2.2, solid_capstyle="butt")
        axis.plot(pair.difference, row, "D", color=INK, markersize=5.5)
    axis.axvline(0, color=INK, linewidth=1, linestyle=":")
    axis.set_yticks(range(len(result.pairs)), [plain(pair.model, _LABEL) for pair in result.pairs], color=INK)
    axis.set_ylim(len(result.pairs) - 0.5, -0.5)
    towards = "right" if result.facts.direction > 0 else "left"
    text = f"{result.facts.label}: model − {plain(comparison.reference, _LABEL)} ({towards} of 0: the model is better)"
    axis.set_xlabel(text, color=INK, fontsize=9.5)
    return figure


def _critical(comparison: Comparison) -> Any:
    """Average ranks on a line, best left; bars join models that Nemenyi's test does not tell apart (Demšar, 2006)."""
    ranks = comparison.ranks
    if ranks is None:
        return None
    models = len(comparison.labels)
    order = np.argsort(ranks.average, kind="stable")
    left, right = order[: (models + 1) // 2], order[(models + 1) // 2 :][::-1]
    bars = 0.28 * len(ranks.cliques)
    depth = bars + 0.45 * len(left) + 0.3
    figure, (axis,) = axes_of(7.2, 1.0 + 0.62 * depth)
    axis.axis("off")
    axis.plot([1, models], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, models + 1):
        axis.plot([rank, rank], [0, 0.12], color=INK, linewidth=1.2)
        axis.text(rank, 0.2, str(rank), ha="center", va="bottom", color=INK, fontsize=10)
    span = max(models - 1, 1)
    for side, chosen, edge, align in (
        ("left", left, 1 - 0.06 * span, "right"),
        ("right", right, models + 0.06 * span, "left"),
    ):
        for step, index in enumerate(chosen):
            x, y = ranks.average[index], -(bars + 0.35 + 0.45 * step)
            axis.plot([x, x, edge], [0, y, y], color=_colour(int(index)), linewidth=1.3)
            text = plain(comparison.labels[index], _LABEL)
            text = f"{text}  {x:.2f}" if side == "left" else f"{x:.2f}  {text}"
            axis.text(edge, y, f" {text} ", ha=align, va="center", color=INK, fontsize=10)
    for step, group in enumerate(ranks.cliques):
        ends = [min(ranks.average[i] for i in group) - 0.02 * span, max(ranks.average[i] for i in group) + 0.02 * span]
        y = -(0.16 + 0.28 * step)
        axis.plot(ends, [y, y], color=INK, linewidth=4, solid_capstyle="butt")
    top = 0.95
    axis.plot([1, 1 + ranks.critical], [top, top], color=INK, linewidth=2)
    for x in (1, 1 + ranks.critical):
        axis.plot([x, x], [top - 0.08, top + 0.08], color=INK, linewidth=2)
    text = f"critical difference {ranks.critical:.2f}"
    axis.text(1 + ranks.critical / 2, top + 0.12, text, ha="center", va="bottom", color=INK, fontsize=9)
    axis.set_xlim(1 - 0.75 * span, max(models, 1 + ranks.critical) + 0.75 * span)
    axis.set_ylim(-depth, 1.45)
    return figure


def _stability(comparison: Comparison) -> Any:
    """A square for every model and rank, darker the more resamples give it; per cent written in."""
    shares = comparison.stability
    models = len(comparison.labels)
    if models < 2 or np.isnan(shares).any():
        return None
    order = np.argsort((shares * np.arange(1, models + 1)).sum(axis=1), kind="stable")
    figure, (axis,) = axes_of(2.4 + 0.62 * models, 1.1 + 0.46 * models)
    axis.grid(False)
    for row, m in enumerate(order):
        for rank in range(models):
            share = float(shares[m, rank])
            axis.fill_between(
                [rank - 0.47, rank + 0.47], row - 0.46, row + 0.46, color=PALETTE[0], alpha=0.85 * share, linewidth=0
            )
            if share >= 0.005:
                text = f"{100 * share:.0f}"
                axis.text(rank, row, text, ha="center", va="center", color=INK, fontsize=9)
    axis.set_yticks(range(models), [plain(comparison.labels[m], _LABEL) for m in order], color=INK)
    axis.set_xticks(range(models), [str(rank) for rank in range(1, models + 1)], color=INK)
    axis.set_xlim(-0.5, models - 0.5)
    axis.set_ylim(models - 0.5, -0.5)
    axis.set_xlabel("rank (per cent of the resamples of cases)", color=INK, fontsize=10)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.tick_params(length=0)
    return figure


def _cost(comparison: Comparison, name: str, label: str, unit: float) -> Any:
    """The first metric over a cost, the Pareto front joined."""
    facts = comparison.results[0].facts
    scores = [row.estimate for row in comparison.results[0].rows]
    costs = [_scaled(cost, name, unit) for cost in comparison.costs]
    if sum(cost is not None and score == score for cost, score in zip(costs, scores, strict=True)) < 2:
        return None
    figure, (axis,) = axes_of(5.2, 3.7)
    _panel(axis, comparison, costs, scores, pareto(costs, [score * facts.direction for score in scores]))
    axis.set_xlabel(label, color=INK, fontsize=10)
    axis.set_ylabel(facts.label, color=INK, fontsize=10)
    if facts.direction < 0:
        axis.invert_yaxis()
    return figure


def _log_axis(axis: Any, lowest: float, highest: float) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 (over two decades at 1 alone)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_xscale("log")
    steps = (1.0, 2.0, 5.0) if highest < 100 * lowest else (1.0,)
    axis.xaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _panel(
    axis: Any, comparison: Comparison, costs: Sequence[float | None], scores: Sequence[float], front: Sequence[bool]
) -> None:
    known = [(cost, scores[m], m) for m, cost in enumerate(costs) if cost is not None and scores[m] == scores[m]]
    best = sorted((cost, score) for cost, score, m in known if front[m])
    axis.plot(*zip(*best, strict=True), color=INK, linewidth=1, linestyle="--", alpha=0.6)
    lowest, highest = min(cost for cost, _, _ in known), max(cost for cost, _, _ in known)
    if lowest > 0 and highest > 8 * lowest:
        _log_axis(axis, lowest, highest)
    for cost, score, m in known:
        row = comparison.results[0].rows[m]
        axis.plot([cost, cost], [row.low, row.high], color=_colour(m), linewidth=1.4, alpha=0.55)
        axis.plot(
            cost,
            score,
            "o" if front[m] else "s",
            color=_colour(m),
            markersize=8 if front[m] else 6,
            markeredgecolor=INK if front[m] else "none",
        )
        right = cost > (lowest * highest) ** 0.5 if axis.get_xscale() == "log" else cost > (lowest + highest) / 2
        axis.annotate(
            plain(comparison.labels[m], _LABEL),
            (cost, score),
            xytext=(-8 if right else 8, 5),
            textcoords="offset points",
            ha="right" if right else "left",
            color=INK,
            fontsize=8.5,
        )
    axis.margins(x=0.12, y=0.12)


def _models_on_y(axis: Any, comparison: Comparison) -> None:
    axis.set_yticks(range(len(comparison.labels)), [plain(label, _LABEL) for label in comparison.labels], color=INK)
    axis.set_ylim(len(comparison.labels) - 0.5, -0.5)


def _colour(m: int) -> str:
    return PALETTE[m % len(PALETTE)]


def _scaled(cost: Cost, name: str, unit: float) -> float | None:
    value = getattr(cost, name)
    return None if value is None else value / unit


FIGURES: dict[str, tuple[str, Callable[[Comparison], Any]]] = {
    "intervals": ("Means with their intervals over cases; the dots below are single trainings", _intervals),
    "differences": ("Differences to the reference, case by case; the bar is the interval of the mean", _differences),
    "critical-difference": ("Average ranks; a bar joins models that are not shown to differ", _critical),
    "rank-stability": ("How often each model has each rank when the cases are drawn again", _stability),
    **{
        f"cost-{name.replace('_', '-')}": (
            f"Accuracy against {COSTS[name]}; the dashed line is the Pareto front",
            partial(_cost, name=name, label=label, unit=unit),
        )
        for name, label, unit in _COSTS
    },
}
"""By name of the file: what it shows, and what draws it."""
