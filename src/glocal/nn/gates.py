"""Gates of a map: one a pixel, from its channels, and one a channel, from all pixels (CBAM, arXiv 1807.06521, §3.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["ChannelGate", "SpatialGate"]


class SpatialGate(nn.Module):
    """``x · sigmoid(batch norm(conv([max, mean over the channels of x])))``: one gate a pixel.

    Args:
        kernel_size: Side of the convolution's kernel, odd.

    Raises:
        ValueError: ``kernel_size`` is even.

    Example:
        >>> import torch
        >>> from glocal.nn import SpatialGate
        >>> SpatialGate()(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; it must be odd, so that the kernel has a centre")
        self.conv = ConvNorm(nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        statistics = torch.stack([x.amax(1), x.mean(1)], 1)
        gate: Tensor = self.conv(statistics).sigmoid()
        return gate * x


class ChannelGate(nn.Module):
    """``x · sigmoid(M(max of x) + M(mean of x))`` over all pixels: one gate a channel, M a small shared perceptron.

    The perceptron is C -> C/r -> ReLU -> C without biases; its weights keep the shape ``(out, in, 1, 1)`` of the 1×1
    convolutions that published checkpoints hold.

    Args:
        channels: C.
        reduction: r, how much narrower the middle is; at least one channel is left there.
        gate: ``"double_sigmoid"`` takes the sigmoid of the sigmoid, which keeps the gate between 0.5 and 0.73, as
            HiFuse's code did up to January 2024.

    Raises:
        ValueError: ``gate`` is none of these.

    Example:
        >>> import torch
        >>> from glocal.nn import ChannelGate
        >>> ChannelGate(24, reduction=8)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(
        self, channels: int, reduction: int = 16, gate: Literal["sigmoid", "double_sigmoid"] = "sigmoid"
    ) -> None:
        super().__init__()
        if gate not in ("sigmoid", "double_sigmoid"):
            raise ValueError(f"channel_gate is {gate!r}; use 'sigmoid' or 'double_sigmoid'")
        self.gate = gate
        self.fc1 = nn.Conv2d(channels, max(1, channels // reduction), 1, bias=False)
        self.fc2 = nn.Conv2d(self.fc1.out_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        pooled = torch.stack([x.amax((2, 3)), x.mean((2, 3))])
        hidden = F.relu(F.linear(pooled, self.fc1.weight.flatten(1))).sum(0)  # M is linear behind its ReLU
        gate = F.linear(hidden, self.fc2.weight.flatten(1)).sigmoid()
        if self.gate == "double_sigmoid":
            gate = gate.sigmoid()
        return gate[:, :, None, None] * x
