"""How well scores order the cases with a class before those without it: ROC and precision-recall, with ties.

Legend: N cases, R resamples, each a column of weights that say how often a case was drawn; G different scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.metrics import ratio
from glocal.evaluation.surface import FloatArray

__all__ = ["Ranking"]


class Ranking:
    """Cases of one class against the rest, ordered once by their score, so that many resamples cost little.

    Args:
        scores: ``(N,)``, higher for "of the class"; equal scores are one threshold.
        positive: Whether a case is of the class, ``(N,)``.
    """

    def __init__(self, scores: NDArray[Any], positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._positive = positive[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def areas(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Measure every resample.

        Args:
            weights: ``(N, R)``.

        Returns:
            AUROC, the probability that a case of the class scores higher than another one, ties counting half
            (Hanley and McNeil, 1982), NaN without one of either; and AUPRC as average precision, the sum over the
            thresholds of precision × gained recall, NaN without a case of the class. Each ``(R,)``.
        """
        hits, false = self._counts(weights)
        gained = np.diff(hits, axis=0, prepend=0)
        lost = np.diff(false, axis=0, prepend=0)
        pairs = (lost * (hits - gained / 2)).sum(axis=0)
        gained *= ratio(hits, hits + false, nothing=0.0)  # thresholds that no drawn case reaches
        return ratio(pairs, hits[-1] * false[-1]), ratio(gained.sum(axis=0), hits[-1])

    def curves(self) -> tuple[FloatArray, FloatArray]:
        """Return the points of both curves from the highest threshold down.

        Returns:
            ROC ``(G + 1, 2)``: false-positive and true-positive rate, from (0, 0); precision-recall ``(G, 2)``: recall
            and precision. NaN where they are undefined.
        """
        hits, false = (column[:, 0] for column in self._counts(np.ones((len(self._order), 1))))
        rates = [ratio(np.concatenate([[0.0], column]), np.float64(column[-1])) for column in (false, hits)]
        return np.stack(rates, axis=1), np.stack([rates[1][1:], ratio(hits, hits + false)], axis=1)

    def _counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cases of the class, and others, that reach each threshold: ``(G, R)``, from the highest threshold down."""
        drawn = weights[self._order]
        hits = drawn * self._positive[:, None]
        counts = []
        for part in (hits, drawn - hits):
            if len(self._starts) < len(drawn):
                part = np.add.reduceat(part, self._starts, axis=0)
            counts.append(np.cumsum(part, axis=0))
        return counts[0], counts[1]
