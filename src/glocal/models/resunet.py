"""Deep ResUNet (Zhang et al., arXiv 1711.10684) as rishikksh20/ResUnet has it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from glocal.models.registry import Paper, register
from glocal.models.ushaped import UShapedNetwork, comparison_record
from glocal.nn import PreActivationBlock, PreActivationStem

__all__ = ["ResUNet"]

_PAPER = Paper(title="Road Extraction by Deep Residual U-Net", year=2018, url="https://arxiv.org/abs/1711.10684")


@register(
    comparison_record(
        "resunet",
        "resunet",
        "U-Net of residual blocks that normalise before they convolve",
        (13_043_074, 71_101_841_408),
        {1: 64, 2: 128, 4: 256, 8: 512},
        _PAPER,
    ),
    comparison_record(
        "resunet_tiny",
        "resunet",
        "ResUNet of a quarter of the width, for small machines and demonstrations",
        (818_530, 4_487_905_280),
        {1: 16, 2: 32, 4: 64, 8: 128},
        _PAPER,
        {"width": 16},
    ),
)
class ResUNet(UShapedNetwork):
    """ResUNet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code has one class and a sigmoid inside; here are logits of any number of classes, as comparisons
    have them. Its shortcuts are 3×3 convolutions with batch norms and its upsampling transposed convolutions, where the
    paper has identities and repeated pixels. Images are padded to multiples of 8, the only sizes that it takes.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the first level; each next has twice as many.

    Raises:
        ValueError: ``width`` is below 1.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, *, width: int = 64) -> None:
        widths = [width * 2**i for i in range(4)]
        super().__init__(in_channels, num_classes, widths)
        blocks = (PreActivationBlock(a, b, stride=2) for a, b in pairwise(widths))
        self.encoder = nn.ModuleList([PreActivationStem(in_channels, width), *blocks])
        self.decoder = nn.ModuleList(_Up(width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, num_classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 1, 2, 4, 8."""
        maps: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return maps


class _Up(nn.Module):
    """A step up: double the map below, concatenate it with the skip, residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * width, 2 * width, 2, 2)
        self.block = PreActivationBlock(3 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(N, 2C, H, W)`` and the skip ``(N, C, 2H, 2W)`` -> ``(N, C, 2H, 2W)``."""
        y: Tensor = self.block(torch.cat([self.up(x), skip], 1))
        return y
