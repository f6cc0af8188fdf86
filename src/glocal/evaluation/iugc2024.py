"""Segmentation and biometry as the challenges of intrapartum ultrasound evaluate them (IUGC 2024, FH-PS-AOP 2023)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from glocal.biometry import (
    METHODS,
    bland_altman,
    fh_ps_aop_score,
    measure_aop,
    segmentation_metrics,
    share_within,
    threshold_agreement,
)
from glocal.errors import UserError
from glocal.evaluation.cases import EvaluatedCase
from glocal.evaluation.preset import Figure, Preset
from glocal.evaluation.surface import FloatArray

__all__ = ["IUGC2024"]

_PENALTY = 180.0
"""Degrees that an unmeasurable prediction counts."""
_THRESHOLD = 120.0
_PARTS = {"ps": "pubic symphysis", "fh": "fetal head", "all": "both as one object"}
_OF = {
    "dice": ("DSC", "", "(2|P∩G| + 1) / (|P| + |G| + 1), mean over images; a structure lacking in the prediction is 0"),
    "asd": ("ASD", "px", "between edge pixels, either way, mean over images; lacking in the prediction: 100"),
    "hd": ("HD", "px", "Hausdorff distance of the regions, mean over images; lacking in the prediction: 100"),
}


def _measure(case: EvaluatedCase, classes: int) -> dict[str, float]:
    if classes != 3 or case.truth.ndim != 2:
        raise UserError(
            f"case {case.id!r}: preset 'iugc2024' is for frames of three classes (background, pubic symphysis, fetal "
            f"head), and these are {case.truth.ndim}-D with {classes}; leave the preset out"
        )
    values = segmentation_metrics(case.prediction, case.truth)
    for method in METHODS:
        for who, mask in (("prediction", case.prediction), ("truth", case.truth)):
            found = measure_aop(mask, method=method)
            for name in ("aop", "hsd_nearest_px", "hsd_perpendicular_px"):
                value: float | None = getattr(found, name)
                values[f"{method}_{name}_{who}"] = math.nan if value is None else value
    values["truth_lacks"] = float(2 - len(np.intersect1d(case.truth, (1, 2))))
    return values


def _figures(confusion: NDArray[np.int64], cases: Mapping[str, FloatArray]) -> list[Figure]:
    if confusion[1].sum() > confusion[2].sum():
        raise UserError(
            "preset 'iugc2024': class 1 covers more pixels than class 2, but it must be the pubic symphysis and class "
            "2 the fetal head; give the classes in this order (classes.txt)"
        )
    figures = [*_masks(cases), *_angles(cases), *_distances(cases), *_ellipse_agreement(cases)]
    return [*figures, _score(cases)]


def _masks(cases: Mapping[str, FloatArray]) -> Iterator[Figure]:
    for metric, (label, unit, definition) in _OF.items():
        for part, name in _PARTS.items():
            yield _mean(f"{label} ({part.upper() if part != 'all' else part})", cases[f"{metric}_{part}"], unit,
                        f"{name}: {definition}")  # fmt: skip
    lacking = float(cases["truth_lacks"].sum())
    n = cases["truth_lacks"].size
    yield Figure("Structures absent from the truth", lacking, "", "counted; ASD and HD then undefined or 100", n)


def _angles(cases: Mapping[str, FloatArray]) -> Iterator[Figure]:
    for method in METHODS:
        ours, theirs = cases[f"{method}_aop_prediction"], cases[f"{method}_aop_truth"]
        failed = np.isnan(ours) & ~np.isnan(theirs)
        if method == "fh_ps_aop":
            text = "|difference of AoP|, an unmeasurable mask counting as AoP 0, mean over images"
            yield _mean(f"ΔAoP ({method})", np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs)), "°", text)
        else:
            text = "|difference of AoP|, mean over images in which both masks were measurable"
            yield _mean(f"ΔAoP ({method})", np.abs(ours - theirs), "°", text)
            text = f"as above, an unmeasurable prediction counting as {_PENALTY:g}°"
            delta = np.where(failed, _PENALTY, np.abs(ours - theirs))
            yield _mean(f"ΔAoP ({method}, failures penalised)", delta, "°", text)
        text = "predictions without an AoP where the truth has one"
        yield Figure(f"Failures ({method})", float(failed.sum()), "", text, ours.size, int(np.isnan(theirs).sum()))


def _distances(cases: Mapping[str, FloatArray]) -> Iterator[Figure]:
    kinds = {"nearest": "to the nearest point of the head", "perpendicular": "along the infrapubic line"}
    for method, kind in (("iugc2024", "nearest"), ("ellipse", "nearest"), ("ellipse", "perpendicular")):
        ours, theirs = (cases[f"{method}_hsd_{kind}_px_{who}"] for who in ("prediction", "truth"))
        text = f"|difference of HSD {kinds[kind]}|, mean over images in which both were measurable"
        yield _mean(f"ΔHSD {kind} ({method})", np.abs(ours - theirs), "px", text)


def _ellipse_agreement(cases: Mapping[str, FloatArray]) -> Iterator[Figure]:
    ours, theirs = cases["ellipse_aop_prediction"], cases["ellipse_aop_truth"]
    agreement = bland_altman(ours, theirs)
    n, left = agreement.n, ours.size - agreement.n
    for name, value, text in (
        ("bias", agreement.bias, "mean of predicted less true AoP"),
        ("lower limit", agreement.low, "bias − 1.96 standard deviations"),
        ("upper limit", agreement.high, "bias + 1.96 standard deviations"),
    ):
        yield Figure(f"Bland–Altman {name} (ellipse)", value, "°", text, n, left)
    for limit in (5, 10):
        text = f"share of measurable images whose AoP differs by at most {limit}°"
        yield Figure(f"Within {limit}° (ellipse)", share_within(ours, theirs, limit), "", text, n, left)
    sides = threshold_agreement(ours, theirs, _THRESHOLD)
    text = f"share of measurable images with both AoP on one side of {_THRESHOLD:g}°"
    yield Figure(f"Agreement at {_THRESHOLD:g}° (ellipse)", sides.agreement, "", text, n, left)
    positives, negatives = sides.true_positive + sides.false_negative, sides.true_negative + sides.false_positive
    text = f"of true AoP ≥ {_THRESHOLD:g}°, share predicted so"
    yield Figure(f"Sensitivity at {_THRESHOLD:g}° (ellipse)", sides.sensitivity, "", text, positives)
    text = f"of true AoP < {_THRESHOLD:g}°, share predicted so"
    yield Figure(f"Specificity at {_THRESHOLD:g}° (ellipse)", sides.specificity, "", text, negatives)
    text = "harmonic mean of precision and sensitivity"
    yield Figure(f"F1 at {_THRESHOLD:g}° (ellipse)", sides.f1, "", text, n, left)


def _score(cases: Mapping[str, FloatArray]) -> Figure:
    columns = {metric: [cases[f"{metric}_{part}"] for part in _PARTS] for metric in _OF}
    ours, theirs = (np.nan_to_num(cases[f"fh_ps_aop_aop_{who}"]) for who in ("prediction", "truth"))
    delta = float(np.abs(ours - theirs).mean())
    dice, hd, asd = (_nanmean(np.concatenate(columns[metric])) for metric in ("dice", "hd", "asd"))
    score = fh_ps_aop_score(dice, hd, asd, delta)
    text = (
        "0.25 DSC + 0.125 (1 − HD/100) + 0.125 (1 − ASD/100) + 0.5 (1 − ΔAoP/180), means over images and over PS, FH "
        "and both, ΔAoP by fh_ps_aop"
    )
    return Figure("FH-PS-AOP score", score, "", text, ours.size)


def _mean(name: str, values: FloatArray, unit: str, definition: str) -> Figure:
    known = int(np.count_nonzero(~np.isnan(values)))
    return Figure(name, _nanmean(values), unit, definition, known, values.size - known)


def _nanmean(values: FloatArray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing known
        return float(np.nanmean(values))


IUGC2024 = Preset(
    "iugc2024",
    "IUGC 2024 and FH-PS-AOP 2023 challenges: their published evaluators; ours (ellipse) beside",
    None,
    _measure,
    _figures,
    (
        "Three methods of measuring stand side by side, named in brackets: never compare figures of different ones. "
        "'ellipse' is the recommended one; the published evaluators measure the diagonal of the symphysis (iugc2024) "
        "or fold angles above 180° (both).",
        "HSD 'nearest' is what the IUGC 2024 evaluator computes; clinicians measure 'perpendicular'.",
        "The challenges evaluated at 512×512 (2024) and 256×256 (2023) pixels; distances in pixels compare at one size "
        "only. Here masks are measured at the size of their images, in pixels whatever the spacing.",
        "The symphysis is taken to be at the upper left.",
        "The ranking formula of IUGC 2024 could not be established; the score is that of FH-PS-AOP 2023.",
    ),
)
"""``glocal evaluate RUN --preset iugc2024``."""
