"""The order of cases depends on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.training.sampling import EpochSampler, balancing_weights


def order(seed: int, epoch: int) -> list[int]:
    sampler = EpochSampler(50, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_epoch_has_every_case_once_in_an_order_of_its_own() -> None:
    assert sorted(order(0, 3)) == list(range(50))
    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_rare_classes_are_seen_as_often_as_their_share_is_small() -> None:
    present = np.ones((1000, 3), bool)
    present[:, 1] = np.arange(1000) < 100
    present[:, 2] = False
    weights = balancing_weights(present)
    assert weights[:100].unique().tolist() == pytest.approx([10.0])
    assert weights[100:].unique().tolist() == [1.0]
    drawn = np.array(list(EpochSampler(1000, 0, weights)))
    assert (drawn < 100).mean() == pytest.approx(1000 / 1900, abs=0.05)
