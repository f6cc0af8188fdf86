"""Channels of a skip, gated by the decoder (UCTransNet, Wang et al., arXiv 2109.04335, §3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ChannelSkipGate"]


class ChannelSkipGate(nn.Module):
    """``ReLU(skip · sigmoid((A·mean(skip) + B·mean(map)) / 2))``, means over the pixels, A and B linear.

    Args:
        skip_channels: C of the skip.
        channels: Channels of the decoder's map; default: C.

    Example:
        >>> import torch
        >>> from glocal.nn import ChannelSkipGate
        >>> gate = ChannelSkipGate(24, 12)
        >>> gate(torch.rand(2, 12, 5, 7), torch.rand(2, 24, 10, 14)).shape
        torch.Size([2, 24, 10, 14])
    """

    def __init__(self, skip_channels: int, channels: int | None = None) -> None:
        super().__init__()
        self.skip = nn.Linear(skip_channels, skip_channels)
        self.map = nn.Linear(skip_channels if channels is None else channels, skip_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """The decoder's map ``(N, C', H', W')`` and the skip ``(N, C, H, W)`` -> the skip, gated."""
        gate = torch.sigmoid((self.skip(skip.mean((2, 3))) + self.map(x.mean((2, 3)))) / 2)
        return F.relu(skip * gate[:, :, None, None], inplace=True)
