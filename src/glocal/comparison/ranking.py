"""Several models on the same cases: Friedman's test, critical differences of average ranks, stability of a ranking.

Legend: n units (cases, or means of groups), M models, R resamples.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from glocal.evaluation.surface import FloatArray

__all__ = ["Ranks", "cliques", "critical_difference", "rank_models", "stability"]


@dataclass(frozen=True)
class Ranks:
    """Average ranks and what may be said of them (Demšar, 2006).

    Attributes:
        units: On which all models have a value.
        average: Mean rank of each model, 1 is best; ties share the mean of their ranks.
        statistic: Friedman's χ², corrected for ties.
        p: Of it; 1 where all models are equal on every unit.
        critical: Least difference of average ranks that Nemenyi's test calls significant.
        cliques: Sets of models between which it finds no difference, best first; indices.
        alpha: Level of the test.
    """

    units: int
    average: tuple[float, ...]
    statistic: float
    p: float
    critical: float
    cliques: tuple[tuple[int, ...], ...]
    alpha: float


def rank_models(values: FloatArray, alpha: float = 0.05) -> Ranks | None:
    """Rank the models on every unit.

    Args:
        values: ``(n, M)``, higher is better; units on which a model has none (NaN) are left out.
        alpha: Level of the tests.

    Returns:
        ``None`` for fewer than three models or two units.
    """
    known = values[~np.isnan(values).any(axis=1)]
    n, models = known.shape
    if models < 3 or n < 2:
        return None
    average = stats.rankdata(-known, axis=1).mean(axis=0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # equal everywhere
        found = stats.friedmanchisquare(*known.T)
    statistic, p = (float(found.statistic), float(found.pvalue))
    if math.isnan(p):
        statistic, p = 0.0, 1.0
    critical = critical_difference(models, n, alpha)
    groups = cliques(average, critical) if p < alpha else (tuple(int(i) for i in np.argsort(average, kind="stable")),)
    return Ranks(n, tuple(float(rank) for rank in average), statistic, p, critical, groups, alpha)


def critical_difference(models: int, units: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of average ranks: q_α / √2 · √(M (M + 1) / 6n), q of the studentised range."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, models, math.inf))
    return quantile / math.sqrt(2) * math.sqrt(models * (models + 1) / (6 * units))


def cliques(average: FloatArray, critical: float) -> tuple[tuple[int, ...], ...]:
    """The largest sets of two or more models whose ranks lie within ``critical``, best first.

    Args:
        average: Mean ranks, ``(M,)``.
        critical: Differences up to it are not significant.
    """
    order = np.argsort(average, kind="stable")
    found: list[tuple[int, ...]] = []
    last = -1
    for start in range(len(order)):
        end = max(i for i in range(start, len(order)) if average[order[i]] - average[order[start]] <= critical)
        if end > start and end > last:
            found.append(tuple(int(i) for i in order[start : end + 1]))
        last = max(last, end)
    return tuple(found)


def stability(draws: FloatArray) -> FloatArray:
    """How often each model has each rank.

    Args:
        draws: What each model reached in each resample, ``(R, M)``, higher is better; resamples in which a model has
            none (NaN) are left out.

    Returns:
        ``(M, M)``, model by rank (best first): shares of the resamples, rows and columns add up to 1; models that are
        equal share their ranks. NaN without a resample.
    """
    known = draws[~np.isnan(draws).any(axis=1)]
    models = draws.shape[1]
    if not len(known):
        return np.full((models, models), np.nan)
    best = stats.rankdata(-known, method="min", axis=1)
    worst = stats.rankdata(-known, method="max", axis=1)
    ranks = np.arange(1, models + 1)
    within = (best[..., None] <= ranks) & (ranks <= worst[..., None])
    return np.asarray((within / (worst - best + 1)[..., None]).mean(axis=0), np.float64)
