"""RandAugment with every draw from one generator: changes for chosen rows of a batch, by Kornia.

Cubuk et al., *RandAugment*, NeurIPS 2020, in the form PVT trains with: of fifteen changes a few are drawn for each
image, with a strength around the magnitude; geometry moves image and mask alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from glocal.errors import optional_import
from glocal.training._warp import Plan, warp
from glocal.training.augment_config import RandAugmentConfig

__all__ = ["CHANGES", "rand_augment"]

CHANGES = (
    *("auto_contrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add", "saturation"),
    *("contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y"),
)
"""The changes in the order of the paper's implementation for ImageNet."""

_ROTATE, _SHEAR, _TRANSLATE = 30.0, 0.3, 0.45
"""Strongest rotation in degrees, shear, and shift as a share of the side."""


def rand_augment(
    images: Tensor,
    labels: Tensor | None,
    config: RandAugmentConfig,
    generator: torch.Generator,
    coloured: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Apply ``config.changes`` changes, drawn for each image, one after the other.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], C 1 or 3; saturation leaves grey images as they are.
        labels: ``(N, H, W)`` integers, or None.
        config: Number, strength and probability.
        generator: Source of all draws.
        coloured: Three channels are RGB; otherwise all are grey, such as neighbouring slices.
    """
    n = len(images)
    for _ in range(config.changes):
        change = torch.randint(len(CHANGES), (n,), generator=generator)
        applied = torch.rand(n, generator=generator) < config.p
        level = config.magnitude + config.spread * torch.randn(n, generator=generator)
        level = level.clamp(0, 10) / 10
        sign = 1.0 - 2.0 * torch.randint(2, (n,), generator=generator).float()
        images, labels = _moved(images, labels, change, applied, sign * level)
        for name, index in ((name, CHANGES.index(name)) for name in _COLOURS):
            rows = (applied & (change == index)).nonzero()[:, 0]
            if len(rows) and (coloured or name != "saturation"):
                places = rows.to(images.device)
                strength = level[rows].to(images)
                result = _COLOURS[name](images[places], strength, (sign[rows]).to(images))
                images = images.index_copy(0, places, result.clamp(0, 1).to(images.dtype))
    return images, labels


def _moved(
    images: Tensor, labels: Tensor | None, change: Tensor, applied: Tensor, level: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Rotation, shear and shift of the rows that drew them, in one sampling."""
    n, _, height, width = images.shape
    matrix = torch.eye(2, 3, dtype=torch.float64).repeat(n, 1, 1)
    drawn = {name: applied & (change == CHANGES.index(name)) for name in CHANGES if name in _MOVES}
    for name, rows in drawn.items():
        for row in rows.nonzero()[:, 0].tolist():
            matrix[row] = _matrix(name, float(level[row]), height, width)
    rows = torch.stack(list(drawn.values())).any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return images, labels
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64).expand(len(rows), 2)
    plan = Plan(matrix[rows], torch.zeros(len(rows), 2, dtype=torch.float64), half)
    places = rows.to(images.device)
    moved, maps = warp(images[places], None if labels is None else labels[places], plan, None)
    images = images.index_copy(0, places, moved)
    if labels is None or maps is None:
        return images, labels
    return images, labels.index_copy(0, places, maps)


_MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def _matrix(name: str, level: float, height: int, width: int) -> Tensor:
    """Output pixel to source pixel, from the centre: ``(2, 3)``."""
    a = b = x = y = 0.0
    if name == "rotate":
        angle = math.radians(_ROTATE * level)
        cos, sin = math.cos(angle), math.sin(angle)
        return torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0]], dtype=torch.float64)
    if name == "shear_x":
        a = _SHEAR * level
    elif name == "shear_y":
        b = _SHEAR * level
    elif name == "translate_x":
        x = _TRANSLATE * level * width
    else:
        y = _TRANSLATE * level * height
    return torch.tensor([[1.0, a, x], [b, 1.0, y]], dtype=torch.float64)


def _stretched(images: Tensor, _level: Tensor, _sign: Tensor) -> Tensor:
    """Each channel from 0 to 1."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def _posterized(images: Tensor, level: Tensor, _sign: Tensor) -> Tensor:
    """8 to 4 bits: fewer, the stronger."""
    steps = 2.0 ** (8 - (4 * level).floor())[:, None, None, None]
    return (images * 255 / (256 / steps)).floor() * (256 / steps) / 255


def _solarized(images: Tensor, level: Tensor, _sign: Tensor) -> Tensor:
    """What is brighter than a threshold, which falls with the strength, is inverted."""
    return torch.where(images < (1 - level)[:, None, None, None], images, 1 - images)


def _solarize_added(images: Tensor, level: Tensor, _sign: Tensor) -> Tensor:
    """What is darker than a half gets brighter by up to 110 of 255."""
    return torch.where(images < 128 / 255, images + (110 / 255 * level)[:, None, None, None], images)


def _enhanced(name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A factor of Kornia's between 0.1 and 1.9 about the unchanged image at 1."""

    def change(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
        if name == "adjust_saturation_with_gray_subtraction" and images.shape[1] == 1:
            return images
        factor = 1 + 0.9 * level * sign
        result: Tensor = getattr(optional_import("kornia.enhance", "train"), name)(images, factor)
        return result

    return change


def _sharpened(images: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Away from, or towards, a smoothed copy, by a factor between 0.1 and 1.9."""
    sharpness = optional_import("kornia.enhance", "train").sharpness
    factor = (1 + 0.9 * level * sign)[:, None, None, None]
    smooth: Tensor = sharpness(images, 0.0)
    return smooth + factor * (images - smooth)


def _equalized(images: Tensor, _level: Tensor, _sign: Tensor) -> Tensor:
    result: Tensor = optional_import("kornia.enhance", "train").equalize(images)
    return result


_COLOURS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "auto_contrast": _stretched,
    "equalize": _equalized,
    "invert": lambda images, _level, _sign: 1 - images,
    "posterize": _posterized,
    "solarize": _solarized,
    "solarize_add": _solarize_added,
    "saturation": _enhanced("adjust_saturation_with_gray_subtraction"),
    "contrast": _enhanced("adjust_contrast_with_mean_subtraction"),
    "brightness": _enhanced("adjust_brightness_accumulative"),
    "sharpness": _sharpened,
}
