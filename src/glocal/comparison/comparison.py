"""Evaluations in, a comparison out: :func:`compare` and what it returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glocal.comparison.analysis import ALPHA, Result, Test, Units, analyse
from glocal.comparison.checks import common_keys, recipe_notes, require_comparable
from glocal.comparison.costs import Cost, costs_of
from glocal.comparison.emptiness import Emptiness, emptiness_of
from glocal.comparison.measures import Measured, Study, shown_metrics
from glocal.comparison.ranking import Ranks, rank_models, stability
from glocal.comparison.scores import ClassScores, Scores, read_scores
from glocal.comparison.sources import Cell, Missing, Sources, open_sources
from glocal.errors import UserError, lookup, nearest
from glocal.evaluation.surface import FloatArray

__all__ = ["Comparison", "compare"]

FORMAT = 1
_FEW = 10


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found; M models.

    Attributes:
        labels: Of the models, in the order in which they were named.
        reference: Label of the model that all others are tested against.
        results: One a metric, the mean over the classes; the first is what models are ranked by.
        per_class: The same metrics class by class; empty for a single class.
        ranks: By the first metric; ``None`` for fewer than three models, or where it is no mean over cases.
        stability: Share of the resamples in which a model has a rank, ``(M, M)``.
        emptiness: What cases without the class do to the first metric; ``None`` for classifiers.
        costs: By model.
        missing: Cells of benchmarks that are not finished.
        design: What was compared: task, classes, cases, groups, cells, conventions, settings of the statistics.
        primary: The first metric as measured, for figures.
        notes: What a reader must be told.
    """

    labels: tuple[str, ...]
    reference: str
    results: tuple[Result, ...]
    per_class: tuple[Result, ...]
    ranks: Ranks | None
    stability: FloatArray
    emptiness: Emptiness | None
    costs: tuple[Cost, ...]
    missing: tuple[Missing, ...]
    design: Mapping[str, Any]
    primary: Measured
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``: plain numbers, strings, lists and ``None``."""
        parts = {
            "format": FORMAT,
            "models": self.labels,
            "reference": self.reference,
            "design": self.design,
            "metrics": self.results,
            "per_class": self.per_class,
            "ranks": self.ranks,
            "rank_stability": self.stability,
            "empty_masks": self.emptiness,
            "costs": self.costs,
            "missing": self.missing,
            "notes": self.notes,
        }
        return {name: _plain(value) for name, value in parts.items()}

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write ``report.html``, the tables, ``comparison.json`` and ``figures/`` into ``folder``, each file whole.

        Args:
            folder: Made when it is missing; files of the same names are replaced.

        Returns:
            The paths by file name.

        Raises:
            UserError: The folder cannot be written, or matplotlib is not installed.
        """
        from glocal.comparison.output import write_comparison

        return write_comparison(self, Path(folder))


