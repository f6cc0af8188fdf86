"""Tables of numbers from measured metrics: means with intervals, and every model against the reference.

Legend: N cases, M models, n units (cases, or means of groups).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glocal.comparison.measures import Facts, Measured
from glocal.comparison.paired import hodges_lehmann, holm, rank_biserial, sign_flip, signed_rank, standardised
from glocal.evaluation.statistics import Bootstrap
from glocal.evaluation.surface import FloatArray

__all__ = ["ALPHA", "Pair", "Result", "Row", "Test", "Units", "analyse"]

ALPHA = 0.05
"""Level of all tests."""

_DECIMALS = 12

Test = Literal["wilcoxon", "permutation"]


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        label: Of the model.
        mean: Of the means of its cells.
        sd: Over its cells, n − 1; NaN for one cell.
        cells: Number of them.
        estimate: Over all cases.
        low: Lower end of the interval of the estimate.
        high: Upper end.
        cases: With a value; all of them for a metric that is no mean over cases.
    """

    label: str
    mean: float
    sd: float
    cells: int
    estimate: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Pair:
    """A model against another one; differences are model − other, so that their sign is that of the metric.

    Attributes:
        model: Label.
        other: Label; the reference.
        units: On which both have a value.
        left_out: Units on which one of them has none.
        test: ``"wilcoxon"``, ``"permutation"``, or ``"bootstrap"`` for a metric that is no mean over cases.
        statistic: Smaller rank sum, or mean difference.
        p: Two-sided.
        p_holm: Adjusted for the models compared with the reference.
        difference: Of the means over the cases that both have.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        median: Hodges–Lehmann estimate over the units.
        median_low: Lower end of the interval of the signed-rank test.
        median_high: Upper end.
        rank_biserial: −1 … 1, above 0 where the model is better, whatever the direction of the metric.
        d_z: Cohen's, above 0 where the model is better.
        better: Units on which the model is better.
        equal: Units without a difference.
        worse: The others.
        verdict: ``"better"``, ``"worse"`` or ``"not shown to differ"`` at 5 %.
    """

    model: str
    other: str
    units: int
    left_out: int
    test: str
    statistic: float
    p: float
    p_holm: float
    difference: float
    low: float
    high: float
    median: float
    median_low: float
    median_high: float
    rank_biserial: float
    d_z: float
    better: int
    equal: int
    worse: int
    verdict: str


@dataclass(frozen=True, eq=False)
class Result:
    """One metric of all models.

    Attributes:
        facts: Of the metric.
        rows: By model.
        pairs: Every model but the reference against it.
        everyone: All pairs of three or more models, p-values adjusted for all of them; empty where not asked for.
        group: The class, ``None`` for the mean over classes.
    """

    facts: Facts
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    everyone: tuple[Pair, ...] = ()
    group: str | None = None


@dataclass(frozen=True, eq=False)
class Units:
    """What counts as one independent observation in tests.

    Attributes:
        name: ``"group"`` or ``"case"``.
        index: Unit of each case, ``(N,)``.
        count: Number of units.
    """

    name: Literal["group", "case"]
    index: NDArray[np.intp]

    @property
    def count(self) -> int:
        """Number of units."""
        return int(self.index.max()) + 1

    def means(self, values: FloatArray) -> FloatArray:
        """Mean of the cases of each unit, leaving NaN out: ``(N, …)`` → ``(n, …)``.

        Rounded to 12 decimals: what is equal but for the order of additions is equal, and ties are ties, in ranks.
        """
        known = ~np.isnan(values)
        sums, counts = (np.zeros((self.count, *values.shape[1:])) for _ in range(2))
        np.add.at(sums, self.index, np.where(known, values, 0.0))
        np.add.at(counts, self.index, known)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.round(sums / counts, _DECIMALS), np.float64)


