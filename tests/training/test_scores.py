"""Validation scores on label maps whose overlap is known."""

from __future__ import annotations

import math

import pytest
import torch

from glocal.training.scores import confusion, scores


def labels(*rows: str) -> torch.Tensor:
    return torch.tensor([[int(c) for c in row] for row in rows], dtype=torch.uint8)[:, None, :]


def test_counts_by_image_truth_and_prediction() -> None:
    counts = confusion(labels("0011", "2222"), labels("0111", "2220"), 3)
    assert counts.shape == (2, 3, 3)
    assert counts[0].tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert counts[1].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 3]]


def test_pooled_and_per_image_means() -> None:
    result = scores(confusion(labels("0011", "0001"), labels("0111", "0000"), 2))
    background, foreground = 2 * 4 / (5 + 5), 2 * 2 / (3 + 3)
    assert result.mdice == pytest.approx((background + foreground) / 2)
    assert result.foreground_iou == pytest.approx(2 / 4)
    assert result.image_dice == pytest.approx((2 * 2 / 5 + 0) / 2)


def test_perfect_is_one_and_disjoint_is_zero() -> None:
    truth = labels("0012", "0000")
    assert vars(scores(confusion(truth, truth, 3))) == {"mdice": 1.0, "foreground_iou": 1.0, "image_dice": 1.0}
    assert scores(confusion(1 - labels("01", "10"), labels("01", "10"), 2)).mdice == 0.0


def test_classes_that_do_not_occur_are_left_out() -> None:
    empty = scores(confusion(labels("0000"), labels("0000"), 3))
    assert empty.mdice == 1.0
    assert math.isnan(empty.foreground_iou)
    assert math.isnan(empty.image_dice)
    assert scores(confusion(labels("0011", "0000"), labels("0011", "0000"), 3)).image_dice == 1.0


def test_order_of_images_does_not_matter() -> None:
    prediction, truth = torch.randint(0, 4, (2, 5, 9, 9), generator=torch.Generator().manual_seed(0))
    shuffled = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    one = scores(confusion(prediction, truth, 4))
    other = scores(confusion(prediction[shuffled], truth[shuffled], 4))
    assert vars(one) == pytest.approx(vars(other))
