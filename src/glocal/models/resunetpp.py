"""ResUNet++ (Jha et al., arXiv 1911.07067) as rishikksh20/ResUnet has it."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.registry import Paper, register
from glocal.models.ushaped import UShapedNetwork, comparison_record
from glocal.nn import ASPP, PreActivationBlock, PreActivationStem, SqueezeExcitation

__all__ = ["ResUNetPlusPlus"]

_PAPER = Paper(
    title="ResUNet++: An Advanced Architecture for Medical Image Segmentation",
    year=2019,
    url="https://arxiv.org/abs/1911.07067",
)
_RATES = (6, 12, 18)


@register(
    comparison_record(
        "resunetpp",
        "resunetpp",
        "ResUNet with squeeze-excitation, atrous pooling and gates in the decoder",
        (14_482_597, 70_585_420_416),
        {1: 32, 2: 64, 4: 128, 8: 256},
        _PAPER,
    ),
    comparison_record(
        "resunetpp_tiny",
        "resunetpp",
        "ResUNet++ of a quarter of the width, for small machines and demonstrations",
        (909_549, 4_434_297_056),
        {1: 8, 2: 16, 4: 32, 8: 64},
        _PAPER,
        {"width": 8},
    ),
)
class ResUNetPlusPlus(UShapedNetwork):
    """ResUNet++: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code has one class and a sigmoid inside; here are logits of any number of classes, as comparisons
    have them. Its gates are linear (no sigmoid), and its atrous pooling has dilated branches alone. Images are padded
    to multiples of 8, the only sizes that it takes.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the first level; each next has twice as many.

    Raises:
        ValueError: ``width`` is below 1.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, *, width: int = 32) -> None:
        widths = [width * 2**i for i in range(4)]
        super().__init__(in_channels, num_classes, widths)
        self.stem = PreActivationStem(in_channels, width)
        self.encoder = nn.ModuleList(_Down(a, b) for a, b in pairwise(widths))
        self.bridge = ASPP(widths[3], 2 * widths[3], _RATES, pooled=False)
        self.decoder = nn.ModuleList(_Up(4 * width, width, 2 * width) for width in reversed(widths[:-1]))
        self.pyramid = ASPP(2 * width, width, _RATES, pooled=False)
        self.head = nn.Conv2d(width, num_classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 1, 2, 4, 8."""
        maps = [self.stem(x)]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        *skips, x = features
        x = self.bridge(x)
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        logits: Tensor = self.head(self.pyramid(x))
        return logits


class _Down(nn.Module):
    """A step down: squeeze-excitation, residual block of stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.squeeze = SqueezeExcitation(in_channels, min(16, max(1, in_channels // 2)), bias=False, gate="sigmoid")
        self.block = PreActivationBlock(in_channels, out_channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H / 2, W / 2)``."""
        y: Tensor = self.block(self.squeeze(x))
        return y


class _Up(nn.Module):
    """A step up: gate the map below, double it, concatenate it with the skip, residual block."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.gate = _Gate(skip_channels, in_channels)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.block = PreActivationBlock(in_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(N, in, H, W)`` and the skip ``(N, skip, 2H, 2W)`` -> ``(N, out, 2H, 2W)``."""
        y: Tensor = self.block(torch.cat([self.up(self.gate(skip, x)), skip], 1))
        return y


class _Gate(nn.Module):
    """The map times one number a pixel, from the map and the skip of twice its size; nothing bounds that number."""

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.skip_norm = nn.BatchNorm2d(skip_channels)
        self.skip = nn.Conv2d(skip_channels, channels, 3, padding=1)
        self.map_norm = nn.BatchNorm2d(channels)
        self.map = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate_norm = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, 1, 1)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """The skip ``(N, skip, 2H, 2W)`` and the map ``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        known = F.max_pool2d(self.skip(F.relu(self.skip_norm(skip))), 2) + self.map(F.relu(self.map_norm(x)))
        gated: Tensor = self.gate(F.relu(self.gate_norm(known))) * x
        return gated
