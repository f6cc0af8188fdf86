"""The published evaluation of LM-Net against hand counts and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, evaluate, get_preset
from glocal.evaluation.presets import PRESETS


def published(cases: list[EvaluatedCase], classes: list[str]) -> dict[str, float]:
    facts = evaluate(cases, classes, preset="lmnet", resamples=10).summary["published"]
    return {figure["name"]: figure["value"] for figure in facts["figures"]}


def cases(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> list[EvaluatedCase]:
    return [EvaluatedCase(str(index), *pair) for index, pair in enumerate(pairs)]


def row(*pixels: int) -> NDArray[np.uint8]:
    return np.array([pixels], np.uint8)


def test_two_images_by_hand() -> None:
    found = published(cases([(row(1, 1, 0, 0), row(1, 0, 0, 0)), (row(0, 0, 0, 0), row(0, 1, 1, 0))]), ["b", "f"])
    # Pooled: 1 hit, 2 predicted, 3 true, 8 pixels, so 4 rightly left.
    assert found["Accuracy"] == 5 / 8
    assert found["Precision"] == 1 / 2
    assert found["Recall"] == 1 / 3
    assert found["Specificity"] == 4 / 5
    assert found["IoU"] == 1 / 4
    assert found["mIoU"] == pytest.approx((1 / 4 + 4 / 7) / 2)
    assert found["mDice"] == pytest.approx((2 / 5 + 8 / 11) / 2)
    assert found["RAD (pooled)"] == pytest.approx(-1 / 3)
    assert found["RAD (per image)"] == pytest.approx((1 - 1) / 2)
    assert found["Hd (skip)"] == pytest.approx(0.5)
    assert found["Hd (penalty)"] == pytest.approx((0.5 + math.hypot(1, 4)) / 2)


def test_both_masks_empty_are_a_distance_of_zero_and_an_absent_class_leaves_the_mean() -> None:
    found = published(cases([(row(0, 0), row(0, 0))]), ["b", "f"])
    assert (found["Hd (skip)"], found["Hd (penalty)"], found["RAD (per image)"]) == (0, 0, 0)
    assert (found["mDice"], found["mIoU"], found["Accuracy"]) == (1, 1, 1)
    assert (found["IoU"], found["Precision"], found["Recall"]) == (0, 0, 0)
    assert found["RAD (pooled)"] is None


def test_equal_to_torchmetrics() -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    pairs = [tuple((random.random((32, 32)) < p).astype(np.uint8) for p in (0.3, 0.4)) for _ in range(6)]
    found = published(cases(pairs), ["background", "polyp"])  # type: ignore[arg-type]
    prediction, truth = (torch.from_numpy(np.stack(masks)).long() for masks in zip(*pairs, strict=True))
    for name, function in {
        "Accuracy": classification.binary_accuracy,
        "Precision": classification.binary_precision,
        "Recall": classification.binary_recall,
        "Specificity": classification.binary_specificity,
        "IoU": classification.binary_jaccard_index,
    }.items():
        assert found[name] == pytest.approx(function(prediction, truth).item(), abs=1e-6)
    mean = classification.multiclass_jaccard_index(prediction, truth, num_classes=2, average="macro").item()
    assert found["mIoU"] == pytest.approx(mean, abs=1e-6)
    mean = classification.multiclass_f1_score(prediction, truth, num_classes=2, average="macro").item()
    assert found["mDice"] == pytest.approx(mean, abs=1e-6)
    assert found["RAD (pooled)"] == pytest.approx(found["Recall"] / found["Precision"] - 1)


def test_both_conventions_stand_side_by_side() -> None:
    pairs = [(row(1, 1, 1, 1), row(1, 1, 1, 1)), (row(1, 0, 0, 0), row(0, 1, 0, 0))]
    figures = evaluate(cases(pairs), ["b", "f"], preset="lmnet", resamples=10).summary["published"]["figures"]
    dice = next(figure for figure in figures if figure["name"] == "mDice")
    assert dice["per_image_foreground"] == 0.5
    assert dice["value"] == pytest.approx((8 / 10 + 4 / 6) / 2)


def test_a_case_at_another_resolution_is_told() -> None:
    assert get_preset("lmnet").resolution == (256, 256)
    right = np.zeros((256, 256), np.uint8)
    assert not any("resolution" in note for note in evaluate(cases([(right, right)]), "bf", preset="lmnet").notes)
    notes = evaluate(cases([(right[:9], right[:9])]), "bf", preset="lmnet").notes
    assert any("1 of 1 cases were not at 256×256" in note for note in notes)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'lm-net' is unknown; use one of .*Did you mean 'lmnet'"):
        get_preset("lm-net")
    assert all(name == preset.name for name, preset in PRESETS.items())