def compare(
    sources: Sequence[str | Path],
    *,
    reference: str | None = None,
    metrics: Sequence[str] = (),
    classes: Sequence[str] = (),
    test: Test = "wilcoxon",
    by: Literal["auto", "case"] = "auto",
    split: str = "test",
    costs: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare evaluated models on the same cases.

    Args:
        sources: Benchmark folders, run folders or evaluation folders; see
            :func:`~glocal.comparison.sources.open_sources`.
        reference: Label of the model that all others are tested against. Default: the first one named. It is not
            chosen by its score: a winner picked on these cases would be tested on the cases that made it the winner.
        metrics: Shown first; models are ranked by the first of them. Default: Dice, or accuracy.
        classes: Of a segmentation, over which means are taken. Default: the foreground.
        test: Of the differences of cases: Wilcoxon's signed-rank test, or a permutation of signs.
        by: ``"auto"``: where some cases share a group (a patient), means of groups are the units of the tests (whole
            groups those of permutations). ``"case"``: cases count as independent whatever their groups.
        split: Evaluation of run folders that is compared.
        costs: Profile models whose costs are not on disk.
        confidence: Of all intervals, in (0, 1).
        resamples: Of the bootstrap.
        seed: Of bootstrap and permutations.
        progress: Called with a word about what is going on.

    Raises:
        UserError: The evaluations cannot be found or read, were not made alike (the message says which differs in
            what), or an argument is unusable.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise UserError(f"confidence {confidence} must lie between 0 and 1 and resamples {resamples} be 1 or more")
    told = progress or (lambda _word: None)
    told("reading")
    found = open_sources(sources, split)
    if not found.cells:
        raise UserError(f"{', '.join(map(str, sources))}: nothing is finished that could be compared")
    scores = {cell: read_scores(cell.folder) for cell in found.cells}
    require_comparable(found.cells, scores)
    keys, left_out = common_keys(found, scores)
    cells = {
        label: [next(c for c in found.cells if c.label == label and (c.fold, c.repetition) == key) for key in keys]
        for label in found.labels
        if any(cell.label == label for cell in found.cells)
    }
    labels = tuple(cells)
    if reference is not None:
        lookup("no model is called {} here", reference, dict.fromkeys(labels))
    table = [[scores[cell] for cell in cells[label]] for label in labels]
    study = Study.of(labels, table, confidence=confidence, resamples=resamples, seed=seed)
    told("testing")
    chosen = _chosen(study.first, classes)
    units = _units(study, by)
    names = shown_metrics(study.first, metrics)
    base = labels.index(reference or labels[0])
    options: dict[str, Any] = {"test": test, "units": units, "bootstrap": study.bootstrap}
    measured = [study.measure(name, chosen) for name in names]
    primary = measured[0]
    results = [analyse(one, labels, base, everyone=one is primary, **options) for one in measured]
    ranked = (
        None if primary.values is None else rank_models(units.means(_common(primary.values)) * primary.facts.direction)
    )
    prices, priced = costs_of(cells, measure=costs, progress=lambda label: told(f"profiling {label}"))
    design = _design(study, cells, keys, units, test, chosen)
    notes = (*_notes(study, cells, found, units), *left_out, *_unlike(results), *priced)
    return Comparison(
        labels,
        labels[base],
        tuple(results),
        tuple(_per_class(study, names, chosen, base, options)),
        ranked,
        stability(primary.draws * primary.facts.direction),
        emptiness_of(study, names[0], chosen, base, options),
        prices,
        found.missing,
        design,
        primary,
        tuple(dict.fromkeys(notes)),
    )


def _chosen(scores: Scores, classes: Sequence[str]) -> list[int] | None:
    """Indices of the classes over which means are taken."""
    if not classes:
        return None if isinstance(scores, ClassScores) else list(range(1, len(scores.classes)))
    if isinstance(scores, ClassScores):
        raise UserError("classes are chosen for segmentations only; leave --classes out")
    for name in classes:
        if name not in scores.classes:
            raise UserError(
                f"class {name!r} is not in {', '.join(scores.classes)}; check --classes.{nearest(name, scores.classes)}"
            )
    return [scores.classes.index(name) for name in dict.fromkeys(classes)]


def _units(study: Study, by: str) -> Units:
    clusters = study.bootstrap.clusters
    if by == "auto" and study.bootstrap.num_clusters < len(clusters):
        return Units("group", clusters)
    return Units("case", np.arange(len(clusters)))


def _per_class(
    study: Study, names: Sequence[str], chosen: Sequence[int] | None, base: int, options: Mapping[str, Any]
) -> list[Result]:
    """Every metric of every class, where there are several."""
    classes = study.first.classes
    indices = range(len(classes)) if chosen is None else chosen
    if len(indices) < 2:
        return []
    if chosen is None:
        names = [name for name in names if name in _BY_CLASS]
    return [
        analyse(study.measure(name, [k]), study.labels, base, group=classes[k], **options)
        for name in names
        for k in indices
    ]


_BY_CLASS = ("precision", "recall", "specificity", "f1", "auroc", "auroc_logits", "auprc")


def _design(
    study: Study,
    cells: Mapping[str, Sequence[Cell]],
    keys: Sequence[tuple[str, int]],
    units: Units,
    test: str,
    chosen: Sequence[int] | None,
) -> dict[str, Any]:
    first, bootstrap = study.first, study.bootstrap
    of_first = next(iter(cells.values()))
    return {
        "task": "classification" if isinstance(first, ClassScores) else "segmentation",
        "classes": list(first.classes),
        "averaged": [first.classes[k] for k in (chosen if chosen is not None else range(len(first.classes)))],
        "cases": len(study.cases),
        "groups": len({group for group in study.groups if group is not None}),
        "folds": len({fold for fold, _ in keys}),
        "repetitions": len({repetition for _, repetition in keys}),
        "cells": len(keys),
        "fingerprint": of_first[0].fingerprint,
        "conventions": dict(first.conventions),
        "test": {"name": test, "units": units.name, "alpha": ALPHA, "correction": "Holm, over the models of a metric"},
        "interval": {
            "method": "bootstrap over clusters (groups, or single cases without one): studentised for means over "
            "cases, percentile otherwise",
            "clusters": bootstrap.num_clusters,
            "resamples": bootstrap.resamples,
            "confidence": bootstrap.confidence,
            "seed": bootstrap.seed,
        },
        "sources": {label: [cell.name for cell in of_model] for label, of_model in cells.items()},
    }


def _notes(study: Study, cells: Mapping[str, Sequence[Cell]], found: Sources, units: Units) -> list[str]:
    everything = [cell for of_model in cells.values() for cell in of_model]
    notes = [*found.notes, *recipe_notes(everything)]
    if len(cells) == 1:
        notes.append("one model: there is nothing to compare it with")
    absent = [label for label in found.labels if label not in cells]
    if absent:
        notes.append(f"no cell is finished of {', '.join(absent)}: not in the tables")
    strangers = [cell.name for cell in everything if cell.parts is None]
    if strangers:
        notes.append(
            f"how {', '.join(strangers[:3])}{', …' if len(strangers) > 3 else ''} was trained is not known: that data "
            "and splits are the same could not be checked, only cases, truth and conventions"
        )
    if units.name == "case" and study.bootstrap.num_clusters < len(study.cases):
        notes.append("tests count the cases of one group as independent (asked for): their p-values are too small")
    if study.bootstrap.num_clusters < _FEW:
        notes.append(
            f"independent cases or groups: only {study.bootstrap.num_clusters}; intervals are rough, and tests can "
            "show little"
        )
    for scores in (study.table[m][0] for m in range(len(study.labels))):
        notes += [note for note in scores.notes if note.startswith(("the best epoch was", "these cases were"))]
    return notes


def _common(values: FloatArray) -> FloatArray:
    """Without the cases that a model has no value for: ``(N, M)``, so that ranks are of the same cases."""
    return np.where(np.isnan(values).any(axis=1, keepdims=True), np.nan, values)


def _unlike(results: Sequence[Result]) -> list[str]:
    """Say when models have a value on different cases, because the policy for empty masks leaves some out."""
    found: dict[str, list[str]] = {}
    for result in results:
        if len({row.cases for row in result.rows}) > 1:
            counts = ", ".join(f"{row.label} {row.cases}" for row in result.rows)
            found.setdefault(counts, []).append(result.facts.label)
    return [
        f"the policy for empty masks gives models a {', '.join(names)} on different numbers of cases ({counts}): "
        "their means are of different cases, tests use those that both have; see Empty masks"
        for counts, names in found.items()
    ]


def _plain(value: Any) -> Any:
    """Plain values for JSON: NaN becomes ``None``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
