"""What a comparison shows, said in sentences that claim no more than the tests do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glocal.comparison.analysis import ALPHA, Row
from glocal.comparison.tables import mean_sd, probability
from glocal.evaluation.report_parts import number, number_range

if TYPE_CHECKING:
    from glocal.comparison.comparison import Comparison

__all__ = ["headline", "ranks_sentence"]


def headline(comparison: Comparison) -> list[str]:
    """The answer to "which is best, and am I sure?"."""
    result = comparison.results[0]
    facts = result.facts
    known = [row for row in result.rows if not np.isnan(row.mean)]
    if not known:
        return [f"No model has a defined {facts.label}."]
    highest = max(row.mean * facts.direction for row in known)
    best = [row for row in known if row.mean * facts.direction == highest]
    numbers = f"{mean_sd(best[0], facts.digits)}{_interval(best[0], facts.digits)}"
    if len(comparison.labels) == 1:
        return [f"{best[0].label}: mean {facts.label} {numbers}."]
    what = "highest" if facts.direction > 0 else "lowest"
    if len(best) > 1:
        first = f"{', '.join(row.label for row in best)} share the {what} mean {facts.label}: {numbers}."
    else:
        first = f"{best[0].label} has the {what} mean {facts.label}: {numbers}."
        m = comparison.labels.index(best[0].label)
        if not np.isnan(comparison.stability).any():
            first += f" It comes first in {100 * comparison.stability[m, 0]:.0f} % of the resamples of cases."
    shares: dict[str, list[str]] = {}
    for pair in result.pairs:
        signed = number(pair.difference, facts.digits + 1, signed=True)
        shares.setdefault(pair.verdict, []).append(f"{pair.model} ({signed}, p {_equals(pair.p_holm)})")
    told = [
        f"{_verdict(verdict)} {comparison.reference}: {', '.join(shares[verdict])}."
        for verdict in ("better", "worse", "not shown to differ")
        if verdict in shares
    ]
    return [first, *told]


def _interval(row: Row, digits: int) -> str:
    return "" if np.isnan(row.low) else f", interval {number_range((row.low, row.high), digits)}"


def _verdict(verdict: str) -> str:
    return {"better": "Better than", "worse": "Worse than", "not shown to differ": "Not shown to differ from"}[verdict]


def _equals(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def ranks_sentence(comparison: Comparison) -> str:
    """What Friedman's test and the resamples say."""
    ranks, facts = comparison.ranks, comparison.results[0].facts
    if ranks is None:
        return f"Models are ranked by {facts.label}. Average ranks need three models and a mean over cases."
    models, units = len(comparison.labels), comparison.design["test"]["units"]
    names = "groups" if units == "group" else "cases"
    text = f"Friedman's test on {ranks.units} {names}: χ²({models - 1}) = {ranks.statistic:.1f}, p {_equals(ranks.p)}. "
    if ranks.p < ALPHA:
        return text + (
            f"Ranks less than {ranks.critical:.2f} apart are not told apart (Nemenyi, level {ranks.alpha:g}). "
            "They depend on which other models are in the comparison; the table of pairs does not."
        )
    return text + "It does not show that the models differ: no pair is told apart by their ranks."
