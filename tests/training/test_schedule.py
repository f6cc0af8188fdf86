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


def test_hifuse_by_the_worked_numbers_of_its_specification() -> None:
    config = ScheduleConfig("cosine", "step", warmup_epochs=1, warmup_start=0.001, minimum=0.01)
    rates = {x: learning_rate(config, 1.0, x // 10, x % 10, 10, 5) for x in range(50)}
    expected = {0: 0.001, 1: 0.1009, 5: 0.5005, 10: 1.0, 11: 0.998474, 20: 0.855018, 30: 0.505, 40: 0.154982}
    assert {x: rates[x] for x in expected} == pytest.approx(expected, abs=1e-6)
    assert rates[49] == pytest.approx(0.011526, abs=1e-6)


def test_hiperformer_goes_down_and_up_again_without_a_restart() -> None:
    config = ScheduleConfig("cosine", "epoch", period=100, minimum=1e-6)
    expected = {0: 1e-4, 25: 8.55e-5, 50: 5.05e-5, 75: 1.55e-5, 99: 1.024e-6, 100: 1e-6, 150: 5.05e-5}
    expected |= {199: 9.998e-5, 200: 1e-4, 250: 5.05e-5, 299: 1.024e-6}
    rates = {epoch: learning_rate(config, 1e-4, epoch, 3, 7, 300) for epoch in expected}
    assert rates == pytest.approx(expected, rel=1e-3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=1e-6)
    for epoch in range(300):
        assert learning_rate(config, 1e-4, epoch, 0, 7, 300) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        scheduler.step()


def test_pvt_warms_up_from_a_given_rate_and_cools_down_at_the_lowest() -> None:
    config = ScheduleConfig("cosine", "epoch", warmup_epochs=5, warmup_start=1e-6, minimum=1e-5, cooldown_epochs=10)
    rates = [learning_rate(config, 1e-3, epoch, 0, 7, 310) for epoch in range(310)]
    assert rates[0] == 1e-6
    assert rates[5] == 1e-3
    assert torch.tensor(rates[:6]).diff().tolist() == pytest.approx([(1e-3 - 1e-6) / 5] * 5, rel=1e-4)
    assert all(a > b for a, b in itertools.pairwise(rates[5:301]))
    assert rates[300:] == pytest.approx([1e-5] * 10)
