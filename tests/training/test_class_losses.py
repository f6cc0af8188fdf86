"""Losses of classifiers against torch, closed forms, and each other."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from glocal.errors import UserError
from glocal.training.losses import LossConfig, LossName, balanced_weights, make_classification_loss

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([0, 1, 2, 3, 0, 0, 2])
PRESENT = (torch.rand(7, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def loss(name: LossName = "cross_entropy", *, multi_label: bool = False, **options: object) -> torch.nn.Module:
    config = LossConfig(name, **options)  # type: ignore[arg-type]
    return make_classification_loss(config, 4, [3, 1, 2, 1], 7, multi_label)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 0.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(weights: list[float] | None, smoothing: float) -> None:
    ours = loss(weights=weights, label_smoothing=smoothing)(LOGITS, LABELS)
    weight = None if weights is None else torch.tensor(weights)
    theirs = F.cross_entropy(LOGITS, LABELS, weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)


def test_shares_are_between_the_classes_they_mix() -> None:
    one, other = F.one_hot(LABELS, 4).float(), F.one_hot(LABELS.flip(0), 4).float()
    mixed = loss()(LOGITS, 0.3 * one + 0.7 * other)
    torch.testing.assert_close(mixed, 0.3 * loss()(LOGITS, LABELS) + 0.7 * loss()(LOGITS, LABELS.flip(0)))


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
def test_binary_cross_entropy_is_torchs(weights: list[float] | None) -> None:
    ours = loss(weights=weights, multi_label=True)(LOGITS, PRESENT)
    factor = None if weights is None else torch.tensor(weights)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(LOGITS, PRESENT, pos_weight=factor))


def test_focal_in_closed_form() -> None:
    even = torch.zeros(1, 4)  # p = 1/4, and 1/2 of each class by itself
    assert float(loss("focal", gamma=2.0)(even, torch.tensor([1]))) == pytest.approx((3 / 4) ** 2 * math.log(4))
    truth = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert float(loss("focal", gamma=2.0, multi_label=True)(even, truth)) == pytest.approx(0.25 * math.log(2))


@pytest.mark.parametrize("multi_label", [False, True])
def test_focal_without_focus_is_cross_entropy(multi_label: bool) -> None:
    truth = PRESENT if multi_label else LABELS
    focal, plain = loss("focal", gamma=0.0, multi_label=multi_label), loss(multi_label=multi_label)
    torch.testing.assert_close(focal(LOGITS, truth), plain(LOGITS, truth))


def test_balanced_weights_make_classes_count_alike() -> None:
    counts = [3, 1, 2, 1, 0]
    weights = balanced_weights(counts)
    assert [n * w for n, w in zip(counts, weights, strict=True)] == pytest.approx([1.4, 1.4, 1.4, 1.4, 0])
    ours, theirs = loss(weights="balanced"), loss(weights=weights[:4])
    torch.testing.assert_close(ours(LOGITS, LABELS), theirs(LOGITS, LABELS))
    absent_over_present = loss(weights=[4 / 3, 6.0, 5 / 2, 6.0], multi_label=True)
    ours = loss(weights="balanced", multi_label=True)
    torch.testing.assert_close(ours(LOGITS, PRESENT), absent_over_present(LOGITS, PRESENT))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", ["cross_entropy", "class_balanced", "focal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_far_logits_stay_finite_with_gradients(name: LossName, multi_label: bool, dtype: torch.dtype) -> None:
    logits = (100 * LOGITS).to(dtype).requires_grad_()
    value = loss(name, multi_label=multi_label)(logits, PRESENT if multi_label else LABELS)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("labels", [torch.zeros(6), torch.zeros(7, 3), torch.zeros(7, 4, 1)])
def test_labels_that_do_not_go_with_the_logits_are_named(labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"logits \(N, 4\) and labels"):
        loss()(LOGITS, labels)


def test_not_one_weight_a_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"loss\.weights has 2 values; the data has 4 classes"):
        loss(weights=[1.0, 2.0])
