"""Augmentation: image and mask move together, ranges and probabilities are those asked for, draws are repeatable."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from glocal.errors import UserError
from glocal.training import _colour, _warp
from glocal.training.augment import Augment, batch_generator
from glocal.training.augment_config import (
    NEEDS_RGB,
    AffineConfig,
    AugmentConfig,
    BlurConfig,
    ColorJitterConfig,
    CropConfig,
    FlipConfig,
    OneOfConfig,
    OneOfName,
)

EVERYTHING = AugmentConfig(
    crop=CropConfig(p=1.0),
    affine=AffineConfig(p=0.5),
    flip=FlipConfig(0.5, 0.5),
    color_jitter=ColorJitterConfig(p=0.4),
    blur=BlurConfig(p=0.2),
    one_of=OneOfConfig(p=0.4),
)
GEOMETRY = replace(EVERYTHING, color_jitter=ColorJitterConfig(), blur=BlurConfig(), one_of=OneOfConfig())
MANY = 4000


def discs(n: int = 8, channels: int = 3, height: int = 48, width: int = 64) -> tuple[Tensor, Tensor]:
    """Images that equal their mask: one off-centre disc each."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = ((x - 24) ** 2 + (y - 28) ** 2) < 14**2
    labels = inside.to(torch.uint8).expand(n, height, width).clone()
    return labels[:, None].float().expand(n, channels, height, width).clone(), labels


