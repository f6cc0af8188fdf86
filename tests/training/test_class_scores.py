"""Scores of a classifier against scikit-free closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from glocal.training.scores import SCORES, SHOWN, class_scores

TRUTH = torch.tensor([0, 0, 0, 0, 1, 1])
SAID = torch.tensor([0, 0, 0, 1, 1, 0])


def test_one_class_an_image() -> None:
    found = class_scores(torch.nn.functional.one_hot(SAID, 2).double(), TRUTH)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.macro_f1 == pytest.approx((2 * 3 / 8 + 2 * 1 / 4) / 2)
    assert found.auroc == pytest.approx((3 / 4 + 1 / 2) / 2)  # ties count half


def test_right_order_is_an_area_of_one_whatever_the_accuracy() -> None:
    logits = torch.stack([torch.zeros(6), torch.arange(6.0) - 10], dim=1)
    found = class_scores(logits, TRUTH)
    assert (found.auroc, found.accuracy, found.balanced_accuracy) == (1.0, pytest.approx(4 / 6), 0.5)
    assert class_scores(-logits, TRUTH).auroc == 0.0


def test_several_classes_count_each_by_itself() -> None:
    truth = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    logits = torch.tensor([[1.0, -1, 2], [-1, -1, -1], [1, 1, -2], [1, -1, -3]])
    found = class_scores(logits, truth)
    assert found.accuracy == pytest.approx(9 / 12)
    assert found.balanced_accuracy == pytest.approx(((1 + 1 / 2) / 2 + (1 / 2 + 1) / 2) / 2)
    assert found.macro_f1 == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)
    assert found.auroc == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_that_is_not_there_is_left_out_and_nothing_is_nan() -> None:
    logits = torch.eye(3)[torch.tensor([0, 1, 0])].double()
    found = class_scores(logits, torch.tensor([0, 1, 0]))
    assert vars(found) == {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0, "auroc": 1.0}
    lonely = class_scores(logits, torch.tensor([0, 0, 0]))
    assert lonely.accuracy == pytest.approx(2 / 3)
    assert math.isnan(lonely.auroc)
    assert math.isnan(class_scores(logits, torch.zeros(3, 3)).macro_f1)


def test_columns_are_the_scores() -> None:
    names = tuple(vars(class_scores(torch.eye(2), torch.tensor([0, 1]))))
    assert names == SCORES["classification"]
    for task, shown in SHOWN.items():
        assert set(shown.values()) <= set(SCORES[task])


def test_an_area_is_as_exact_as_the_others_and_logit_0_is_a_yes() -> None:
    logits = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [2.0, -1.0], [1.0, 3.0]])
    truth = torch.tensor([[1, 0], [0, 1], [0, 0], [1, 0]])
    found = class_scores(logits, truth)
    assert found.auroc == (2 / 4 + 1 / 3) / 2
    assert found.accuracy == 5 / 8
