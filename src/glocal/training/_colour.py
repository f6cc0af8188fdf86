"""Changes of colour and intensity for chosen rows of a batch, by Kornia; images are float in [0, 1]."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from glocal.errors import optional_import
from glocal.training.augment_config import ColorJitterConfig, OneOfConfig, OneOfName

__all__ = ["apply", "color_jitter", "gaussian_blur"]

_BLUR_KERNELS = (3, 5, 7)


def _uniform(low: float, high: float, count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draws on the CPU, as the generator is there, brought to the device."""
    return (low + (high - low) * torch.rand(count, generator=generator)).to(like)


def _on_rows(images: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """``images`` with the chosen rows changed; ``rows`` is boolean on the CPU, so the device need not be asked."""
    index = rows.nonzero()[:, 0]
    if len(index) == 0:
        return images
    index = index.to(images.device)
    return images.index_copy(0, index, change(images[index]).to(images.dtype))


def color_jitter(
    images: Tensor, config: ColorJitterConfig, generator: torch.Generator, coloured: bool = True
) -> Tensor:
    """Brightness, contrast, saturation and hue of the rows that are drawn, in an order drawn for the batch.

    Args:
        images: ``(N, C, H, W)``, C 1 or 3; grey images change in brightness and contrast.
        config: Ranges and probability.
        generator: Source of all draws.
        coloured: Three channels are RGB; otherwise all are grey, such as neighbouring slices.
    """
    rows = torch.rand(len(images), generator=generator) < config.p
    if not rows.any():
        return images
    enhance = optional_import("kornia.enhance", "train")
    count = int(rows.sum())
    changes: list[tuple[Callable[[Tensor, Tensor], Tensor], float, float]] = [
        (enhance.adjust_brightness_accumulative, 1.0, config.brightness),
        (enhance.adjust_contrast_with_mean_subtraction, 1.0, config.contrast),
    ]
    if coloured and images.shape[1] == 3:
        changes += [
            (enhance.adjust_saturation_with_gray_subtraction, 1.0, config.saturation),
            (enhance.adjust_hue, 0.0, 2 * math.pi * config.hue),
        ]

    def change(some: Tensor) -> Tensor:
        for i in torch.randperm(len(changes), generator=generator).tolist():
            adjust, neutral, span = changes[i]
            some = adjust(some, _uniform(neutral - span, neutral + span, count, some, generator))
        return some.clamp(0, 1)

    return _on_rows(images, rows, change)


def gaussian_blur(images: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Blur the chosen rows with kernels of 3, 5 or 7 pixels and the sigma that goes with each."""
    kernels = torch.randint(len(_BLUR_KERNELS), (len(images),), generator=generator)
    for i, size in enumerate(_BLUR_KERNELS):
        chosen = rows & (kernels == i)
        if chosen.any() and min(images.shape[-2:]) > size // 2:
            images = _on_rows(images, chosen, functools.partial(_blur, size=size))
    return images


def _blur(images: Tensor, size: int) -> Tensor:
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8  # OpenCV's rule for a sigma that is not given
    filters = optional_import("kornia.filters", "train")
    blurred: Tensor = filters.gaussian_blur2d(images, (size, size), (sigma, sigma))
    return blurred


def apply(
    name: OneOfName,
    images: Tensor,
    rows: Tensor,
    config: OneOfConfig,
    generator: torch.Generator,
    coloured: bool = True,
) -> Tensor:
    """Apply one change of ``one_of`` to the chosen rows; the two distortions belong to the warp and do nothing here.

    Args:
        name: Which change.
        images: ``(N, C, H, W)``.
        rows: ``(N,)`` boolean on the CPU.
        config: Strengths.
        generator: Source of all draws.
        coloured: As for :func:`color_jitter`.
    """
    if name == "gaussian_blur":
        return gaussian_blur(images, rows, generator)
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "to_gray": lambda some: optional_import("kornia.color", "train").rgb_to_grayscale(some).expand_as(some),
        "clahe": lambda some: _clahe(some, generator, coloured),
        "hue_saturation_value": lambda some: _hue_saturation_value(some, generator),
        "channel_shuffle": lambda some: _channel_shuffle(some, generator),
        "grid_dropout": lambda some: some * _kept(some, config.dropout_ratio),
        "rgb_shift": lambda some: _rgb_shift(some, generator),
    }
    return _on_rows(images, rows, changes[name]) if name in changes else images


def _clahe(images: Tensor, generator: torch.Generator, coloured: bool) -> Tensor:
    """Contrast-limited equalisation of the lightness, 8 × 8 tiles, clip limit drawn between 1 and 4 for each image."""
    equalize = optional_import("kornia.enhance", "train").equalize_clahe
    color = optional_import("kornia.color", "train")
    tiles = tuple(min(8, max(1, side // 4)) for side in images.shape[-2:])
    limits = [float(v) for v in 1 + 3 * torch.rand(len(images), generator=generator)]

    def equalized(grey: Tensor) -> Tensor:
        grey = grey.clamp(0, 1)
        return torch.stack([equalize(image, limit, tiles) for image, limit in zip(grey, limits, strict=True)])

    if images.shape[1] == 1 or not coloured:
        return equalized(images)
    lab = color.rgb_to_lab(images)
    rgb: Tensor = color.lab_to_rgb(torch.cat([100 * equalized(lab[:, :1] / 100), lab[:, 1:]], dim=1))
    return rgb.clamp(0, 1)


def _hue_saturation_value(images: Tensor, generator: torch.Generator) -> Tensor:
    """Hue ±20 of 180, saturation ±30 of 255, value ±20 of 255."""
    color = optional_import("kornia.color", "train")
    limits = torch.tensor([20 / 180 * 2 * math.pi, 30 / 255, 20 / 255])
    shift = (2 * torch.rand(len(images), 3, generator=generator) - 1) * limits
    hsv = color.rgb_to_hsv(images) + shift.to(images)[:, :, None, None]
    hue, rest = hsv[:, :1].remainder(2 * math.pi), hsv[:, 1:].clamp(0, 1)
    rgb: Tensor = color.hsv_to_rgb(torch.cat([hue, rest], dim=1))
    return rgb


def _channel_shuffle(images: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.stack([torch.randperm(images.shape[1], generator=generator) for _ in range(len(images))])
    return images.gather(1, order.to(images.device)[:, :, None, None].expand_as(images))


def _rgb_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each channel brighter or darker by up to 20 of 255."""
    shift = (2 * torch.rand(len(images), images.shape[1], 1, 1, generator=generator) - 1) * 20 / 255
    return (images + shift.to(images)).clamp(0, 1)


def _kept(images: Tensor, ratio: float) -> Tensor:
    """``(1, 1, H, W)``: 0 in the upper left part of each cell of a grid of ten by ten, else 1."""
    masks = []
    for side in images.shape[-2:]:
        cell = max(2, side // 10)
        hole = min(max(int(cell * ratio), 1), cell - 1)
        masks.append(torch.arange(side, device=images.device) % cell < hole)
    dropped = masks[0][:, None] & masks[1][None, :]
    return (~dropped).to(images.dtype)[None, None]
