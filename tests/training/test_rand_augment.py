"""RandAugment and exact turns: functions of one generator, mask moved with the image, values kept in range."""

from __future__ import annotations

import pytest
import torch

from glocal.training import _rand_augment
from glocal.training._rand_augment import CHANGES, rand_augment
from glocal.training._warp import turned
from glocal.training.augment import Augment
from glocal.training.augment_config import AugmentConfig, FlipConfig, RandAugmentConfig, TurnConfig


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(channels: int = 3, n: int = 16, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(3, (n, 4, 4), generator=generator(0)).repeat_interleave(size // 4, 1)
    labels = labels.repeat_interleave(size // 4, 2).to(torch.uint8)
    grey = labels[:, None].float() * 0.3 + 0.2
    colour = torch.linspace(0.8, 1.0, channels)[None, :, None, None]
    return grey * colour, labels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_values_stay_in_range_and_the_same_draws_do_the_same(channels: int, seed: int) -> None:
    images, labels = batch(channels)
    config = RandAugmentConfig(1.0, 3, 9.0, 2.0)
    one, other = (rand_augment(images, labels, config, generator(seed)) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])  # type: ignore[arg-type]
    assert one[0].shape == images.shape
    assert bool(((one[0] >= 0) & (one[0] <= 1)).all())
    assert set(one[1].unique().tolist()) <= {0, 1, 2}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_changes_what_it_should(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = batch()
    monkeypatch.setattr(_rand_augment, "CHANGES", (name,))
    if name not in _rand_augment._COLOURS:
        monkeypatch.setattr(_rand_augment, "_COLOURS", {})
    else:
        monkeypatch.setattr(_rand_augment, "_COLOURS", {name: _rand_augment._COLOURS[name]})
        monkeypatch.setattr(_rand_augment, "_moved", lambda images, labels, *_: (images, labels))
    changed, maps = rand_augment(images, labels, RandAugmentConfig(1.0, 1, 9.0, 0.0), generator(1))
    assert maps is not None
    assert not torch.allclose(changed, images, atol=1e-3)
    moved = name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    assert bool((maps != labels).any()) == moved
    strength_none = RandAugmentConfig(0.0, 1, 9.0, 0.0)
    assert torch.equal(rand_augment(images, labels, strength_none, generator(1))[0], images)


def test_the_mask_moves_with_the_image() -> None:
    images, labels = batch(1)
    moving = [name for name in CHANGES if name not in _rand_augment._COLOURS]
    for seed in range(5):
        n = len(images)
        change = torch.tensor([CHANGES.index(moving[i % len(moving)]) for i in range(n)])
        level = 2 * torch.rand(n, generator=generator(seed)) - 1
        moved, maps = _rand_augment._moved(images, labels, change, torch.ones(n, dtype=torch.bool), level)
        assert maps is not None
        kept = moved[:, 0] > 0.15
        close = (moved[:, 0] - (maps.float() * 0.3 + 0.2) * 0.8).abs() < 0.13
        assert float((close | ~kept).float().mean()) > 0.97


def test_turns_are_exact_and_reach_all_that_mirror() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    images, labels = image.repeat(200, 1, 1, 1), image[0].repeat(200, 1, 1).to(torch.uint8)
    rows = torch.arange(200) % 4 != 0
    moved, maps = turned(images, labels, rows, generator(0))
    assert maps is not None
    assert torch.equal(moved[:, 0].to(torch.uint8), maps)
    assert torch.equal(moved[~rows], images[~rows])
    seen = {tuple(one.flatten().tolist()) for one in moved[rows]}
    mirrored = {tuple(torch.rot90(image[0, 0], k).flip(0).flatten().tolist()) for k in range(4)}
    assert seen == mirrored  # a turn and one mirror: never a pure turn


def test_older_recipes_draw_what_they_drew() -> None:
    images, labels = batch()
    plain = AugmentConfig(flip=FlipConfig(0.5, 0.5))
    one = Augment(plain, 3, 7)(images, labels, epoch=1, step=2)
    only = Augment(plain, 3, 7).images(images, epoch=1, step=2)
    assert torch.equal(one[0], only)
    turning = Augment(AugmentConfig(turn=TurnConfig(1.0)), 3, 7)(images, labels, epoch=1, step=2)
    assert not torch.equal(turning[0], images)
    assert torch.equal(turning[0].flatten(1).sort().values, images.flatten(1).sort().values)
