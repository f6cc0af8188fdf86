"""The encoder that Mix Transformer (SegFormer, arXiv 2105.15203) and PVTv2 (arXiv 2106.13797) share.

The two differ in the widths of their perceptrons alone. Maps are channels-last throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from glocal.nn.conv_mlp import ConvMlp
from glocal.nn.drop_path import drop_path_rates
from glocal.nn.spatial_reduction import SpatialReductionAttention
from glocal.nn.transformer import TransformerBlock

__all__ = ["MixTransformerBlock", "MixTransformerEncoder"]


class MixTransformerBlock(TransformerBlock):
    """A transformer block of spatial-reduction attention and a perceptron with a depth-wise convolution.

    Args:
        channels: C.
        num_heads: Heads; must divide ``channels``.
        reduction: Side of the patches that become one key.
        mlp_ratio: Width of the perceptron's middle, in multiples of ``channels``.
        dropout: Behind projections and in the perceptron, in training.
        drop_path: Probability that a sample skips one of the two branches, in training.

    Raises:
        ValueError: As for :class:`SpatialReductionAttention`.

    Example:
        >>> import torch
        >>> from glocal.nn import MixTransformerBlock
        >>> MixTransformerBlock(24, num_heads=3, reduction=4)(torch.rand(2, 14, 9, 24)).shape
        torch.Size([2, 14, 9, 24])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        reduction: int = 1,
        mlp_ratio: float = 4,
        *,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        attention = SpatialReductionAttention(channels, num_heads, reduction, dropout=dropout)
        super().__init__(channels, attention, mlp_ratio, dropout, drop_path, eps=1e-6)
        self.mlp = ConvMlp(channels, int(channels * mlp_ratio), dropout)
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


class MixTransformerEncoder(nn.Module):
    """Four stages at strides 4, 8, 16 and 32: overlapping patches, transformer blocks, a layer norm.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the stages.
        depths: Blocks of the stages.
        num_heads: Heads of the stages.
        mlp_ratios: Of the stages, the perceptrons' middles in multiples of the width.
        reductions: Of the stages, side of the patches that become a key.
        dropout: Behind projections and in perceptrons, in training.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.

    Raises:
        ValueError: Heads that do not divide the width, or a rate that is not a probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import MixTransformerEncoder
        >>> encoder = MixTransformerEncoder(3, (16, 32, 40, 64), (1, 1, 1, 1))
        >>> [tuple(x.shape[1:]) for x in encoder(torch.rand(1, 3, 64, 50))]
        [(16, 16, 13), (32, 8, 7), (40, 4, 4), (64, 2, 2)]
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        *,
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        reductions: Sequence[int] = (8, 4, 2, 1),
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.embed = nn.ModuleList(
            _OverlappingPatches(a, b, *((7, 4) if i == 0 else (3, 2)))
            for i, (a, b) in enumerate(zip(inputs, widths, strict=True))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    MixTransformerBlock(width, heads, reduction, ratio, dropout=dropout, drop_path=rate)
                    for rate in rates
                )
            )
            for width, heads, reduction, ratio, rates in zip(
                widths, num_heads, reductions, mlp_ratios, drop_path_rates(drop_path, tuple(depths)), strict=True
            )
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> four maps ``(N, width, ceil(H / stride), ceil(W / stride))``, finest first."""
        maps = []
        for embed, stage, norm in zip(self.embed, self.stages, self.norms, strict=True):
            x = norm(stage(embed(x))).permute(0, 3, 1, 2)
            maps.append(x)
        return maps


class _OverlappingPatches(nn.Module):
    """A strided convolution whose patches overlap, and a layer norm: ``(N, in, H, W)`` -> ``(N, H', W', out)``."""

    def __init__(self, in_channels: int, out_channels: int, side: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, side, stride, padding=side // 2)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return y
