"""Losses: published check values, closed forms, and what every loss must do."""

from __future__ import annotations

import math
import zlib
from typing import get_args

import numpy as np
import pytest
import torch

from glocal.errors import UserError
from glocal.training.losses import LossConfig, LossName, effective_number_weights, make_loss, resolve_loss

NAMES = [name for name in get_args(LossName) if name != "auto"]


def golden_image(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The splitmix64 stream of the golden cases: float32 in [-1, 1), a function of the name."""
    seed = np.uint64(zlib.crc32(f"input:{name}".encode()))
    with np.errstate(over="ignore"):
        z = (np.arange(math.prod(shape), dtype=np.uint64) + (seed << np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return torch.from_numpy((2.0 * unit - 1.0).astype(np.float32).reshape(shape))


@pytest.fixture
def published() -> tuple[torch.Tensor, torch.Tensor]:
    logits = 3 * golden_image("lmnet_loss_logits", (2, 2, 8, 8))
    labels = (golden_image("lmnet_loss_labels", (2, 8, 8)) > 0.3).to(torch.uint8)
    assert int(labels.sum()) == 39
    return logits, labels


def make(name: str, classes: int = 2, **options: object) -> torch.nn.Module:
    return make_loss(LossConfig(name, **options), classes, class_pixels=[900] + [100] * (classes - 1))  # type: ignore[arg-type]


def test_lmnet_loss_has_the_published_value(published: tuple[torch.Tensor, torch.Tensor]) -> None:
    total = make("lmnet")(*published)
    cross_entropy = make("cross_entropy", weights=[1, 4], label_smoothing=0.001)(*published)
    assert cross_entropy.item() == pytest.approx(1.332608, abs=2e-6)
    assert (total - cross_entropy).item() == pytest.approx(1.394467, abs=2e-6)
    assert total.item() == pytest.approx(2.727075, abs=3e-6)


def test_lmnet_dice_term_without_weights(published: tuple[torch.Tensor, torch.Tensor]) -> None:
    plain = make("lmnet", weights=[1, 1])(*published) - make("cross_entropy", label_smoothing=0.001)(*published)
    assert plain.item() == pytest.approx(0.487982, abs=2e-6)


def test_effective_numbers_give_the_weights_of_the_paper() -> None:
    assert effective_number_weights([900, 100], 0.9999) == pytest.approx([0.207, 1.793], abs=5e-4)
    assert effective_number_weights([5, 500], 0.0) == [1.0, 1.0]
    assert effective_number_weights([10_000_000, 1_000_000], 0.9999) == pytest.approx([1.0, 1.0], abs=1e-3)
    assert effective_number_weights([10, 0, 10], 0.9)[1] == 0.0


def test_class_balanced_is_cross_entropy_with_these_weights(published: tuple[torch.Tensor, torch.Tensor]) -> None:
    weights = effective_number_weights([900, 100], 0.9999)
    expected = make("cross_entropy", weights=weights)(*published)
    assert make("class_balanced")(*published).item() == pytest.approx(expected.item(), rel=1e-6)


def test_focal_with_gamma_zero_is_cross_entropy_over_classes(published: tuple[torch.Tensor, torch.Tensor]) -> None:
    # MONAI averages over classes as well: K times smaller than the cross-entropy
    expected = make("cross_entropy")(*published) / 2
    assert make("focal", gamma=0.0)(*published).item() == pytest.approx(expected.item(), rel=1e-5)


def test_tversky_with_equal_halves_is_dice_of_probabilities(published: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = published
    p = logits.softmax(1)
    t = torch.nn.functional.one_hot(labels.long(), 2).permute(0, 3, 1, 2)
    dice = 2 * (p * t).sum((0, 2, 3)) / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)))
    value = make("tversky", false_positives=0.5, false_negatives=0.5)(*published)
    assert value.item() == pytest.approx((1 - dice).mean().item(), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_prefers_the_truth_and_has_gradients(name: str, classes: int) -> None:
    labels = torch.zeros(2, 16, 16, dtype=torch.uint8)
    for k in range(1, classes):
        labels[:, 3 * k : 3 * k + 3, 4:12] = k
    truth = 8.0 * torch.nn.functional.one_hot(labels.long(), classes).permute(0, 3, 1, 2)
    loss = make(name, classes)
    wrong = truth.roll(1, dims=1).clone().requires_grad_()
    assert loss(truth, labels) < loss(wrong, labels)
    loss(wrong, labels).backward()
    assert wrong.grad is not None
    assert wrong.grad.isfinite().all()
    assert wrong.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    labels = torch.zeros(1, 256, 256, dtype=torch.uint8)
    labels[:, 64:128, 64:128] = 1
    logits = torch.randn(1, 2, 256, 256, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = make(name)(logits, labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(make(name)(logits.float(), labels).item(), rel=1e-6)


def test_boundary_loss_grows_with_the_distance_of_the_error() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    labels[:, 4:12, 4:12] = 1
    boundary = make("boundary", boundary_weight=1.0)
    plain = make("dice_ce")

    def with_spot(row: int) -> torch.Tensor:
        prediction = labels.clone()
        prediction[:, row : row + 2, 14:16] = 1
        return 9.0 * torch.nn.functional.one_hot(prediction.long(), 2).permute(0, 3, 1, 2).float()

    near, far = with_spot(10), with_spot(28)
    assert plain(near, labels).item() == pytest.approx(plain(far, labels).item(), rel=1e-5)
    assert boundary(far, labels) > boundary(near, labels)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LossConfig("dice_ce", gamma=2.0), r"loss\.gamma has no effect on the loss 'dice_ce'"),
        (LossConfig("class_balanced", weights=[1, 2]), r"loss\.weights has no effect"),
        (LossConfig("lmnet", weights=[1, 2, 3]), "3 values; the data has 2 classes"),
        (LossConfig("cross_entropy", label_smoothing=1.0), "below 1"),
        (LossConfig("class_balanced", beta=1.0), "below 1"),
        (LossConfig("cross_entropy", weights=[0, 0]), "not all 0"),
        (LossConfig("tversky", false_positives=-1), "negative"),
        (LossConfig("hinge"), "choose from"),  # type: ignore[arg-type]
    ],
)
def test_options_that_do_not_fit_are_refused(config: LossConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_loss(config, 2, class_pixels=[1, 1])


def test_resolving_writes_the_defaults_out_and_is_idempotent() -> None:
    resolved = resolve_loss(LossConfig("lmnet"))
    assert resolved.label_smoothing == 0.001
    assert resolve_loss(resolved) == resolved


def test_wrong_shapes_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3, 8, 8\) and \(2, 8, 8\)"):
        make("cross_entropy")(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8))
