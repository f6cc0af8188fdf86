"""U-Net (Ronneberger et al., arXiv 1505.04597), padded and batch-normalised as milesial/Pytorch-UNet has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glocal.models.registry import Paper, register
from glocal.models.ushaped import UShapedNetwork, comparison_record, double_conv_encoder
from glocal.nn import DoubleConv

__all__ = ["UNet"]

_PAPER = Paper(
    title="U-Net: Convolutional Networks for Biomedical Image Segmentation",
    year=2015,
    url="https://arxiv.org/abs/1505.04597",
)


@register(
    comparison_record(
        "unet",
        "unet",
        "U-Net with transposed convolutions, as comparisons measure it",
        (31_037_698, 48_171_581_440),
        {1: 64, 2: 128, 4: 256, 8: 512, 16: 1024},
        _PAPER,
    ),
    comparison_record(
        "unet_bilinear",
        "unet",
        "U-Net with bilinear upsampling and a narrower bottom",
        (17_263_042, 39_984_300_032),
        {1: 64, 2: 128, 4: 256, 8: 512, 16: 512},
        _PAPER,
        {"bilinear": True},
    ),
    comparison_record(
        "unet_tiny",
        "unet",
        "U-Net of a quarter of the width, for small machines and demonstrations",
        (1_942_594, 3_033_530_368),
        {1: 16, 2: 32, 4: 64, 8: 128, 16: 256},
        _PAPER,
        {"width": 16},
    ),
)
class UNet(UShapedNetwork):
    """U-Net: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Unlike the paper's it pads its convolutions, so that the size stays, and has batch norms. Images are padded to
    multiples of 16; the published code pads maps on the way up, which is the same where nothing is to be padded.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        bilinear: Upsample by interpolation in place of transposed convolutions.
        width: Channels of the first level; each next has twice as many.

    Raises:
        ValueError: ``width`` is below 1, or odd with ``bilinear``.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 2, *, bilinear: bool = False, width: int = 64) -> None:
        if bilinear and width % 2:
            raise ValueError(f"width is {width}; with bilinear it must be even")
        widths = [width * 2**i for i in range(5)]
        if bilinear:
            widths[4] //= 2
        super().__init__(in_channels, num_classes, widths)
        self.encoder = double_conv_encoder(in_channels, widths)
        self.decoder = nn.ModuleList(_Up(width * 2**i, bilinear=bilinear, last=i == 0) for i in (3, 2, 1, 0))
        self.head = nn.Conv2d(width, num_classes, 1)


class _Up(nn.Module):
    """A step up: double the map below, concatenate it with the skip, convolve twice."""

    def __init__(self, width: int, *, bilinear: bool, last: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(2 * width, width if last else width // 2, width)
        else:
            self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
            self.conv = DoubleConv(2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(N, C, H, W)`` and the skip ``(N, C', 2H, 2W)`` -> ``(N, C'', 2H, 2W)``."""
        y: Tensor = self.conv(torch.cat([skip, self.up(x)], 1))
        return y
