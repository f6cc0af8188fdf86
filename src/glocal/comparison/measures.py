"""From evaluations to one number for each case and model, and to what resamples of the cases would have given.

Legend: N cases, M models, R resamples; a key is a fold and repetition that all models share.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glocal.comparison.scores import ClassScores, MaskScores, Scores
from glocal.errors import UserError, nearest
from glocal.evaluation.calibration import log_loss
from glocal.evaluation.classification_metrics import BY_CLASS, OVERALL, SCORES, measure
from glocal.evaluation.metrics import METRIC_NAMES, METRICS, Metric
from glocal.evaluation.policy import Empty
from glocal.evaluation.statistics import Bootstrap
from glocal.evaluation.surface import FloatArray

__all__ = ["CONVENTIONS", "Convention", "Facts", "Measured", "Study", "shown_metrics"]

Convention = Literal["evaluated", "present", "agreed"]

CONVENTIONS: Mapping[Convention, str] = {
    "evaluated": "as evaluated, by the policy of the runs",
    "present": "only where the class is there: cases without it are left out for every model",
    "agreed": "a class that is neither there nor predicted counts as perfect, one invented as worst (its distance only "
    "where the policy of the runs gives it one)",
}
"""What becomes of cases whose true mask of a class is empty."""

_MASKS = ("dice", "iou", "hd95", "assd", "nsd")
_ONE = ("accuracy", "balanced_accuracy", "f1", "auroc", "nll")
_MANY = ("subset_accuracy", "f1", "auroc", "auprc", "nll")
_OF_CASES = ("accuracy", "subset_accuracy", "hamming_loss", "nll", "brier")
"""Metrics of classifiers that are means over cases."""


@dataclass(frozen=True)
class Facts:
    """What a reader must know of a metric.

    Attributes:
        name: Key in files.
        label: As printed.
        direction: 1 where more is better, −1 where less is.
        digits: Behind the point.
        unit: Of distances, else empty.
    """

    name: str
    label: str
    direction: Literal[-1, 1]
    digits: int
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of all models.

    Attributes:
        facts: Of the metric.
        cells: Mean over the cases of each cell, ``(M, keys)``.
        values: Of each case, averaged over the cells that have it, ``(N, M)``; ``None`` for a metric that is no mean
            over cases (AUROC).
        estimate: Over all cases, ``(M,)``.
        intervals: Of it, ``(M, 2)``.
        draws: The same for each resample of the cases, ``(R, M)``.
    """

    facts: Facts
    cells: FloatArray
    values: FloatArray | None
    estimate: FloatArray
    intervals: FloatArray
    draws: FloatArray


@dataclass(frozen=True, eq=False)
class Study:
    """All evaluations side by side.

    Attributes:
        labels: Of the models, ``M``.
        table: ``table[model][key]``; the cases of a key are the same for every model.
        bootstrap: Over all cases, in the order of :attr:`cases`.
        cases: Ids of all keys, ``N``.
        groups: Of each case.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[Scores, ...], ...]
    bootstrap: Bootstrap
    cases: tuple[str, ...]
    groups: tuple[str | None, ...]

    @classmethod
    def of(cls, labels: Sequence[str], table: Sequence[Sequence[Scores]], **options: float | int) -> Study:
        """Join the cases of all keys.

        Args:
            labels: Of the models.
            table: By model and key.
            options: Of the bootstrap.
        """
        groups: dict[str, str | None] = {}
        for scores in table[0]:
            groups.update(zip(scores.cases, scores.groups, strict=True))
        bootstrap = Bootstrap.over(list(groups.values()), **options)
        return cls(tuple(labels), tuple(map(tuple, table)), bootstrap, tuple(groups), tuple(groups.values()))

    @property
    def first(self) -> Scores:
        """Any evaluation; classes and conventions are those of all."""
        return self.table[0][0]

    def index(self, scores: Scores) -> NDArray[np.intp]:
        """Position of the cases of an evaluation among all."""
        position = {case: n for n, case in enumerate(self.cases)}
        return np.array([position[case] for case in scores.cases], np.intp)

    def measure(
        self, name: str, classes: Sequence[int] | None = None, convention: Convention = "evaluated"
    ) -> Measured:
        """Measure one metric.

        Args:
            name: Of the metric.
            classes: Indices; the mean over them is taken in each case. ``None``: the foreground, or all classes of a
                classifier.
            convention: For empty masks.
        """
        facts = facts_of(name, self.first)
        if isinstance(self.first, ClassScores) and (name not in _OF_CASES or classes is not None):
            return self._resampled(facts, classes)
        columns = [[_case_values(scores, name, classes, convention) for scores in of_model] for of_model in self.table]
        cells = np.array([[_nanmean(column) for column in of_model] for of_model in columns])
        stacked = np.full((len(self.table[0]), len(self.cases), len(self.labels)), np.nan)
        for m, of_model in enumerate(columns):
            for key, column in enumerate(of_model):
                stacked[key, self.index(self.table[m][key]), m] = column
        values = _nanmean(stacked)
        return Measured(facts, cells, values, _nanmean(values), self.bootstrap.means(values), self._draws(values))

    def _draws(self, values: FloatArray) -> FloatArray:
        known = ~np.isnan(values)
        filled = np.where(known, values, 0.0)
        with np.errstate(invalid="ignore"):
            return np.concatenate([(w.T @ filled) / (w.T @ known) for w in self.bootstrap.case_weights()])

    def _resampled(self, facts: Facts, classes: Sequence[int] | None) -> Measured:
        """A metric of all cases together: of each cell, then the mean over cells, in every resample alike."""
        found = [[_pick(of_cell, facts.name, classes) for of_cell in of_model] for of_model in self._classified]
        cells = np.array([[values[0] for values in of_model] for of_model in found])
        draws = np.stack([_nanmean(np.stack(of_model)) for of_model in found], axis=1)[1:]
        intervals = self.bootstrap.interval(draws)
        if self.bootstrap.num_clusters < 2:
            intervals = np.full_like(intervals, np.nan)
        return Measured(facts, cells, None, _nanmean(cells.T), intervals, draws)

    @cached_property
    def _classified(self) -> list[list[dict[tuple[str, str], FloatArray]]]:
        """By model and key every metric of a classifier, of all cases and then of each resample: ``(1 + R, …)``."""
        chunks = [np.ones((len(self.cases), 1)), *self.bootstrap.case_weights()]
        table = []
        for of_model in self.table:
            row = []
            for scores in of_model:
                assert isinstance(scores, ClassScores)
                index = self.index(scores)
                parts = [measure(scores.sample, drawn[index]) for drawn in chunks]
                row.append({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
            table.append(row)
        return table


def shown_metrics(scores: Scores, first: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the metrics that are compared: those asked for, then the usual ones.

    Raises:
        UserError: A metric is unknown or of the other task.
    """
    if isinstance(scores, MaskScores):
        known, usual = METRIC_NAMES, _MASKS
    else:
        labels = ("any", "many" if scores.sample.multi_label else "one")
        known = tuple(score.name for score in (*OVERALL, *BY_CLASS) if score.labels in labels)
        usual = _MANY if scores.sample.multi_label else _ONE
    for name in first:
        if name not in known:
            raise UserError(f"metric {name!r} is unknown here; use one of {', '.join(known)}.{nearest(name, known)}")
    return tuple(dict.fromkeys([*first, *usual]))


