"""From the values of many cases to means with confidence intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.metrics import overlap_metrics
from glocal.evaluation.surface import FloatArray

__all__ = ["Bootstrap", "describe", "finite"]

_CHUNK_VALUES = 2**22
_LEAST_SPREAD = 0.5
"""Standard error that a resample counts with at least, of that of all cases. Resamples that miss the one outlier of
small data have next to none; without a limit it would stretch intervals over the whole range of the values, and not
cover more (``benchmarks/bootstrap_coverage.py``)."""


def finite(value: Any) -> float | None:
    """Return ``value`` as a float that JSON can hold, ``None`` for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def describe(values: FloatArray) -> dict[str, float | int | None]:
    """Summarise the defined entries of ``values``, shape ``(cases,)``.

    Returns:
        ``n`` defined, ``n_undefined`` (NaN), ``mean``, ``sd`` (n − 1), ``median``, ``q1``, ``q3``, ``iqr``, ``min`` and
        ``max``; quartiles are linearly interpolated; ``None`` where there are too few values.
    """
    known = values[~np.isnan(values)]
    facts: dict[str, float | int | None] = {"n": int(known.size), "n_undefined": int(values.size - known.size)}
    if known.size == 0:
        return facts | dict.fromkeys(("mean", "sd", "median", "q1", "q3", "iqr", "min", "max"))
    q1, median, q3 = np.percentile(known, [25, 50, 75])
    return facts | {
        "mean": float(known.mean()),
        "sd": float(known.std(ddof=1)) if known.size > 1 else None,
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "iqr": float(q3 - q1),
        "min": float(known.min()),
        "max": float(known.max()),
    }


