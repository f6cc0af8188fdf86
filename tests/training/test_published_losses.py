"""The losses of HiPerformer and DSSAU-Net against the numbers of their specifications."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from glocal.training.losses import LossConfig, make_loss


def golden_values() -> ModuleType:
    path = Path(__file__).parents[1] / "golden/golden_values.py"
    spec = importlib.util.spec_from_file_location("golden_values", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("classes", "entropy", "total"), [(4, 2.2130706, 1.4385790), (3, 2.2085018, 1.4686309)], ids=["all", "one absent"]
)
def test_hiperformer_by_its_worked_numbers(classes: int, entropy: float, total: float) -> None:
    logits = torch.as_tensor(3 * golden_values().image("hiperformer_loss", (2, 4, 16, 16))).float()
    b, i, j = torch.meshgrid(torch.arange(2), torch.arange(16), torch.arange(16), indexing="ij")
    labels = (i // 5 + j // 4 + b) % classes
    assert float(torch.nn.functional.cross_entropy(logits, labels)) == pytest.approx(entropy, abs=2e-6)
    assert float(make_loss(LossConfig("hiperformer"), 4)(logits, labels)) == pytest.approx(total, abs=2e-6)


@pytest.mark.parametrize("argmax", [False, True])
def test_dssaunet_by_its_definition(argmax: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 9, 7, generator=generator, requires_grad=True)
    labels = torch.randint(3, (2, 9, 7), generator=generator)
    value = make_loss(LossConfig("dssaunet", argmax_dice=argmax), 3)(logits, labels)
    p = logits.detach().softmax(dim=1)
    p = (p == p.amax(dim=1, keepdim=True)).float() if argmax else p
    dice = []
    for c in (1, 2):
        t = (labels == c).float()
        dice.append(float((2 * (p[:, c] * t).sum() + 1e-6) / (p[:, c].sum() + t.sum() + 1e-6)))
    entropy = torch.nn.functional.cross_entropy(logits, labels)
    assert float(value.detach()) == pytest.approx(0.5 * float(entropy) + 0.5 * (1 - sum(dice) / 2), abs=1e-6)
    (gradient,) = torch.autograd.grad(value, logits)
    (of_entropy,) = torch.autograd.grad(0.5 * torch.nn.functional.cross_entropy(logits, labels), logits)
    assert torch.allclose(gradient, of_entropy, atol=1e-8) == argmax


def test_balanced_weights_of_a_segmentation_count_pixels() -> None:
    logits, labels = torch.randn(1, 2, 4, 4), (torch.arange(16).view(1, 4, 4) < 4).long()
    ours = make_loss(LossConfig("cross_entropy", weights="balanced"), 2, class_pixels=[12, 4])(logits, labels)
    theirs = make_loss(LossConfig("cross_entropy", weights=[16 / 24, 2.0]), 2)(logits, labels)
    torch.testing.assert_close(ours, theirs)
