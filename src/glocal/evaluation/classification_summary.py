"""The content of ``summary.json`` of a classifier: numbers with intervals, calibration, conventions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.calibration import BINS, Reliability, reliability
from glocal.evaluation.classification_metrics import (
    BY_CLASS,
    CALIBRATION,
    OVERALL,
    SCORES,
    Sample,
    calibration,
    intervals,
    measure,
)
from glocal.evaluation.statistics import finite
from glocal.evaluation.surface import FloatArray

if TYPE_CHECKING:
    from glocal.evaluation.classification import ClassificationEvaluation

__all__ = ["CLASSIFICATION_FORMAT", "summarise_classification"]

CLASSIFICATION_FORMAT = 1

Found = dict[tuple[str, str], FloatArray]


def summarise_classification(evaluation: ClassificationEvaluation) -> dict[str, Any]:
    """Return the summary of ``evaluation``; ``docs/evaluation.md`` explains every key."""
    sample = evaluation.sample
    found = {key: values[0] for key, values in measure(sample, np.ones((len(sample.truth), 1))).items()}
    ends = intervals(sample, evaluation.bootstrap)
    groups = {case.group for case in evaluation.cases if case.group is not None}
    return {
        "format": CLASSIFICATION_FORMAT,
        "task": "classification",
        "multi_label": sample.multi_label,
        "cases": len(evaluation.cases),
        "groups": len(groups),
        "classes": list(evaluation.classes),
        "temperature": sample.temperature,
        "conventions": _conventions(evaluation),
        "overall": _block("overall", found, ends),
        "macro": _class_means("macro", found, ends),
        "weighted": _class_means("weighted", found, ends),
        "micro": _block("micro", found, ends) if sample.multi_label else None,
        "per_class": _per_class(evaluation, found, ends),
        "calibration": _calibration(sample),
        "confusion": evaluation.confusion.tolist(),
        "confusion_rows": _shares(evaluation),
        "published": _published(evaluation, found),
        "notes": [*evaluation.notes, *_notes(evaluation, found)],
    }


def _conventions(evaluation: ClassificationEvaluation) -> dict[str, Any]:
    sample, bootstrap = evaluation.sample, evaluation.bootstrap
    several = sample.multi_label
    shown = [score for score in (*OVERALL, *BY_CLASS) if score.labels in ("any", "many" if several else "one")]
    return {
        "prediction": "every class of probability 0.5 or more"
        if several
        else "the class of the highest probability, the first of equals",
        "probability": f"{'sigmoid' if several else 'softmax'}(logits / {sample.temperature:g})",
        "metrics": {score.name: score.formula for score in shown},
        "undefined": "null: precision of a class never predicted, recall and AUPRC of a class without cases, "
        "specificity of a class that all cases are of, F1 of a class neither there nor predicted, AUROC without both "
        "kinds of cases" + ("" if several else ", κ and MCC where truth or prediction is one class only"),
        "macro": "mean over the classes where the metric is defined; n_undefined classes are left out",
        "weighted": "the same mean, weighted by the true cases of each class",
        "micro": "of all pairs of case and label pooled" if several else None,
        "ece": f"{BINS} bins of equal width; of "
        + ("the probability of each label" if several else "the predicted class and its probability"),
        "interval": {
            "of": "each number",
            "method": "percentile bootstrap over clusters (groups, or single cases without one); of the ECE moved by "
            "the bootstrap's estimate of its bias",
            "clusters": bootstrap.num_clusters,
            "resamples": bootstrap.resamples,
            "confidence": bootstrap.confidence,
            "seed": bootstrap.seed,
        },
    }


def _number(value: Any, ends: FloatArray) -> dict[str, Any]:
    return {"value": finite(value), "ci": [finite(end) for end in ends]}


def _block(block: str, found: Found, ends: Found) -> dict[str, Any]:
    names = [score.name for score in (*OVERALL, *BY_CLASS) if (block, score.name) in found]
    return {name: _number(found[block, name], ends[block, name]) for name in names}


def _class_means(block: str, found: Found, ends: Found) -> dict[str, Any]:
    facts = _block(block, found, ends)
    for name, entry in facts.items():
        undefined = int(np.isnan(found["per_class", name]).sum())
        entry |= {"n_classes": found["per_class", name].size - undefined, "n_undefined": undefined}
    return facts


def _per_class(evaluation: ClassificationEvaluation, found: Found, ends: Found) -> dict[str, Any]:
    sample = evaluation.sample
    names = [score.name for score in BY_CLASS if ("per_class", score.name) in found]
    facts = {}
    for k, label in enumerate(evaluation.classes):
        true, predicted, p = sample.truth[:, k], sample.predicted[:, k], sample.probability[:, k]
        facts[label] = {
            "n_truth": int(true.sum()),
            "n_prediction": int(predicted.sum()),
            "n_both": int((true & predicted).sum()),
            "metrics": {name: _number(found["per_class", name][k], ends["per_class", name][k]) for name in names},
            "calibration": {
                "mean_probability": float(p.mean()),
                "frequency": float(true.mean()),
                "ece": finite(reliability(p, true).error),
            },
        }
    return facts


def _calibration(sample: Sample) -> dict[str, Any]:
    """Calibration of the network as it is and, where a temperature was fitted, after it."""
    states = {"uncalibrated": sample.at(1.0)}
    if sample.temperature != 1.0:
        states["calibrated"] = sample
    facts = {}
    for name, state in states.items():
        numbers = calibration(state, np.ones((len(state.truth), 1)))
        facts[name] = {
            "temperature": state.temperature,
            **{metric: finite(numbers[metric][0]) for metric in CALIBRATION},
            "reliability": _curve(reliability(state.confidence, state.confirmed)),
        }
    return facts


def _curve(curve: Reliability) -> dict[str, Any]:
    return {
        "edges": curve.edges.round(12).tolist(),
        "count": curve.count.tolist(),
        "confidence": [finite(value) for value in curve.confidence],
        "frequency": [finite(value) for value in curve.accuracy],
    }


def _shares(evaluation: ClassificationEvaluation) -> list[list[float | None]] | None:
    """The confusion matrix with each row divided by its sum; ``None`` throughout for a class without cases."""
    if evaluation.sample.multi_label:
        return None
    rows = evaluation.confusion
    return [[float(count / row.sum()) if row.sum() else None for count in row] for row in rows]


def _published(evaluation: ClassificationEvaluation, found: Found) -> dict[str, Any] | None:
    """The preset's figures, each beside our number that measures the same thing."""
    preset = evaluation.preset
    if preset is None:
        return None
    figures = []
    for figure in preset.figures(evaluation.sample):
        block, name = preset.beside[figure.name]
        entry = dataclasses.asdict(figure) | {"value": finite(figure.value)}
        figures.append(entry | {"ours": finite(found[block, name]), "ours_is": f"{block} {SCORES[name].label}"})
    return {"preset": preset.name, "source": preset.source, "figures": figures, "remarks": list(preset.remarks)}


def _notes(evaluation: ClassificationEvaluation, found: Found) -> list[str]:
    sample, names = evaluation.sample, evaluation.classes
    absent = [name for name, there in zip(names, np.any(sample.truth, axis=0), strict=True) if not there]
    always = [name for name, there in zip(names, np.all(sample.truth, axis=0), strict=True) if there]
    silent = [name for name, said in zip(names, np.any(sample.predicted, axis=0), strict=True) if not said]
    notes = []
    if absent:
        notes.append(
            f"no case is of {_listed(absent)}: recall, AUROC and AUPRC are undefined there and left out of means"
        )
    if always:
        notes.append(
            f"every case is of {_listed(always)}: AUROC and specificity are undefined there and left out of means"
        )
    if silent:
        notes.append(
            f"never predicted: {_listed(silent)}; precision is undefined and left out of means, which flatters"
        )
    clusters = evaluation.bootstrap.num_clusters
    if clusters == 1:
        notes.append("one independent case or group: no intervals")
    elif clusters < 10:
        notes.append(f"only {clusters} independent cases or groups: the intervals are rough, too narrow on average")
    return notes


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
