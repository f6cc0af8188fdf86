"""Learning rates against torch's schedulers and closed forms."""

from __future__ import annotations

import itertools

import pytest
import torch

from glocal.training.recipe import ScheduleConfig
from glocal.training.schedule import learning_rate


def test_cosine_by_epoch_is_the_published_schedule() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=1e-6)
    for epoch in range(20):
        rate = learning_rate(ScheduleConfig(), 1e-3, epoch, 3, 7, 20)
        assert rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_poly_falls_from_the_highest_to_nearly_nothing() -> None:
    config = ScheduleConfig("poly", "step", power=0.9)
    rates = [learning_rate(config, 0.1, e, s, 5, 10) for e in range(10) for s in range(5)]
    assert rates == pytest.approx([0.1 * (1 - i / 50) ** 0.9 for i in range(50)])


@pytest.mark.parametrize("name", ["cosine", "poly", "constant"])
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_warm_up_rises_in_a_line_to_the_highest(name: str, interval: str) -> None:
    config = ScheduleConfig(name, interval, warmup_epochs=2)  # type: ignore[arg-type]
    rates = [learning_rate(config, 1.0, e, s, 4, 12) for e in range(12) for s in range(4)]
    assert rates[0] > 0
    assert rates[8] == pytest.approx(1.0)
    assert all(a <= b for a, b in itertools.pairwise(rates[:9]))
    assert all(a >= b for a, b in itertools.pairwise(rates[8:]))
    if interval == "step":
        steps = torch.tensor(rates[:9]).diff()
        assert torch.allclose(steps, steps[0].expand(8), atol=1e-6)
