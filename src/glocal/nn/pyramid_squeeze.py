"""Pyramid squeeze attention: kernels of several sizes side by side, weighed against each other (EPSANet)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PyramidSqueezeAttention"]


class PyramidSqueezeAttention(nn.Module):
    """Grouped convolutions with kernels 3, 5, 7, 9, weighted per channel by a softmax over the scales, concatenated.

    Each scale gives a quarter of the channels. One squeeze-excitation, shared by the scales, makes a score of each
    channel of each; its sigmoid goes into a softmax over the scales (arXiv 2105.14447, as HiPerformer's published code
    has it: the scales are concatenated in reverse, largest kernel first).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; a multiple of the number of kernels.
        kernel_sizes: One a scale, odd.
        groups: One a scale. Where one does not divide the channels, the largest common divisor is taken, so that narrow
            networks work.
        reduction: How much narrower the middle of the squeeze-excitation is than a scale; at least one channel is left.

    Raises:
        ValueError: The scales do not divide ``out_channels``, as many groups as kernels are not given, or ``reduction``
            is below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import PyramidSqueezeAttention
        >>> attention = PyramidSqueezeAttention(64, 128)
        >>> attention(torch.rand(2, 64, 7, 9)).shape
        torch.Size([2, 128, 7, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (3, 5, 7, 9),
        groups: Sequence[int] = (1, 4, 8, 16),
        reduction: int = 16,
    ) -> None:
        super().__init__()
        scales = len(kernel_sizes)
        if len(groups) != scales:
            raise ValueError(f"{len(groups)} groups for {scales} kernel sizes; give one a scale")
        if out_channels % scales:
            raise ValueError(f"out_channels is {out_channels}; it must be a multiple of {scales}, the number of scales")
        if reduction < 1:
            raise ValueError(f"the squeeze-excitation's reduction is {reduction}; it must be at least 1")
        part = out_channels // scales
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, part, k, padding=k // 2, groups=math.gcd(g, in_channels, part))
            for k, g in zip(kernel_sizes, groups, strict=True)
        )
        self.squeeze = nn.Linear(part, max(1, part // reduction))
        self.excite = nn.Linear(max(1, part // reduction), part)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        if x.device.type == "cpu" and x.shape[1] < _WIDE:
            x = x.contiguous(memory_format=torch.channels_last)
        maps = torch.cat([conv(x) for conv in reversed(self.convs)], 1)
        pooled = maps.mean((2, 3)).reshape(-1, len(self.convs), self.squeeze.in_features)  # a vector for each scale
        scores = torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))
        return maps * scores.softmax(1).flatten(1)[..., None, None]


_WIDE = 256
"""Of fewer channels a CPU computes grouped convolutions 2 to 4 times faster channels-last; of more not, measured."""