def analyse(
    measured: Measured,
    labels: Sequence[str],
    reference: int,
    *,
    test: Test,
    units: Units,
    bootstrap: Bootstrap,
    everyone: bool = False,
    group: str | None = None,
) -> Result:
    """Compare all models on one metric.

    Args:
        measured: The metric.
        labels: Of the models.
        reference: Index of the model that all others are tested against.
        test: Of the differences of cases.
        units: Of the test.
        bootstrap: Of the intervals of differences.
        everyone: Also test all pairs.
        group: The class that was measured.
    """
    rows = tuple(_row(measured, m, label, len(bootstrap.clusters)) for m, label in enumerate(labels))

    def compared(pairs: Sequence[tuple[int, int]]) -> tuple[Pair, ...]:
        if measured.values is None:
            found = [_by_resamples(measured, labels, pair, bootstrap) for pair in pairs]
        else:
            differences = measured.values[:, [m for m, _ in pairs]] - measured.values[:, [m for _, m in pairs]]
            intervals = bootstrap.means(differences) if pairs else np.empty((0, 2))
            found = [
                _pair(labels, pair, measured.facts, d, ends, test, units, bootstrap)
                for pair, d, ends in zip(pairs, differences.T, intervals, strict=True)
            ]
        return _judged(found, measured.facts)

    against = compared([(m, reference) for m in range(len(labels)) if m != reference])
    several = everyone and len(labels) > 2
    return Result(
        measured.facts,
        rows,
        against,
        compared(list(itertools.combinations(range(len(labels)), 2))) if several else (),
        group,
    )


def _row(measured: Measured, m: int, label: str, cases: int) -> Row:
    cells = measured.cells[m][~np.isnan(measured.cells[m])]
    missing = 0 if measured.values is None else int(np.isnan(measured.values[:, m]).sum())
    return Row(
        label,
        float(cells.mean()) if cells.size else math.nan,
        float(cells.std(ddof=1)) if cells.size > 1 else math.nan,
        cells.size,
        float(measured.estimate[m]),
        float(measured.intervals[m, 0]),
        float(measured.intervals[m, 1]),
        cases - missing,
    )


def _pair(
    labels: Sequence[str],
    pair: tuple[int, int],
    facts: Facts,
    d: FloatArray,
    ends: FloatArray,
    test: Test,
    units: Units,
    bootstrap: Bootstrap,
) -> Pair:
    """From the differences of cases ``(N,)`` and the interval of their mean; not yet adjusted or judged."""
    known = ~np.isnan(d)
    of_units = units.means(d)
    some = of_units[~np.isnan(of_units)]
    good = some * facts.direction
    if test == "permutation":
        statistic, p = sign_flip(d[known], units.index[known], seed=bootstrap.seed)
    else:
        statistic, p = signed_rank(some)
    median, median_low, median_high = hodges_lehmann(some, bootstrap.confidence)
    return Pair(
        labels[pair[0]],
        labels[pair[1]],
        units=some.size,
        left_out=units.count - some.size,
        test=test,
        statistic=statistic,
        p=p,
        p_holm=p,
        difference=float(d[known].mean()) if known.any() else math.nan,
        low=float(ends[0]),
        high=float(ends[1]),
        median=median,
        median_low=median_low,
        median_high=median_high,
        rank_biserial=rank_biserial(good),
        d_z=standardised(good),
        better=int((good > 0).sum()),
        equal=int((good == 0).sum()),
        worse=int((good < 0).sum()),
        verdict="",
    )


def _by_resamples(measured: Measured, labels: Sequence[str], pair: tuple[int, int], bootstrap: Bootstrap) -> Pair:
    """The paired bootstrap: how often resamples of the cases turn the difference round."""
    model, other = pair
    draws = measured.draws[:, model] - measured.draws[:, other]
    draws = draws[~np.isnan(draws)]
    low = high = p = math.nan
    if draws.size and bootstrap.num_clusters > 1:
        low, high = (float(end) for end in bootstrap.interval(draws[:, None])[0])
        turned = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
        p = min(1.0, 2 * (turned + 1) / (draws.size + 1))
    difference = float(measured.estimate[model] - measured.estimate[other])
    nothing = math.nan
    return Pair(
        labels[model],
        labels[other],
        units=bootstrap.num_clusters,
        left_out=0,
        test="bootstrap",
        statistic=difference,
        p=p,
        p_holm=p,
        difference=difference,
        low=low,
        high=high,
        median=nothing,
        median_low=nothing,
        median_high=nothing,
        rank_biserial=nothing,
        d_z=nothing,
        better=0,
        equal=0,
        worse=0,
        verdict="",
    )


def _judged(pairs: Sequence[Pair], facts: Facts) -> tuple[Pair, ...]:
    """Adjust the p-values of a family of tests, and say what they show."""
    adjusted = holm([pair.p for pair in pairs])
    return tuple(
        replace(pair, p_holm=p, verdict=_verdict(pair, p, facts)) for pair, p in zip(pairs, adjusted, strict=True)
    )


def _verdict(pair: Pair, p: float, facts: Facts) -> str:
    if not p < ALPHA:
        return "not shown to differ"
    towards = pair.rank_biserial if pair.test == "wilcoxon" else pair.difference * facts.direction
    return "better" if towards > 0 else "worse"
