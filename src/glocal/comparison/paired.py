"""Two models on the same cases: tests of their differences, effect sizes, and correction for several tests.

Legend: n units (cases, or means of groups), d their differences, G clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from glocal.evaluation.surface import FloatArray

__all__ = ["EXACT_CLUSTERS", "hodges_lehmann", "holm", "rank_biserial", "sign_flip", "signed_rank", "standardised"]

EXACT_CLUSTERS = 16
"""Up to so many clusters every pattern of signs is tried."""

_EXACT_RANKS = 60
_CHUNK = 2**22


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of tests (Holm, 1979): step down, in the order given; NaN is no test.

    Args:
        p: p-values, NaN where there was no test.
    """
    values = np.asarray(p, np.float64)
    adjusted = np.full(values.shape, np.nan)
    order = [int(i) for i in np.argsort(values, kind="stable") if not math.isnan(values[i])]
    highest = 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - position) * float(values[index])))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def signed_rank(d: FloatArray) -> tuple[float, float]:
    """Wilcoxon's signed-rank test, two-sided; differences of 0 are left out (Wilcoxon, 1945).

    Args:
        d: ``(n,)``.

    Returns:
        The smaller rank sum and the p-value: 0 and 1 without a difference, NaN without a unit.
    """
    if d.size == 0:
        return math.nan, math.nan
    if not d.any():
        return 0.0, 1.0
    found = stats.wilcoxon(d[d != 0])
    return float(found.statistic), float(found.pvalue)


def sign_flip(d: FloatArray, clusters: NDArray[np.intp], *, draws: int = 20000, seed: int = 0) -> tuple[float, float]:
    """Permutation test of the mean difference, two-sided: the signs of whole clusters are flipped together.

    Exact for up to :data:`EXACT_CLUSTERS` clusters; beyond that the p-value is (b + 1) / (draws + 1), with b of the
    random patterns as extreme as what was seen (Phipson and Smyth, 2010).

    Args:
        d: ``(n,)``.
        clusters: Which cluster each difference belongs to, ``(n,)``.
        draws: Random patterns.
        seed: Of them.

    Returns:
        The mean difference and the p-value; NaN without a unit.
    """
    if d.size == 0:
        return math.nan, math.nan
    _, index = np.unique(clusters, return_inverse=True)
    totals = np.bincount(index, weights=d)
    size = totals.size
    seen = abs(totals.sum()) * (1 - 1e-12)
    if size <= EXACT_CLUSTERS:
        patterns = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        return float(d.mean()), float((np.abs((1 - 2 * patterns) @ totals) >= seen).mean())
    generator, extreme, chunk = np.random.default_rng(seed), 0, max(1, _CHUNK // size)
    for start in range(0, draws, chunk):
        signs = generator.choice((-1.0, 1.0), size=(min(chunk, draws - start), size))
        extreme += int((np.abs(signs @ totals) >= seen).sum())
    return float(d.mean()), (extreme + 1) / (draws + 1)


def rank_biserial(d: FloatArray) -> float:
    """Matched-pairs rank-biserial correlation (Kerby, 2014): (W⁺ − W⁻) / (W⁺ + W⁻), in −1 … 1.

    Args:
        d: ``(n,)``.

    Returns:
        0 without a difference, NaN without a unit.
    """
    known = d[d != 0]
    if known.size == 0:
        return 0.0 if d.size else math.nan
    ranks = stats.rankdata(np.abs(known))
    return float((ranks * np.sign(known)).sum() / ranks.sum())


def standardised(d: FloatArray) -> float:
    """Cohen's d_z: mean difference / standard deviation of the differences (n − 1); NaN where they do not vary."""
    spread = float(d.std(ddof=1)) if d.size > 1 else 0.0
    return float(d.mean()) / spread if spread > 1e-12 * np.abs(d).max(initial=0.0) else math.nan


def hodges_lehmann(d: FloatArray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Pseudo-median of the differences and the interval that belongs to the signed-rank test.

    The median of all n (n + 1) / 2 Walsh averages (d_i + d_j) / 2, i ≤ j, and two of them as ends (Hollander, Wolfe and
    Chicken, 2014, sections 3.2 and 3.3); exact for up to 60 units, normal approximation beyond.

    Args:
        d: ``(n,)``.
        confidence: Of the interval.

    Returns:
        Estimate, lower and upper end; the ends are NaN where so few units give no interval of this confidence (5 or
        fewer for 95 %), everything is NaN without a unit.
    """
    n = d.size
    if n == 0:
        return math.nan, math.nan, math.nan
    ordered, pairs = np.sort(d), n * (n + 1) // 2
    middle = (_walsh(ordered, (pairs + 1) // 2) + _walsh(ordered, pairs // 2 + 1)) / 2
    rank = _rank_of_end(n, (1 - confidence) / 2)
    if rank < 1:
        return middle, math.nan, math.nan
    return middle, _walsh(ordered, rank), _walsh(ordered, pairs + 1 - rank)


def _rank_of_end(n: int, tail: float) -> int:
    """The largest c with P(W⁺ ≤ c − 1) ≤ ``tail``; 0 where there is none."""
    if n > _EXACT_RANKS:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(1, math.floor(n * (n + 1) / 4 + float(special.ndtri(tail)) * spread))
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return int(np.searchsorted(np.cumsum(ways) / 2.0**n, tail, side="right"))


def _walsh(ordered: FloatArray, k: int) -> float:
    """The ``k``-th smallest Walsh average, k from 1, by bisection: n log n time, n memory."""
    low, high = float(ordered[0]), float(ordered[-1])
    while True:
        middle = low + (high - low) / 2
        if not low < middle < high:
            return low if _walsh_up_to(ordered, low) >= k else high
        if _walsh_up_to(ordered, middle) >= k:
            high = middle
        else:
            low = middle


def _walsh_up_to(ordered: FloatArray, x: float) -> int:
    """How many Walsh averages are at most ``x``."""
    both = int(np.searchsorted(ordered, 2 * x - ordered, side="right").sum())
    return (both + int(np.searchsorted(ordered, x, side="right"))) // 2
