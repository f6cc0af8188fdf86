"""Metrics of pixel counts, and what a policy makes of an empty mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.cases import EvaluatedCase, measure_case
from glocal.evaluation.metrics import METRIC_NAMES, METRICS, OVERLAP_METRICS, confusion_matrix, overlap_metrics
from glocal.evaluation.policy import POLICIES, Empty, get_policy

EMPTY, FULL = np.zeros((30, 40), np.uint8), np.ones((30, 40), np.uint8)
SOME = EMPTY.copy()
SOME[5:10, 5:15] = 1


def values(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], policy: str) -> dict[str, float]:
    result, _ = measure_case(EvaluatedCase("a", prediction, truth), 2, get_policy(policy), 2.0)
    return dict(zip(METRIC_NAMES, result.values[1].tolist(), strict=True))


def test_two_by_two_by_hand() -> None:
    found = overlap_metrics(np.array([6, 8, 9]), 100)  # 6 right, 2 too many, 3 missed, 89 rightly left
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            "dice": 12 / 17,
            "iou": 6 / 11,
            "precision": 6 / 8,
            "recall": 6 / 9,
            "specificity": 89 / 91,
            "accuracy": 95 / 100,
            "rad": -1 / 9,
        }
    )


def test_discs_overlap_as_their_areas() -> None:
    y, x = np.mgrid[:301, :301]
    small, large = (((y - 150) ** 2 + (x - 150) ** 2 <= r * r).astype(np.uint8) for r in (60, 90))
    found = values(large, small, "skip")
    assert found["dice"] == pytest.approx(2 * 60**2 / (60**2 + 90**2), rel=2e-3)
    assert found["iou"] == pytest.approx(found["precision"], rel=1e-12)
    assert found["iou"] == pytest.approx((60 / 90) ** 2, rel=2e-3)
    assert found["rad"] == pytest.approx((90 / 60) ** 2 - 1, rel=4e-3)
    assert found["recall"] == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_identities_between_metrics_and_under_exchange(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    prediction, truth = random.integers(0, classes, (2, 6, 5))
    forth, back = confusion_matrix(prediction, truth, classes), confusion_matrix(truth, prediction, classes)
    assert np.array_equal(forth, back.T)
    assert forth.sum() == truth.size
    order = random.permutation(truth.size)
    shuffled = confusion_matrix(prediction.ravel()[order], truth.ravel()[order], classes)
    assert np.array_equal(shuffled, forth)
    counts = np.stack([np.diag(forth), forth.sum(axis=0), forth.sum(axis=1)], axis=1)
    there, again = overlap_metrics(counts, truth.size), overlap_metrics(counts[:, [0, 2, 1]], truth.size)
    for name in ("dice", "iou", "accuracy"):
        assert there[name] == pytest.approx(again[name], nan_ok=True)
    assert there["precision"] == pytest.approx(again["recall"], nan_ok=True)
    assert there["dice"] == pytest.approx(2 * there["iou"] / (1 + there["iou"]), nan_ok=True)
    defined = ~np.isnan(there["rad"]) & (there["precision"] > 0)
    recall, precision = there["recall"][defined], there["precision"][defined]
    assert there["rad"][defined] == pytest.approx(recall / precision - 1)


def test_confusion_counts_more_pixels_than_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, truth = np.random.default_rng(0).integers(0, 3, (2, 50, 41)).astype(np.uint8)
    whole = confusion_matrix(prediction, truth, 3)
    monkeypatch.setattr("glocal.evaluation.metrics._CHUNK", 7)
    assert np.array_equal(confusion_matrix(prediction.T, truth.T, 3), whole)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_perfect_prediction_has_the_best_values_under_every_policy(policy: str) -> None:
    found = values(SOME, SOME, policy)
    assert found == {metric.name: metric.best for metric in METRICS}


DIAGONAL = math.hypot(30, 40)
NAN = math.nan
TABLE = {  # dice, precision, recall, hd95, nsd, rad
    ("penalty", "both"): (NAN, NAN, NAN, NAN, NAN, NAN),
    ("penalty", "truth"): (0, 0, 0, DIAGONAL, 0, NAN),
    ("penalty", "prediction"): (0, 0, 0, DIAGONAL, 0, -1),
    ("zero_one", "both"): (1, 1, 1, 0, 1, 0),
    ("zero_one", "truth"): (0, 0, 0, DIAGONAL, 0, NAN),
    ("zero_one", "prediction"): (0, 0, 0, DIAGONAL, 0, -1),
    ("skip", "both"): (NAN, NAN, NAN, NAN, NAN, NAN),
    ("skip", "truth"): (0, 0, NAN, NAN, 0, NAN),
    ("skip", "prediction"): (0, NAN, 0, NAN, 0, -1),
}


@pytest.mark.parametrize(("policy", "empty"), TABLE)
def test_empty_masks_follow_the_documented_table(policy: str, empty: str) -> None:
    prediction, truth = {"both": (EMPTY, EMPTY), "truth": (SOME, EMPTY), "prediction": (EMPTY, SOME)}[empty]
    found = values(prediction, truth, policy)
    got = [found[name] for name in ("dice", "precision", "recall", "hd95", "nsd", "rad")]
    assert got == pytest.approx(list(TABLE[policy, empty]), nan_ok=True)
    assert found["accuracy"] == pytest.approx(1 - np.mean(prediction != truth))


def test_the_penalty_is_in_the_unit_of_the_spacing() -> None:
    case = EvaluatedCase("a", EMPTY, SOME, spacing=(2.0, 0.5))
    result, _ = measure_case(case, 2, get_policy("penalty"), 2.0, (2.0, 0.5))
    assert result.values[1, METRIC_NAMES.index("hd")] == pytest.approx(math.hypot(60, 20))
    assert result.filled[1, METRIC_NAMES.index("hd")]
    assert not result.filled[1, METRIC_NAMES.index("dice")]


@pytest.mark.parametrize("policy", POLICIES)
def test_specificity_without_negatives_is_left_out(policy: str) -> None:
    for prediction in (FULL, EMPTY):
        assert math.isnan(values(prediction, FULL, policy)["specificity"])


def test_surfaces_of_the_background_are_not_measured() -> None:
    result, _ = measure_case(EvaluatedCase("a", SOME, SOME), 2, get_policy("zero_one"), 2.0)
    background = dict(zip(METRIC_NAMES, result.values[0].tolist(), strict=True))
    assert all(math.isnan(background[name]) != (name in OVERLAP_METRICS) for name in METRIC_NAMES)


def test_states_and_names() -> None:
    assert [Empty.of(*counts).value for counts in ((1, 1), (0, 0), (1, 0), (0, 1))] == [
        "",
        "both",
        "truth",
        "prediction",
    ]
    with pytest.raises(UserError, match=r"'penalti' .*Did you mean 'penalty'"):
        get_policy("penalti")
