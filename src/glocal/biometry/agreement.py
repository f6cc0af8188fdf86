"""Agreement of two measurements of the same frames: Bland-Altman, shares within a limit, a decision threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BlandAltman", "ThresholdAgreement", "bland_altman", "share_within", "threshold_agreement"]


@dataclass(frozen=True)
class BlandAltman:
    """Bias and 95 % limits of agreement (Bland and Altman, Lancet 1986; 327:307).

    Attributes:
        n: Pairs in which both values are known.
        bias: Mean of measured less reference; NaN without a pair.
        sd: Standard deviation of the differences (n − 1); NaN for fewer than two pairs.
        low: ``bias − 1.96 sd``.
        high: ``bias + 1.96 sd``.
    """

    n: int
    bias: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class ThresholdAgreement:
    """Which cases lie on the same side of a threshold; positive means at or above it.

    Attributes:
        threshold: The threshold.
        true_positive: Both at or above.
        false_positive: Only the measured value is.
        false_negative: Only the reference is.
        true_negative: Neither is.
    """

    threshold: float
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def n(self) -> int:
        """Pairs in which both values are known."""
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative

    @property
    def agreement(self) -> float:
        """Share of pairs on the same side."""
        return _ratio(self.true_positive + self.true_negative, self.n)

    @property
    def sensitivity(self) -> float:
        """Share of positive references that were found."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of negative references that were found."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and sensitivity."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


def bland_altman(measured: ArrayLike, reference: ArrayLike) -> BlandAltman:
    """Compare values ``(n,)`` pairwise; NaN for what could not be measured, and such pairs are left out."""
    ours, theirs = _known(measured, reference)
    differences = ours - theirs
    bias = float(differences.mean()) if differences.size else math.nan
    sd = float(differences.std(ddof=1)) if differences.size > 1 else math.nan
    return BlandAltman(int(differences.size), bias, sd, bias - 1.96 * sd, bias + 1.96 * sd)


def share_within(measured: ArrayLike, reference: ArrayLike, limit: float) -> float:
    """Share of pairs that differ by at most ``limit``; NaN without a pair."""
    ours, theirs = _known(measured, reference)
    return float((np.abs(ours - theirs) <= limit).mean()) if ours.size else math.nan


def threshold_agreement(measured: ArrayLike, reference: ArrayLike, threshold: float = 120.0) -> ThresholdAgreement:
    """Compare on which side of ``threshold`` values ``(n,)`` lie; the angle of progression is often judged at 120°."""
    ours, theirs = (values >= threshold for values in _known(measured, reference))
    counts = [np.count_nonzero(which) for which in (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)]
    return ThresholdAgreement(threshold, *map(int, counts))


def _known(measured: ArrayLike, reference: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    ours, theirs = np.asarray(measured, np.float64), np.asarray(reference, np.float64)
    known = ~(np.isnan(ours) | np.isnan(theirs))
    return ours[known], theirs[known]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
