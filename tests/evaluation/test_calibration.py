"""Temperatures and reliability: what is known in closed form, what never changes, and what bad input gets."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.calibration import (
    TEMPERATURES,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    probabilities,
    reliability,
)


def drawn(cases: int = 20_000, classes: int = 4, multi_label: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits whose probabilities are true, and outcomes drawn from them."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (cases, classes))
    p = probabilities(logits, multi_label=multi_label)
    if multi_label:
        return logits, (random.random(p.shape) < p).astype(np.int64)
    return logits, (p.cumsum(axis=1) > random.random((cases, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.05, 0.4, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_known_temperature_is_found_again(temperature: float, multi_label: bool) -> None:
    logits, truth = drawn(multi_label=multi_label)
    assert fit_temperature(logits * temperature, truth, multi_label=multi_label) == pytest.approx(temperature, rel=0.03)


def test_two_classes_have_a_closed_form() -> None:
    # 3 of 4 right, always with the same margin m: softmax must say 75 %, so m / T = log 3.
    logits, truth = np.array([[5.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert fit_temperature(logits, truth) == pytest.approx(5 / math.log(3), rel=1e-5)
    assert fit_temperature(logits[:, :1], 1 - truth[:, None], multi_label=True) == pytest.approx(
        5 / math.log(3), rel=1e-5
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.booleans())
def test_no_temperature_near_it_is_better_and_no_prediction_changes(seed: int, multi_label: bool) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, random.choice([0.1, 1, 10]), (random.integers(2, 40), random.integers(2, 5)))
    truth = random.integers(0, 2, logits.shape) if multi_label else random.integers(0, logits.shape[1], len(logits))
    found = fit_temperature(logits, truth, multi_label=multi_label)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
    before, after = (probabilities(logits, t, multi_label=multi_label) for t in (1.0, found))
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert np.array_equal(before >= 0.5, after >= 0.5) or not multi_label
    if found != 1.0:  # 1 where there is no best one
        loss = {
            t: log_loss(logits, truth, t, multi_label=multi_label).mean()
            for t in (found, 1.0, found * 1.1, found / 1.1)
        }
        inside = [t for t in loss if TEMPERATURES[0] <= t <= TEMPERATURES[1]]
        assert loss[found] <= min(loss[t] for t in inside) + 1e-9


def test_where_nothing_can_be_fitted_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    logits, _ = drawn(50)
    with caplog.at_level(logging.WARNING, "glocal"):
        assert fit_temperature(logits, logits.argmax(axis=1)) == 1.0
        assert fit_temperature(logits, logits > 0, multi_label=True) == 1.0
        assert fit_temperature(-logits, logits.argmax(axis=1)) == TEMPERATURES[1]
    assert ["it stays 1" in line for line in caplog.messages] == [True, True, False]
    assert "end of its range, 100" in caplog.messages[2]
    caplog.clear()
    only_one_class = np.zeros(50, np.int64)
    assert TEMPERATURES[0] < fit_temperature(logits + np.eye(4)[0] * 2, only_one_class) < TEMPERATURES[1]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("logits", "truth", "multi_label", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), False, r"one case or more, got \(0, 3\)"),
        (np.zeros(3), np.zeros(3, int), False, r"got \(3,\)"),
        (np.array([[0, 1], [np.nan, 0]]), np.array([0, 1]), False, "validation case 1: a logit is not finite"),
        (np.zeros((2, 3)), np.array([0, 3]), False, r"in 0 … 2"),
        (np.zeros((2, 3)), np.array([0]), False, r"got \(1,\)"),
        (np.zeros((2, 3)), np.array([0, 1]), True, r"\(2, 3\) whole numbers in 0 … 1"),
    ],
)
def test_unusable_input_is_told_in_one_line(logits: Any, truth: Any, multi_label: bool, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        fit_temperature(logits, truth, multi_label=multi_label)
    assert "\n" not in str(raised.value)


def test_sure_and_wrong_costs_much_but_not_infinitely_much() -> None:
    logits = np.array([[4000.0, -4000.0]])
    assert log_loss(logits, np.array([1])) == pytest.approx(8000)
    assert log_loss(logits, np.array([[0, 1]]), multi_label=True) == pytest.approx(4000)
    assert probabilities(logits).tolist() == [[1, 0]]


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not() -> None:
    for multi_label in (False, True):
        logits, truth = drawn(multi_label=multi_label)
        errors = [
            expected_calibration_error(
                probabilities(logits * by, multi_label=multi_label), truth, multi_label=multi_label
            )
            for by in (1, 3)
        ]
        assert errors[0] < 0.012
        assert errors[1] > 0.08


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.6 twice, once right; 0.9 three times, all right.
    confidence, correct = np.array([0.6, 0.9, 0.6, 0.9, 0.9]), np.array([1, 1, 0, 1, 1])
    curve = reliability(confidence, correct, bins=10)
    assert curve.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 3, 0]
    assert curve.accuracy[[5, 8]].tolist() == [0.5, 1.0]
    assert curve.confidence[[5, 8]] == pytest.approx([0.6, 0.9])
    assert curve.error == pytest.approx(2 / 5 * 0.1 + 3 / 5 * 0.1)
    assert np.isnan(curve.accuracy[0])
    assert reliability(np.array([0.0, 1.0]), np.array([0, 1]), 4).count.tolist() == [1, 0, 0, 1]
    assert math.isnan(reliability(np.zeros(0), np.zeros(0)).error)
