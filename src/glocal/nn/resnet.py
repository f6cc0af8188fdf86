"""The encoder of ResNet-50 and its kind (He et al., arXiv 1512.03385), with strides or dilation."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.dilated import DilatedConv2d

__all__ = ["Bottleneck", "ResNetEncoder"]


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution, each with batch norm, around which the input is added.

    The stride is in the 3×3 convolution, as in all common weights ("version 1.5"). Where stride or channels change,
    the input is added through a 1×1 convolution with batch norm.

    Args:
        in_channels: Channels of the input.
        hidden: Channels of the 3×3 convolution; the output has four times as many.
        stride: Of the 3×3 convolution.
        dilation: Of the 3×3 convolution, where its stride is 1.

    Raises:
        ValueError: Both stride and dilation are above 1.

    Example:
        >>> import torch
        >>> from glocal.nn import Bottleneck
        >>> Bottleneck(12, 6, stride=2)(torch.rand(2, 12, 7, 10)).shape
        torch.Size([2, 24, 4, 5])
    """

    def __init__(self, in_channels: int, hidden: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        if stride > 1 and dilation > 1:
            raise ValueError(f"stride {stride} and dilation {dilation}; one of them must be 1")
        channels = 4 * hidden
        middle = nn.Conv2d(hidden, hidden, 3, stride, padding=1, bias=False)
        if dilation > 1:
            middle = DilatedConv2d(hidden, hidden, dilation, bias=False)
        self.reduce = ConvNorm(nn.Conv2d(in_channels, hidden, 1, bias=False))
        self.conv = ConvNorm(middle)
        self.expand = ConvNorm(nn.Conv2d(hidden, channels, 1, bias=False))
        self.shortcut: ConvNorm | None = None
        if stride > 1 or in_channels != channels:
            self.shortcut = ConvNorm(nn.Conv2d(in_channels, channels, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, 4 · hidden, ceil(H / stride), ceil(W / stride))``."""
        y = F.relu(self.reduce(x), inplace=True)
        y = F.relu(self.conv(y), inplace=True)
        return F.relu(self.expand(y) + (x if self.shortcut is None else self.shortcut(x)))


class ResNetEncoder(nn.Module):
    """Stem of stride 4 and four stages of bottlenecks: one map a stage.

    Args:
        in_channels: Channels of the image.
        width: Channels of the stem; the maps have 4, 8, 16 and 32 times as many.
        depths: Blocks of the four stages.
        output_stride: 32, or 16 or 8: the strides of the last one or two stages then become dilation. The first
            block of such a stage keeps the dilation of the stage before.

    Raises:
        ValueError: ``output_stride`` is none of these.

    Example:
        >>> import torch
        >>> from glocal.nn import ResNetEncoder
        >>> [tuple(x.shape) for x in ResNetEncoder(3, width=4, depths=(1, 1, 2, 1))(torch.rand(1, 3, 64, 33))]
        [(1, 16, 16, 9), (1, 32, 8, 5), (1, 64, 4, 3), (1, 128, 2, 2)]
    """

    def __init__(
        self, in_channels: int, width: int = 64, depths: Sequence[int] = (3, 4, 6, 3), output_stride: int = 32
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {output_stride}; use 8, 16 or 32")
        self.channels = tuple(4 * width * 2**i for i in range(4))
        self.stem = ConvNorm(nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False))
        self.stages = nn.ModuleList()
        inputs, stride, dilation = width, 4, 1
        for i, depth in enumerate(depths):
            wanted = 1 if i == 0 else 2
            step = wanted if stride * wanted <= output_stride else 1
            blocks = [Bottleneck(inputs, width * 2**i, step, dilation)]
            dilation *= wanted // step
            inputs, stride = self.channels[i], stride * step
            blocks += [Bottleneck(inputs, width * 2**i, dilation=dilation) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the four stages."""
        x = F.max_pool2d(F.relu(self.stem(x), inplace=True), 3, 2, padding=1)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
