"""UCTransNet: a U-Net whose skips attend to each other's channels (Wang et al., arXiv 2109.04335)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from glocal.models.registry import ModelInfo, Paper, register
from glocal.models.transunet import require_side
from glocal.models.ushaped import UShapedNetwork, comparison_record
from glocal.nn import ChannelCrossTransformer, ChannelSkipGate, ConvNorm, DoubleConv

__all__ = ["UCTransNet"]

_PAPER = Paper(
    title="UCTransNet: Rethinking the Skip Connections in U-Net from a Channel-wise Perspective with Transformer",
    year=2021,
    url="https://arxiv.org/abs/2109.04335",
)


def _record(name: str, summary: str, counts: tuple[int, int], **arguments: Any) -> ModelInfo:
    width = arguments.get("width", 64)
    features = {1: width, 2: 2 * width, 4: 4 * width, 8: 8 * width, 16: 8 * width}
    return comparison_record(name, "uctransnet", summary, counts, features, _PAPER, arguments)


@register(
    _record(
        "uctransnet", "U-Net whose skips go through a channel-wise cross transformer", (66_488_322, 49_406_451_712)
    ),
    _record(
        "uctransnet_tiny",
        "UCTransNet of a quarter of the width with two blocks, for small machines and demonstrations",
        (2_720_866, 2_494_016_000),
        width=16,
        depth=2,
    ),
)
class UCTransNet(UShapedNetwork):
    """UCTransNet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code takes square images of one size, and with one class gives probabilities. Here the position
    tables are resampled for other sizes, images off the grid are padded to multiples of 16 with their border, and
    logits are given always.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the first level; the next three have 2, 4 and 8 times as many, the last as the fourth.
        image_size: Side of the square images that the position tables are for, a multiple of 16.
        depth: Blocks of the transformer.
        num_heads: Heads of each block.
        mlp_ratio: Width of the perceptrons' middle, in multiples of the channels.
        dropout: In the transformer, in training.

    Raises:
        ValueError: An option that is not one of these.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        width: int = 64,
        image_size: int = 256,
        depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4,
        dropout: float = 0.1,
    ) -> None:
        require_side(image_size)
        widths = [width * 2 ** min(i, 3) for i in range(5)]
        super().__init__(in_channels, num_classes, widths)
        stem = nn.Sequential(ConvNorm(nn.Conv2d(in_channels, width, 3, padding=1)), nn.ReLU(inplace=True))
        stages = (DoubleConv(a, b, bias=True) for a, b in pairwise(widths))
        self.encoder = nn.ModuleList([stem, *stages])
        self.transformer = ChannelCrossTransformer(
            widths[:-1],
            table_size=image_size // 16,
            num_heads=num_heads,
            depth=depth,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
        )
        outputs = (4 * width, 2 * width, width, width)
        inputs = (8 * width, *outputs[:-1])
        self.decoder = nn.ModuleList(
            _Up(skip, a, b) for skip, a, b in zip(reversed(widths[:-1]), inputs, outputs, strict=True)
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the four skips as the transformer leaves them, and the deepest map."""
        *skips, x = super().encode(x)
        return [*(skip + more for skip, more in zip(skips, self.transformer(skips), strict=True)), x]


class _Up(nn.Module):
    """A step up: double the map below, gate the skip's channels with it, concatenate both, convolve twice."""

    def __init__(self, skip_channels: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.gate = ChannelSkipGate(skip_channels, in_channels)
        self.conv = DoubleConv(skip_channels + in_channels, out_channels, bias=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(N, C', H, W)`` and the skip ``(N, C, 2H, 2W)`` -> ``(N, C'', 2H, 2W)``."""
        x = self.up(x)
        y: Tensor = self.conv(torch.cat([self.gate(x, skip), x], 1))
        return y