@dataclass(frozen=True)
class Bootstrap:
    """Intervals from resampling clusters of cases with replacement (Efron and Tibshirani, 1993, ch. 12 and 13).

    A cluster is a group (all images of one patient) or a case without one; resampling whole clusters keeps images of
    one patient from counting as independent. The same resamples serve every number. Means have studentised intervals
    (bootstrap-t), which keep their coverage where values are skewed, as Dice and distances are
    (``benchmarks/bootstrap_coverage.py``); other statistics have percentile intervals.

    Attributes:
        clusters: Cluster index of each case, ``(cases,)``, in ``0 … G − 1``.
        resamples: How many.
        confidence: Such as 0.95.
        seed: Of the resampling.
    """

    clusters: NDArray[np.intp]
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    @classmethod
    def over(cls, groups: Sequence[str | None], **options: Any) -> Bootstrap:
        """Make the clusters from the group of each case, ``None`` for a case of its own."""
        index: dict[Hashable, int] = {}
        keys = [(group,) if group is not None else position for position, group in enumerate(groups)]
        return cls(np.array([index.setdefault(key, len(index)) for key in keys], np.intp), **options)

    @property
    def num_clusters(self) -> int:
        """How many clusters there are."""
        return int(self.clusters.max()) + 1

    def means(self, values: FloatArray) -> FloatArray:
        """Return the studentised interval of the mean of each column, leaving NaN out.

        The error of each resampled mean is that of a ratio of cluster totals, linearised. The ends are kept within the
        range of the values.

        Args:
            values: ``(cases, columns)``.

        Returns:
            ``(columns, 2)``, lower and upper end; NaN for fewer than two clusters with a value.
        """
        known = ~np.isnan(values)
        counts = self._totals(known.astype(np.float64))
        enough = (counts > 0).sum(axis=0) > 1
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without a value
            middle, lowest, highest = np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
            rest = self._totals(np.where(known, values - middle, 0.0))  # of cluster totals, from what they should be
            moments = np.stack([rest**2, rest * counts, counts**2])
            error = np.sqrt(moments[0].sum(axis=0)) / counts.sum(axis=0)
            scores = np.concatenate([_studentise(w @ rest, w @ counts, w @ moments, error) for w in self._weights()])
            ends = middle[:, None] - self.interval(scores)[:, ::-1] * error[:, None]
        ends[~enough] = np.nan
        return np.asarray(np.clip(ends, lowest[:, None], highest[:, None]), np.float64)

    def pooled(self, counts: NDArray[np.int64], pixels: NDArray[np.int64]) -> dict[str, FloatArray]:
        """Return the intervals of the overlap metrics of pooled counts.

        Args:
            counts: ``(cases, K, 3)``: pixels in both masks, predicted, true.
            pixels: ``(cases,)``.

        Returns:
            By metric ``(K + 2, 2)``: each class, then the mean over the foreground classes and over all classes.
        """
        cases, num_classes = counts.shape[:2]
        totals = self._totals(np.concatenate([counts.reshape(cases, -1), pixels[:, None]], axis=1).astype(np.float64))
        parts: dict[str, list[FloatArray]] = {}
        for weights in self._weights():
            drawn = weights @ totals
            table = drawn[:, :-1].reshape(-1, num_classes, 3)
            for name, value in overlap_metrics(table, drawn[:, -1:]).items():
                parts.setdefault(name, []).append(with_class_means(value))
        ends = {name: self.interval(np.concatenate(value)) for name, value in parts.items()}
        return ends if self.num_clusters > 1 else {name: np.full_like(value, np.nan) for name, value in ends.items()}

    def case_weights(self) -> Iterator[FloatArray]:
        """Yield, in chunks of resamples, how often each case was drawn: ``(cases, chunk)``, for any statistic."""
        for weights in self._weights(len(self.clusters)):
            yield np.ascontiguousarray(weights.T)[self.clusters]

    def interval(self, statistics: FloatArray) -> FloatArray:
        """``(resamples, columns)`` → ``(columns, 2)``; resamples without a defined value are left out."""
        tail = 100 * (1 - self.confidence) / 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without a value
            return np.asarray(np.nanpercentile(statistics, [tail, 100 - tail], axis=0).T, np.float64)

    def _totals(self, values: FloatArray) -> FloatArray:
        totals = np.zeros((self.num_clusters, values.shape[1]))
        np.add.at(totals, self.clusters, values)
        return totals

    def _weights(self, width: int = 0) -> Iterator[FloatArray]:
        """Yield, in chunks of resamples, how often each cluster was drawn: ``(chunk, clusters)``.

        Args:
            width: Of the rows that are made of them, where it is more than there are clusters.
        """
        generator = np.random.default_rng(self.seed)
        size = self.num_clusters
        chunk = max(1, _CHUNK_VALUES // max(size, width))
        for start in range(0, self.resamples, chunk):
            drawn = generator.multinomial(size, np.full(size, 1 / size), size=min(chunk, self.resamples - start))
            yield drawn.astype(np.float64)


def _studentise(rest: FloatArray, counts: FloatArray, moments: FloatArray, error: FloatArray) -> FloatArray:
    """How far resampled means lie from the mean, each in its own standard errors.

    Args:
        rest: Sum of the values drawn, from which the mean was subtracted, ``(resamples, columns)``.
        counts: How many values were drawn, same shape.
        moments: Over the clusters drawn: squared totals, totals times counts, squared counts, ``(3, …)``.
        error: Standard error of the mean itself, ``(columns,)``; the common factor G / (G − 1) cancels.

    Returns:
        Same shape; NaN where nothing was drawn, 0 where the values do not vary at all.
    """
    shift = rest / counts
    spread = np.sqrt(np.maximum(moments[0] - 2 * shift * moments[1] + shift**2 * moments[2], 0.0)) / counts
    return np.where(error > 0, shift / np.maximum(spread, _LEAST_SPREAD * error), 0.0)


def with_class_means(values: FloatArray) -> FloatArray:
    """Append to the last axis (classes) the mean over the foreground classes and the mean over all, leaving NaN out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # every class undefined
        means = [np.nanmean(values[..., first:], axis=-1, keepdims=True) for first in (1, 0)]
    return np.concatenate([values, *means], axis=-1)
