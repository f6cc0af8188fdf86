"""Attention U-Net (Oktay et al., arXiv 1804.03999) as LeeJunHyun/Image_Segmentation has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glocal.models.registry import Paper, register
from glocal.models.ushaped import UShapedNetwork, comparison_record, double_conv_encoder
from glocal.nn import AdditiveAttentionGate, DoubleConv, NearestUpsampleConv

__all__ = ["AttentionUNet"]

_PAPER = Paper(
    title="Attention U-Net: Learning Where to Look for the Pancreas", year=2018, url="https://arxiv.org/abs/1804.03999"
)


@register(
    comparison_record(
        "attention_unet",
        "attention_unet",
        "U-Net whose skips are gated by the decoder",
        (34_878_638, 58_613_694_464),
        {1: 64, 2: 128, 4: 256, 8: 512, 16: 1024},
        _PAPER,
    ),
    comparison_record(
        "attention_unet_tiny",
        "attention_unet",
        "Attention U-Net of a quarter of the width, for small machines and demonstrations",
        (2_184_758, 3_536_429_056),
        {1: 16, 2: 32, 4: 64, 8: 128, 16: 256},
        _PAPER,
        {"width": 16},
    ),
)
class AttentionUNet(UShapedNetwork):
    """Attention U-Net: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    A gate weighs each pixel of a skip by the decoder's map, which has been doubled before; the paper gates with the
    coarser map. Images are padded to multiples of 16, the only sizes that the published code takes.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the first level, even; each next has twice as many.

    Raises:
        ValueError: ``width`` is below 2 or odd.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, *, width: int = 64) -> None:
        if width < 2 or width % 2:
            raise ValueError(f"width is {width}; it must be even, at least 2")
        widths = [width * 2**i for i in range(5)]
        super().__init__(in_channels, num_classes, widths)
        self.encoder = double_conv_encoder(in_channels, widths, bias=True)
        self.decoder = nn.ModuleList(_Up(width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, num_classes, 1)


class _Up(nn.Module):
    """A step up: double the map below, gate the skip with it, concatenate both, convolve twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = NearestUpsampleConv(2 * width, width)
        self.gate = AdditiveAttentionGate(width, width // 2)
        self.conv = DoubleConv(2 * width, width, bias=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(N, 2C, H, W)`` and the skip ``(N, C, 2H, 2W)`` -> ``(N, C, 2H, 2W)``."""
        x = self.up(x)
        y: Tensor = self.conv(torch.cat([self.gate(x, skip), x], 1))
        return y
