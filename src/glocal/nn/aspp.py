"""Atrous spatial pyramid pooling of ResUNet++ (arXiv 1911.07067) and of LM-Net's Table 8 (arXiv 2501.03838)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm, fold_norm, require_eval
from glocal.nn.dilated import DilatedConv2d

__all__ = ["ASPP"]


class ASPP(nn.Module):
    """Dilated 3×3 convolutions side by side with the mean of the map, concatenated and mixed by a 1×1 convolution.

    Differs from DeepLab's: all branches are 3×3, and in them the ReLU stands before the norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of every branch and of the output.
        rates: Dilations.
        pooled: Whether the mean of the map is a branch, and batch norm and ReLU follow the mixing (LM-Net); or neither
            (ResUNet++).

    Example:
        >>> import torch
        >>> from glocal.nn import ASPP
        >>> ASPP(20, 16)(torch.rand(2, 20, 16, 13)).shape
        torch.Size([2, 16, 16, 13])
    """

    def __init__(
        self, in_channels: int, out_channels: int, rates: Sequence[int] = (1, 6, 12, 18), *, pooled: bool = True
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                DilatedConv2d(in_channels, out_channels, rate),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(out_channels),
            )
            for rate in rates
        )
        self.pooled = ConvNorm(nn.Conv2d(in_channels, out_channels, 1)) if pooled else None
        mix = nn.Conv2d((len(rates) + pooled) * out_channels, out_channels, 1)
        self.fuse: ConvNorm | nn.Conv2d = ConvNorm(mix) if pooled else mix
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        maps = [branch(x) for branch in self.branches]
        if self.pooled is None:
            mixed: Tensor = self.fuse(torch.cat(maps, 1))
            return mixed
        pooled = F.relu(self.pooled(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[-2:])
        return F.relu(self.fuse(torch.cat([*maps, pooled], 1)))

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the norms of the branches into the mixing behind them, in place; a second call changes nothing.

        Raises:
            ValueError: The module is in training mode.
        """
        mix = self.fuse.conv if isinstance(self.fuse, ConvNorm) else self.fuse
        assert mix.bias is not None
        width = mix.out_channels
        for i, branch in enumerate(self.branches):
            assert isinstance(branch, nn.Sequential)
            norm = branch[2]
            if not isinstance(norm, nn.BatchNorm2d):
                return
            require_eval(self)
            weight = mix.weight[:, i * width : (i + 1) * width, 0, 0]
            gain, offset = fold_norm(weight.new_ones(width, 1, 1, 1), None, norm)
            mix.bias += weight.to(offset) @ offset
            weight *= gain.flatten()
            branch[2] = nn.Identity()
