"""Erasing, mixup and cutmix: what is done to batches of a classifier once they are normalised."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from glocal.training.augment_config import EraseConfig, MixConfig

__all__ = ["erase", "mix"]

_TRIES = 10
"""Rectangles drawn before an image is left as it is, because none fits into it."""


def erase(images: Tensor, config: EraseConfig, random: np.random.Generator) -> Tensor:
    """Fill a rectangle of some images with normal noise, drawn pixel by pixel.

    Zhong et al., *Random erasing data augmentation*, AAAI 2020, in the form PVT trains with.

    Args:
        images: ``(N, C, H, W)``, normalised.
        config: Probability, area and aspect of the rectangle.
        random: Source of all draws.
    """
    n, channels, height, width = images.shape
    rows = np.flatnonzero(random.random(n) < config.p)
    if not len(rows):
        return images
    images = images.clone()
    for row in rows.tolist():
        for _ in range(_TRIES):
            area = height * width * random.uniform(*config.scale)
            ratio = math.exp(random.uniform(math.log(config.ratio[0]), math.log(config.ratio[1])))
            high, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < high <= height and 0 < wide <= width:
                top, left = random.integers(height - high + 1), random.integers(width - wide + 1)
                noise = torch.from_numpy(random.standard_normal((channels, high, wide), np.float32))
                images[row, :, top : top + high, left : left + wide] = noise.to(images)
                break
    return images


def mix(images: Tensor, shares: Tensor, config: MixConfig, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with the one at the same place from the end, by mixup or by cutmix.

    Zhang et al., *mixup*, ICLR 2018: ``λ x + (1 - λ) x'`` with λ from Beta(α, α). Yun et al., *CutMix*, ICCV 2019: a
    rectangle of ``x'`` with the area ``1 - λ``, about a centre drawn from the whole image; what is cut off at the
    border is taken into account.

    Args:
        images: ``(N, C, H, W)``.
        shares: ``(N, K)`` what each image shows of each class.
        config: Probability and parameters.
        random: Source of all draws.

    Returns:
        Both mixed in the same proportion.
    """
    if random.random() >= config.p:
        return images, shares
    cut = config.cutmix > 0 and (config.mixup == 0 or random.random() < config.switch)
    alpha = config.cutmix if cut else config.mixup
    share = float(random.beta(alpha, alpha))
    if not cut:
        images = share * images + (1 - share) * images.flip(0)
        return images, share * shares + (1 - share) * shares.flip(0)
    height, width = images.shape[-2:]
    side = math.sqrt(1 - share)
    high, wide = int(height * side), int(width * side)
    row, column = int(random.integers(height)), int(random.integers(width))
    top, bottom = max(row - high // 2, 0), min(row + high // 2, height)
    left, right = max(column - wide // 2, 0), min(column + wide // 2, width)
    pasted = images.flip(0)[..., top:bottom, left:right]
    images = images.clone()
    images[..., top:bottom, left:right] = pasted
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return images, share * shares + (1 - share) * shares.flip(0)