def facts_of(name: str, scores: Scores) -> Facts:
    """Facts of a metric under the conventions of ``scores``."""
    if isinstance(scores, ClassScores):
        score = SCORES[name]
        label = score.label if score in OVERALL else f"{score.label} (macro)"
        return Facts(name, label, score.direction, 3)
    metric = METRICS[METRIC_NAMES.index(name)]
    unit = str(scores.conventions["unit"])
    if metric.name == "nsd":
        return Facts(name, f"NSD at {scores.conventions['tolerance']:g} {unit}", 1, 3)
    if metric.direction == 0:
        return Facts(name, f"|{metric.label}|", -1, 3)
    if metric.kind == "distance":
        return Facts(name, f"{metric.label} ({unit})", -1, 2, unit)
    return Facts(name, metric.label, 1 if metric.direction > 0 else -1, 3)


def _case_values(scores: Scores, name: str, classes: Sequence[int] | None, convention: Convention) -> FloatArray:
    """Of each case, ``(N,)``; signed metrics without their sign."""
    if isinstance(scores, ClassScores):
        return _of_each_case(scores, name)
    metric = METRICS[METRIC_NAMES.index(name)]
    chosen = list(range(1, len(scores.classes)) if classes is None else classes)
    values = scores.values[:, chosen, METRIC_NAMES.index(name)]
    if convention == "present":
        values = np.where(scores.truth[:, chosen] > 0, values, np.nan)
    elif convention == "agreed":
        values = _agreed(values, scores.empty[:, chosen], metric)
    return _nanmean((np.abs(values) if metric.direction == 0 else values).T)


def _agreed(values: FloatArray, empty: NDArray[np.str_], metric: Metric) -> FloatArray:
    worst = metric.worst if isinstance(metric.worst, float) else np.nan
    filled = np.where((empty == Empty.TRUTH.value) & np.isnan(values), worst, values)
    return np.where(empty == Empty.BOTH.value, metric.best, filled)


def _of_each_case(scores: ClassScores, name: str) -> FloatArray:
    sample = scores.sample
    if name == "nll":
        targets = sample.truth if sample.multi_label else sample.truth.argmax(axis=1)
        return log_loss(sample.logits, targets, multi_label=sample.multi_label)
    if name == "brier":
        squares = (sample.probability - sample.truth) ** 2
        return np.asarray(squares.mean(axis=1) if sample.multi_label else squares.sum(axis=1), np.float64)
    right = sample.truth == sample.predicted
    return np.asarray((~right).mean(axis=1) if name == "hamming_loss" else right.all(axis=1), np.float64)


def _pick(found: Mapping[tuple[str, str], FloatArray], name: str, classes: Sequence[int] | None) -> FloatArray:
    """One metric of all that :func:`measure` gives, ``(1 + R,)``."""
    if ("overall", name) in found:
        return found["overall", name]
    if classes is None:
        return found["macro", name]
    return _nanmean(found["per_class", name][:, list(classes)].T)


def _nanmean(values: FloatArray) -> FloatArray:
    """Mean over the first axis, NaN where everything is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=0), np.float64)
