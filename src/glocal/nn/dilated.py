"""The dilated 3×3 convolution without the taps that see nothing but padding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DilatedConv2d"]


class DilatedConv2d(nn.Conv2d):
    """3×3 convolution with a dilation, padded so that the size stays.

    Along an axis no longer than the dilation, the outer taps only meet the padding: they are left out. The tensors are
    those of :class:`torch.nn.Conv2d`.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        dilation: Distance of the taps; 1: an ordinary 3×3 convolution.
        groups: As for :class:`torch.nn.Conv2d`.
        bias: Whether there is a bias.

    Example:
        >>> import torch
        >>> from glocal.nn import DilatedConv2d
        >>> DilatedConv2d(24, 8, dilation=6)(torch.rand(2, 24, 5, 9)).shape
        torch.Size([2, 8, 5, 9])
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, *, groups: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        weight, dilation = self.weight, self.dilation[0]
        rows, columns = (dilation if side > dilation else 0 for side in x.shape[-2:])
        weight = weight if rows else weight[:, :, 1:2]
        weight = weight if columns else weight[..., 1:2]
        return F.conv2d(x, weight, self.bias, padding=(rows, columns), dilation=dilation, groups=self.groups)
