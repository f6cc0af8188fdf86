"""The encoder of MobileNetV2 (Sandler et al., arXiv 1801.04381), with strides or dilation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.dilated import DilatedConv2d

__all__ = ["InvertedResidual", "MobileNetV2Encoder"]

_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride (Table 2 of the paper)."""
_LEVELS = (1, 3, 6, 13, 17)
"""Number of the block, from 1, after which a map of the pyramid is taken."""


class InvertedResidual(nn.Module):
    """1×1 expansion, depth-wise 3×3 and 1×1 projection, each with batch norm; ReLU6 behind the first two.

    The input is added where the stride is 1 and the channels stay.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Of the depth-wise convolution.
        expansion: How many times wider the middle is; 1: no expansion.
        dilation: Of the depth-wise convolution, where its stride is 1.
        pad_before_expansion: Pad the input with zeros rather than the expanded map, as DeepLab's code does: beyond the
            border the depth-wise convolution then sees what the expansion makes of zero.

    Example:
        >>> import torch
        >>> from glocal.nn import InvertedResidual
        >>> InvertedResidual(12, 16, stride=2)(torch.rand(2, 12, 7, 10)).shape
        torch.Size([2, 16, 4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expansion: int = 6,
        dilation: int = 1,
        *,
        pad_before_expansion: bool = False,
    ) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.margin = dilation if pad_before_expansion else 0
        self.adds = stride == 1 and in_channels == out_channels
        depthwise: nn.Conv2d
        if stride == 1 and not pad_before_expansion:
            depthwise = DilatedConv2d(hidden, hidden, dilation, groups=hidden, bias=False)
        else:
            padding = 0 if pad_before_expansion else 1
            depthwise = nn.Conv2d(hidden, hidden, 3, stride, padding, dilation, groups=hidden, bias=False)
        self.expand = None if expansion == 1 else ConvNorm(nn.Conv2d(in_channels, hidden, 1, bias=False))
        self.depthwise = ConvNorm(depthwise)
        self.project = ConvNorm(nn.Conv2d(hidden, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        y = F.pad(x, (self.margin,) * 4) if self.margin else x
        if self.expand is not None:
            y = F.relu6(self.expand(y))
        y = F.relu6(self.depthwise(y))
        out: Tensor = self.project(y)
        return x + out if self.adds else out


class MobileNetV2Encoder(nn.Module):
    """Stem and seventeen inverted residuals: the last map of each of the strides 2, 4, 8, 16, 32.

    Args:
        in_channels: Channels of the image.
        output_stride: 32, or 16 or 8: further strides then become dilation, and their maps have this stride.
        dilate_early: Whether, where a stride becomes dilation, the group's blocks behind the first have it already
            (VainF); or only the next group (jfzhang95).
        pad_before_expansion: As for :class:`InvertedResidual`.
        stem_padding: Of the first convolution; 0 makes odd maps of even images (VainF).

    Raises:
        ValueError: ``output_stride`` is none of these.

    Example:
        >>> import torch
        >>> from glocal.nn import MobileNetV2Encoder
        >>> [tuple(x.shape[1:]) for x in MobileNetV2Encoder(3, output_stride=16)(torch.rand(1, 3, 64, 33))]
        [(16, 32, 17), (24, 16, 9), (32, 8, 5), (96, 4, 3), (320, 4, 3)]
    """

    def __init__(
        self,
        in_channels: int,
        output_stride: int = 32,
        *,
        dilate_early: bool = False,
        pad_before_expansion: bool = False,
        stem_padding: int = 1,
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {output_stride}; use 8, 16 or 32")
        self.published_places = 1
        self.stem = ConvNorm(nn.Conv2d(in_channels, 32, 3, 2, stem_padding, bias=False))
        self.blocks = nn.ModuleList()
        inputs, total, rate = 32, 2, 1
        for expansion, channels, depth, wanted in _GROUPS:
            stride = wanted if total < output_stride else 1
            first, rate = rate, rate * wanted // stride
            for i in range(depth):
                dilation = rate if dilate_early and i else first
                self.blocks.append(
                    InvertedResidual(
                        inputs,
                        channels,
                        1 if i else stride,
                        expansion,
                        dilation,
                        pad_before_expansion=pad_before_expansion,
                    )
                )
                inputs = channels
            total *= stride
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps of 16, 24, 32, 96 and 320 channels."""
        x = F.relu6(self.stem(x))
        maps: list[Tensor] = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in _LEVELS:
                maps.append(x)
        return maps
