"""LM-Net's multi-branch module: an inverted bottleneck around parallel branches (arXiv 2501.03838)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.reparam import ReparamConv2d
from glocal.nn.squeeze_excitation import SqueezeExcitation

__all__ = ["MultiBranchBlock"]


class MultiBranchBlock(nn.Module):
    """Expand (1×1, BN, H-swish) -> branches -> GELU -> squeeze-excitation -> 1×1, plus a 1×1 shortcut.

    The shortcut is a convolution also where the widths agree; nothing follows the sum.

    Args:
        in_channels: Channels of the input.
        expand_channels: Channels of the branches.
        out_channels: Channels of the output.
        branches: As in :class:`~glocal.nn.ReparamConv2d`.
        se_reduction: As in :class:`~glocal.nn.SqueezeExcitation`.
        bias: Whether the expansion and the shortcut have a bias.
        merged: Build the branches merged, as a merged checkpoint holds them.

    Example:
        >>> import torch
        >>> from glocal.nn import MultiBranchBlock
        >>> block = MultiBranchBlock(3, 24, 12)
        >>> block(torch.rand(2, 3, 16, 20)).shape
        torch.Size([2, 12, 16, 20])
    """

    def __init__(
        self,
        in_channels: int,
        expand_channels: int,
        out_channels: int,
        branches: Sequence[str] | Mapping[str, str] = ("large", "square", "ver", "hor"),
        *,
        se_reduction: int = 4,
        bias: bool = True,
        merged: bool = False,
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(nn.Conv2d(in_channels, expand_channels, 1, bias=bias))
        self.depthwise = ReparamConv2d(expand_channels, branches, merged=merged)
        self.se = SqueezeExcitation(expand_channels, se_reduction, inplace=True)
        self.pointwise = nn.Conv2d(expand_channels, out_channels, 1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        expanded = F.hardswish(self.expand(x), inplace=not torch.is_grad_enabled())  # its input is ours alone
        local = self.se(F.gelu(self.depthwise(expanded)))
        out: Tensor = self.pointwise(local) + self.shortcut(x)
        return out
