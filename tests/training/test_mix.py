"""Erasing, mixup and cutmix: what stays, what is mixed, and in which proportion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glocal.errors import UserError
from glocal.training._mix import erase, mix
from glocal.training.augment_config import AugmentConfig, EraseConfig, MixConfig, check_augment

N, K = 6, 6
IMAGES = torch.arange(N).float()[:, None, None, None].expand(N, 3, 20, 24).clone()
SHARES = torch.eye(N, K)


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(8))
def test_mixup_mixes_images_and_labels_alike(seed: int) -> None:
    images, shares = mix(IMAGES, SHARES, MixConfig(1.0, mixup=0.8, cutmix=0.0), random(seed))
    assert torch.allclose(shares.sum(dim=1), torch.ones(N))
    values = torch.arange(K).float()
    assert torch.allclose(images, (shares @ values)[:, None, None, None].expand_as(images), atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_pastes_one_rectangle_and_counts_its_pixels(seed: int) -> None:
    images, shares = mix(IMAGES, SHARES, MixConfig(1.0, mixup=0.0, cutmix=1.0), random(seed))
    other = IMAGES.flip(0)
    pasted = (images == other)[0, 0]
    assert bool(((images == IMAGES) | (images == other)).all())
    rows, columns = pasted.any(dim=1).nonzero()[:, 0], pasted.any(dim=0).nonzero()[:, 0]
    assert int(pasted.sum()) == len(rows) * len(columns)
    share = float(pasted.float().mean())
    torch.testing.assert_close(shares, (1 - share) * SHARES + share * SHARES.flip(0))


def test_how_often_each_way_is_taken() -> None:
    kinds = {"plain": 0, "mixup": 0, "cutmix": 0}
    for seed in range(400):
        images, shares = mix(IMAGES, SHARES, MixConfig(0.5, 0.8, 1.0, 0.25), random(seed))
        mixed = bool(((images != IMAGES) & (images != IMAGES.flip(0))).any())
        kinds["plain" if shares is SHARES else "mixup" if mixed else "cutmix"] += 1
    assert kinds["plain"] == pytest.approx(200, abs=40)
    assert kinds["cutmix"] == pytest.approx(50, abs=25)


def test_several_labels_mix_to_shares_of_each() -> None:
    present = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    _, shares = mix(torch.zeros(2, 1, 8, 8), present, MixConfig(1.0, 0.8, 0.0), random(0))
    torch.testing.assert_close(shares + shares.flip(0), torch.ones(2, 3))


def test_erasing_replaces_one_rectangle_of_the_wanted_size_by_noise() -> None:
    images = torch.full((200, 3, 32, 32), 9.0)
    erased = erase(images, EraseConfig(0.25), random(0))
    changed = erased != 9.0
    hit = changed.any(dim=(1, 2, 3))
    assert int(hit.sum()) == pytest.approx(50, abs=20)
    for one in changed[hit]:
        assert bool((one[0] == one[1]).all())
        rows, columns = one[0].any(dim=1).sum(), one[0].any(dim=0).sum()
        assert int(one[0].sum()) == int(rows * columns)
        assert 0.01 <= float(one[0].float().mean()) <= 0.37
    noise = erased[changed]
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert bool((images == 9.0).all())


def test_the_same_seed_does_the_same() -> None:
    for seed in range(3):
        one, other = (
            mix(erase(IMAGES, EraseConfig(0.5), r), SHARES, MixConfig(1.0), r) for r in map(random, (seed,) * 2)
        )
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AugmentConfig(mix=MixConfig(1.0, 0.0, 0.0)), "mix"),
        (AugmentConfig(mix=MixConfig(1.0, -1.0)), "mix"),
        (AugmentConfig(mix=MixConfig(2.0)), "mix.p is 2"),
        (AugmentConfig(erase=EraseConfig(0.5, (0.5, 0.1))), "erase.scale"),
        (AugmentConfig(erase=EraseConfig(0.5, ratio=(0.0, 1.0))), "erase.ratio"),
    ],
)
def test_settings_that_make_no_sense_are_named(config: AugmentConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_augment(config)