def plan_of(config: AugmentConfig, n: int = MANY, height: int = 100, width: int = 100) -> _warp.Plan:
    return _warp.draw_plan(config.crop, config.affine, config.flip, (n, height, width), batch_generator(0, 0, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_probabilities_nothing_changes(channels: int) -> None:
    images, labels = discs(channels=channels)
    same_images, same_labels = Augment(AugmentConfig(), channels, 0)(images, labels, epoch=0, step=0)
    assert torch.equal(images, same_images)
    assert torch.equal(labels, same_labels)


@pytest.mark.parametrize("distortion", [None, "grid_distortion", "elastic"])
def test_a_mask_moves_with_its_image(distortion: OneOfName | None) -> None:
    config = GEOMETRY
    if distortion:
        config = replace(
            config, one_of=OneOfConfig(p=1.0, transforms=(distortion,), elastic_alpha=400.0, elastic_sigma=6)
        )
    images, labels = discs(16)
    moved, mask = Augment(config, 3, 7)(images, labels, epoch=1, step=2)
    thresholded = moved[:, 0] > 0.5
    differing = (thresholded != mask.bool()).sum().item()
    assert differing <= 0.02 * mask.sum().item()  # half a pixel of rounding at corners of the outline
    assert (mask != labels).any()
    assert len({tuple(m.flatten().tolist()) for m in mask}) == len(mask), "every element of a batch moves by itself"


def test_flips_are_exact() -> None:
    images, labels = torch.rand(4, 3, 17, 22), torch.randint(0, 5, (4, 17, 22), dtype=torch.uint8)
    config = AugmentConfig(flip=FlipConfig(horizontal=1.0))
    moved, mask = Augment(config, 3, 0)(images, labels, epoch=0, step=0)
    torch.testing.assert_close(moved, images.flip(-1), atol=1e-5, rtol=0)
    assert torch.equal(mask, labels.flip(-1))
    both = Augment(AugmentConfig(flip=FlipConfig(1.0, 1.0)), 3, 0)(images, labels, epoch=0, step=0)[1]
    assert torch.equal(both, labels.flip(-1, -2))


def test_labels_never_get_new_values_and_keep_their_type() -> None:
    labels = torch.randint(0, 3, (8, 40, 40), dtype=torch.uint8) * 100
    _, mask = Augment(EVERYTHING, 3, 0)(torch.rand(8, 3, 40, 40), labels, epoch=0, step=0)
    assert mask.dtype == torch.uint8
    assert set(mask.unique().tolist()) <= {0, 100, 200}


def test_what_comes_from_outside_is_black_and_background() -> None:
    images, labels = torch.ones(32, 1, 40, 40), torch.ones(32, 40, 40, dtype=torch.uint8)
    moved, mask = Augment(replace(GEOMETRY, crop=CropConfig()), 1, 0)(images, labels, epoch=0, step=0)
    assert torch.equal(moved[:, 0].round().to(torch.uint8), mask)
    assert 0 < (mask == 0).float().mean() < 0.3


def test_crops_have_the_area_and_ratio_asked_for_and_stay_inside() -> None:
    plan = plan_of(AugmentConfig(crop=CropConfig(p=1.0)))
    area = (2 * plan.half).prod(dim=1) / 100**2
    ratio = plan.half[:, 0] / plan.half[:, 1]
    assert 0.8 - 1e-9 <= area.min() < 0.81
    assert area.max() <= 1.0 + 1e-9
    assert ratio.min() >= 0.75 - 1e-9
    assert ratio.max() <= 4 / 3 + 1e-9
    assert (plan.centre.abs() + plan.half <= 50 + 1e-9).all()
    assert plan.centre.abs().max() > 5


def test_a_crop_of_an_elongated_image_falls_back_to_the_largest_that_fits() -> None:
    plan = plan_of(AugmentConfig(crop=CropConfig(p=1.0)), n=10, height=20, width=200)
    assert torch.allclose(plan.half, torch.tensor([20 * 4 / 3 / 2, 10.0], dtype=torch.float64))


def test_affine_ranges_and_probability() -> None:
    plan = plan_of(AugmentConfig(affine=AffineConfig(p=0.5)))
    linear, offset = plan.matrix[:, :, :2], plan.matrix[:, :, 2]
    scale = 1 / torch.linalg.det(linear).sqrt()
    angle = torch.rad2deg(torch.atan2(linear[:, 0, 1], linear[:, 0, 0]))
    changed = scale != 1.0
    assert changed.double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert 0.9 <= scale.min() < 0.905
    assert 1.095 < scale.max() <= 1.1
    assert 29 < angle.abs().max() <= 30 + 1e-9
    shift = (torch.linalg.inv(linear) @ offset[:, :, None])[..., 0]
    assert 9.8 < shift.abs().max() <= 10 + 1e-9
    assert ((angle != 0) == changed).all(), "together: one draw decides for all three"


def test_affine_draws_apart_where_asked() -> None:
    plan = plan_of(AugmentConfig(affine=AffineConfig(p=0.5, together=False)))
    scaled = (torch.linalg.det(plan.matrix[:, :, :2]) - 1).abs() > 1e-12
    rotated = plan.matrix[:, 0, 1].abs() > 1e-12
    assert (scaled & rotated).double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (scaled & ~rotated).double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_rotation_keeps_circles_round_in_images_that_are_not_square() -> None:
    images, labels = discs(32, height=48, width=96)
    _, mask = Augment(AugmentConfig(affine=AffineConfig(p=1.0, shift=0, scale=0)), 3, 0)(
        images, labels, epoch=0, step=0
    )
    rows = mask.any(dim=2).sum(dim=1)
    columns = mask.any(dim=1).sum(dim=1)
    whole = mask.flatten(1).sum(dim=1) > 0.98 * labels[0].sum()
    assert whole.any()
    assert ((rows - columns).abs() <= 2)[whole].all()


def test_flip_probability() -> None:
    plan = plan_of(AugmentConfig(flip=FlipConfig(horizontal=0.5, vertical=0.2)))
    assert (plan.matrix[:, 0, 0] < 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (plan.matrix[:, 1, 1] < 0).double().mean().item() == pytest.approx(0.2, abs=0.03)


def test_one_of_takes_each_change_equally_often() -> None:
    augment = Augment(AugmentConfig(one_of=OneOfConfig(p=0.4)), 3, 0)
    chosen = augment._choose(9 * MANY, batch_generator(0, 0, 0))
    total = torch.stack(list(chosen.values())).sum(dim=0)
    assert total.max() == 1
    assert total.double().mean().item() == pytest.approx(0.4, abs=0.02)
    for name in get_args(OneOfName):
        assert chosen[name].double().mean().item() == pytest.approx(0.4 / 9, abs=0.01)


@pytest.mark.parametrize(
    ("name", "channels"),
    [(n, 3) for n in get_args(OneOfName)] + [(n, 1) for n in get_args(OneOfName) if n not in NEEDS_RGB],
)
def test_each_change_stays_in_range_and_touches_only_its_rows(name: OneOfName, channels: int) -> None:
    images = torch.rand(4, channels, 37, 52, generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([True, False, True, False])
    changed = _colour.apply(name, images, rows, OneOfConfig(), batch_generator(0, 0, 0))
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(changed[~rows], images[~rows])
    if name not in ("grid_distortion", "elastic"):
        assert not torch.equal(changed[rows], images[rows])


def test_grid_dropout_blackens_a_quarter_of_the_image() -> None:
    changed = _colour.apply(
        "grid_dropout", torch.ones(1, 1, 240, 240), torch.tensor([True]), OneOfConfig(), batch_generator(0, 0, 0)
    )
    assert (changed == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_color_jitter_ranges() -> None:
    config = ColorJitterConfig(p=1.0, brightness=0.2, contrast=0, saturation=0, hue=0)
    images = torch.full((1000, 1, 2, 2), 0.5)
    factor = _colour.color_jitter(images, config, batch_generator(0, 0, 0))[:, 0, 0, 0] / 0.5
    assert 0.8 - 1e-6 <= factor.min() < 0.81
    assert 1.19 < factor.max() <= 1.2 + 1e-6


def test_the_elastic_change_of_the_published_recipe_is_below_a_tenth_of_a_pixel() -> None:
    # alpha 1 with sigma 50: smoothing leaves next to nothing; docs/recipes.md says so
    field = _warp.draw_displacement(
        {"elastic": torch.tensor([True])}, OneOfConfig(), (1, 256, 256), batch_generator(0, 0, 0)
    )
    assert field is not None
    assert 0 < field.abs().max() < 0.1


def test_draws_are_a_function_of_seed_epoch_and_step() -> None:
    images, labels = discs()
    torch.manual_seed(1)
    first = Augment(EVERYTHING, 3, 5)(images, labels, epoch=3, step=4)
    torch.manual_seed(2)
    again = Augment(EVERYTHING, 3, 5)(images, labels, epoch=3, step=4)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    for seed, epoch, step in [(6, 3, 4), (5, 4, 4), (5, 3, 5)]:
        other = Augment(EVERYTHING, 3, seed)(images, labels, epoch=epoch, step=step)
        assert not torch.equal(first[0], other[0])


def test_grey_images_leave_colour_out_and_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="glocal"):
        augment = Augment(EVERYTHING, 1, 0)
        images, labels = discs(channels=1)
        for step in range(5):
            augment(images, labels, epoch=0, step=step)
    assert len(caplog.records) == 1
    assert "to_gray, hue_saturation_value, channel_shuffle, rgb_shift" in caplog.text
    assert "saturation" in caplog.text


def test_the_smallest_images_survive_every_change() -> None:
    for step in range(20):
        images, labels = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)
        moved, _ = Augment(EVERYTHING, 3, 0)(images, labels, epoch=0, step=step)
        assert moved.isfinite().all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AugmentConfig(crop=CropConfig(p=1.5)), r"augment\.crop\.p is 1\.5"),
        (AugmentConfig(crop=CropConfig(scale=(0.9, 0.8))), r"augment\.crop\.scale"),
        (AugmentConfig(crop=CropConfig(ratio=(0.0, 1.0))), r"augment\.crop\.ratio"),
        (AugmentConfig(affine=AffineConfig(scale=1.0)), r"augment\.affine\.scale"),
        (AugmentConfig(color_jitter=ColorJitterConfig(hue=0.6)), r"augment\.color_jitter\.hue"),
        (AugmentConfig(one_of=OneOfConfig(p=0.5, transforms=())), "transforms is empty"),
        (AugmentConfig(one_of=OneOfConfig(grid_steps=0)), "grid_steps"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: AugmentConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Augment(config, 3, 0)
