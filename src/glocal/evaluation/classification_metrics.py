"""The metrics of classifiers: what each means, and all of them for many resamples at once.

Legend: N cases, K classes, R resamples, each a column of weights that say how often a case was drawn; B bins.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.calibration import BINS, bin_index, log_loss, probabilities
from glocal.evaluation.metrics import ratio
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.statistics import Bootstrap
from glocal.evaluation.surface import FloatArray

__all__ = ["BY_CLASS", "CALIBRATION", "OVERALL", "SCORES", "Sample", "Score", "intervals", "measure"]

Measured = dict[tuple[str, str], FloatArray]


@dataclass(frozen=True)
class Score:
    """What a reader must know of one metric.

    Attributes:
        name: Key in JSON.
        label: Name as printed.
        formula: In words and symbols. For one class: TP cases of it predicted as it, P all cases predicted as it, T all
            cases of it, n all cases.
        direction: 1 where more is better, -1 where less is.
        labels: ``"one"`` for one label a case, ``"many"`` for several, ``"any"`` for both.
    """

    name: str
    label: str
    formula: str
    direction: Literal[-1, 1] = 1
    labels: Literal["one", "many", "any"] = "any"


OVERALL: tuple[Score, ...] = (
    Score("accuracy", "Accuracy", "cases predicted right / n", labels="one"),
    Score("balanced_accuracy", "Balanced accuracy", "mean of the recall of the classes that occur", labels="one"),
    Score("kappa", "Cohen's κ", "(agreement − agreement by chance) / (1 − agreement by chance)", labels="one"),
    Score("mcc", "MCC", "correlation of truth and prediction, of all classes (Gorodkin's R_K)", labels="one"),
    Score("subset_accuracy", "Subset accuracy", "cases of which every label is right / n", labels="many"),
    Score("hamming_loss", "Hamming loss", "labels that are wrong / n·K", -1, "many"),
    Score("nll", "NLL", "mean −log p of what is true, in nats (several labels: mean over the labels)", -1),
    Score("brier", "Brier score", "mean Σ(p − y)² over the classes, 0 … 2 (several labels: their mean, 0 … 1)", -1),
    Score("ece", "ECE", f"mean |confidence − how often it is right| over {BINS} bins of the confidence", -1),
)
"""Numbers of all cases together, in the order of all tables."""

BY_CLASS: tuple[Score, ...] = (
    Score("precision", "Precision", "TP / P"),
    Score("recall", "Recall", "TP / T"),
    Score("specificity", "Specificity", "cases neither of the class nor predicted as it / cases not of the class"),
    Score("f1", "F1", "2·TP / (P + T)"),
    Score("auroc", "AUROC", "how often a case of the class has a higher probability for it than another; ties half"),
    Score("auroc_logits", "AUROC of logits", "the same of the raw logits, without the softmax", labels="one"),
    Score("auprc", "AUPRC", "average precision: Σ precision × gained recall over the thresholds"),
)
"""Numbers of each class against the rest, in the order of all tables."""

CALIBRATION = ("nll", "brier", "ece")
"""Those that the temperature changes."""

SCORES: Mapping[str, Score] = {score.name: score for score in (*OVERALL, *BY_CLASS)}
"""By name."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What N cases said and what was true.

    Attributes:
        logits: float64 ``(N, K)``.
        truth: bool ``(N, K)``.
        multi_label: Each class is there or not by itself.
        temperature: By which the logits are divided.
    """

    logits: FloatArray
    truth: NDArray[np.bool_]
    multi_label: bool
    temperature: float

    @cached_property
    def probability(self) -> FloatArray:
        """Of each class, ``(N, K)``, after the temperature."""
        return probabilities(self.logits, self.temperature, multi_label=self.multi_label)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """``(N, K)``: the class of the highest logit (the first of equals), or each of 50 % or more."""
        if self.multi_label:
            return self.logits >= 0
        return np.asarray(np.arange(self.logits.shape[1]) == self.logits.argmax(axis=1)[:, None])

    @cached_property
    def confidence(self) -> FloatArray:
        """The probability of the predicted class, ``(N, 1)``, or of each label, ``(N, K)``."""
        return self.probability if self.multi_label else self.probability.max(axis=1, keepdims=True)

    @cached_property
    def confirmed(self) -> NDArray[np.bool_]:
        """Whether what :attr:`confidence` was said of is so, same shape."""
        return self.truth if self.multi_label else np.any(self.truth & self.predicted, axis=1, keepdims=True)

    @cached_property
    def rankings(self) -> dict[str, list[Ranking]]:
        """Each class against the rest, by probability and (where they order differently) by logit."""
        by = {"auroc": self.probability} | ({} if self.multi_label else {"auroc_logits": self.logits})
        return {
            name: [Ranking(scores[:, k], self.truth[:, k]) for k in range(scores.shape[1])]
            for name, scores in by.items()
        }

    def at(self, temperature: float) -> Sample:
        """The same cases at another temperature."""
        return Sample(self.logits, self.truth, self.multi_label, temperature)


def measure(sample: Sample, weights: NDArray[Any]) -> Measured:
    """Compute every metric of every resample; NaN where it is undefined.

    Args:
        sample: The cases.
        weights: How often each case counts, ``(N, R)``; ones for the estimate itself.

    Returns:
        By block and metric: ``("overall", …)`` ``(R,)``, ``("per_class", …)`` ``(R, K)``; ``("macro", …)``, the mean
        over the classes where it is defined, ``("weighted", …)``, the same by their true cases, and for several labels
        ``("micro", …)``, of all labels pooled, each ``(R,)``.
    """
    drawn = np.asarray(weights, np.float64)
    n = drawn.sum(axis=0)
    hits, predicted, true = (
        drawn.T @ table for table in (sample.truth & sample.predicted, sample.predicted, sample.truth)
    )
    by_class = _from_counts(hits, predicted, true, n[:, None])
    for name, rankings in sample.rankings.items():
        areas = [ranking.areas(drawn) for ranking in rankings]
        by_class[name] = np.stack([auroc for auroc, _ in areas], axis=1)
        if name == "auroc":
            by_class["auprc"] = np.stack([precision for _, precision in areas], axis=1)
    found: Measured = {("per_class", score.name): by_class[score.name] for score in BY_CLASS if score.name in by_class}
    for name, values in by_class.items():
        found["macro", name] = _nanmean(values)
        found["weighted", name] = ratio(
            np.nansum(values * true, axis=1), np.where(np.isnan(values), 0, true).sum(axis=1)
        )
    if sample.multi_label:
        pooled = _from_counts(hits.sum(axis=1), predicted.sum(axis=1), true.sum(axis=1), n * true.shape[1])
        found |= {("micro", name): values for name, values in pooled.items()}
        exact = (sample.truth == sample.predicted).all(axis=1)
        found["overall", "subset_accuracy"] = (drawn.T @ exact) / n
        found["overall", "hamming_loss"] = (drawn.T @ (sample.truth != sample.predicted).mean(axis=1)) / n
    else:
        found |= {
            ("overall", name): values for name, values in _agreement(hits.sum(axis=1), predicted, true, n).items()
        }
        found["overall", "balanced_accuracy"] = found["macro", "recall"]
    return found | {("overall", name): values for name, values in calibration(sample, drawn).items()}


def calibration(sample: Sample, weights: FloatArray) -> dict[str, FloatArray]:
    """The part of :func:`measure` that the temperature changes, by name, each ``(R,)``."""
    n = weights.sum(axis=0)
    targets = sample.truth if sample.multi_label else sample.truth.argmax(axis=1)
    losses = log_loss(sample.logits, targets, sample.temperature, multi_label=sample.multi_label)
    squares = (sample.probability - sample.truth) ** 2
    index = bin_index(sample.confidence)
    gaps = np.zeros((len(index), BINS))
    np.add.at(gaps, (np.arange(len(index))[:, None], index), sample.confirmed - sample.confidence)
    return {
        "nll": weights.T @ losses / n,
        "brier": weights.T @ (squares.mean(axis=1) if sample.multi_label else squares.sum(axis=1)) / n,
        "ece": np.abs(weights.T @ gaps).sum(axis=1) / (n * index.shape[1]),
    }


def _from_counts(hits: FloatArray, predicted: FloatArray, true: FloatArray, n: FloatArray) -> dict[str, FloatArray]:
    """Metrics of each class against the rest; see :class:`Score` for the counts."""
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, true),
        "specificity": ratio(n - predicted - true + hits, n - true),
        "f1": ratio(2 * hits, predicted + true),
    }


def _agreement(hits: FloatArray, predicted: FloatArray, true: FloatArray, n: FloatArray) -> dict[str, FloatArray]:
    """Metrics of the whole confusion matrix ``(R, K, K)``, of which the trace and the margins are enough."""
    by_chance = (predicted * true).sum(axis=1)
    spread = (n**2 - (predicted**2).sum(axis=1)) * (n**2 - (true**2).sum(axis=1))
    return {
        "accuracy": hits / n,
        "kappa": ratio(n * hits - by_chance, n**2 - by_chance),
        "mcc": np.clip(ratio(n * hits - by_chance, np.sqrt(spread)), -1, 1),
    }


def _nanmean(values: FloatArray) -> FloatArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # undefined for every class
        return np.asarray(np.nanmean(values, axis=1), np.float64)


def intervals(sample: Sample, bootstrap: Bootstrap) -> dict[tuple[str, str], FloatArray]:
    """Return the bootstrap interval of every number of :func:`measure`.

    The interval of the ECE is moved by the bootstrap's own estimate of its bias: a resample, having fewer different
    cases, is always farther from its confidence than all cases together.

    Returns:
        ``(2,)``, for those per class ``(K, 2)``; NaN where fewer than two clusters hold what the number is about.
    """
    parts: dict[tuple[str, str], list[FloatArray]] = {}
    for weights in bootstrap.case_weights():
        for key, values in measure(sample, weights).items():
            parts.setdefault(key, []).append(values)
    estimate = measure(sample, np.ones((len(sample.truth), 1)))
    enough = _enough(sample, bootstrap)
    found = {}
    for (block, name), chunks in parts.items():
        drawn = np.concatenate(chunks)
        if name == "ece":
            drawn = np.maximum(drawn - (drawn.mean() - estimate[block, name]), 0)
        ends = bootstrap.interval(drawn)
        if block == "per_class":
            ends[~enough[name]] = np.nan
        found[block, name] = ends if bootstrap.num_clusters > 1 else np.full_like(ends, np.nan)
    return found


def _enough(sample: Sample, bootstrap: Bootstrap) -> dict[str, NDArray[np.bool_]]:
    """Whether two clusters or more hold the cases over which the metrics of a class are a mean: bool ``(K,)`` each."""
    held = {}
    tables = {"true": sample.truth, "other": ~sample.truth, "predicted": sample.predicted}
    for name, table in tables.items():
        clusters = np.zeros((bootstrap.num_clusters, table.shape[1]), bool)
        np.logical_or.at(clusters, bootstrap.clusters, table)
        held[name] = clusters.sum(axis=0) > 1
    both = held["true"] & held["other"]
    return {
        "precision": held["predicted"],
        "recall": held["true"],
        "specificity": held["other"],
        "f1": held["true"],
        "auroc": both,
        "auroc_logits": both,
        "auprc": held["true"],
    }
