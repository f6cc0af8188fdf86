"""Channels that attend to the channels of all scales (UCTransNet, Wang et al., arXiv 2109.04335, §3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.mlp import Mlp
from glocal.nn.position_embedding import PositionEmbedding2d

__all__ = ["ChannelCrossAttention", "ChannelCrossTransformer"]

_EPS = 1e-6


class ChannelCrossAttention(nn.Module):
    """Attention between channels: those of each scale ask, those of all scales together answer.

    Every head has the full width. The scores of a head, ``(c_i, C)``, are normalised over the whole map (instance norm
    without parameters, by its own statistics in evaluation as well), so that the softmax over C is neither flat nor
    saturated. The heads are averaged.

    Args:
        channels: c_i of each scale; C is their sum.
        num_heads: Heads.
        dropout: Of the scores and behind the last projections, in training.

    Raises:
        ValueError: ``num_heads`` is below 1, or ``dropout`` no probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import ChannelCrossAttention
        >>> attention = ChannelCrossAttention([8, 16])
        >>> scales = [torch.rand(2, 30, 8), torch.rand(2, 30, 16)]
        >>> [tuple(x.shape) for x in attention(scales, torch.cat(scales, -1))]
        [(2, 30, 8), (2, 30, 16)]
    """

    def __init__(self, channels: Sequence[int], num_heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"num_heads is {num_heads}; it must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it is a probability, at least 0 and below 1")
        total = sum(channels)
        self.num_heads = num_heads
        self.dropout = dropout
        self.q = nn.ModuleList(nn.Linear(c, num_heads * c, bias=False) for c in channels)
        self.k = nn.Linear(total, num_heads * total, bias=False)
        self.v = nn.Linear(total, num_heads * total, bias=False)
        self.proj = nn.ModuleList(nn.Linear(c, c, bias=False) for c in channels)

    def forward(self, scales: Sequence[Tensor], together: Tensor) -> list[Tensor]:
        """Attention of each scale.

        Args:
            scales: Tokens of each scale, ``(N, T, c_i)``.
            together: Tokens of all, side by side, ``(N, T, C)``.

        Returns:
            As ``scales``.
        """
        total, heads = together.shape[-1], self.num_heads
        k = self.k(together).unflatten(-1, (heads, total)).permute(0, 2, 1, 3)  # (N, heads, T, C)
        v = self.v(together)  # (N, T, heads · C)
        mixed = []
        for x, query, proj in zip(scales, self.q, self.proj, strict=True):
            q = query(x).unflatten(-1, (heads, x.shape[-1])).permute(0, 2, 3, 1)  # (N, heads, c, T)
            shares = F.softmax(_normalised(q @ k / total**0.5), -1)
            shares = F.dropout(shares, self.dropout, self.training).to(v.dtype)
            mean = v @ shares.permute(0, 1, 3, 2).flatten(1, 2) / heads  # the sum over heads is part of the product
            mixed.append(F.dropout(proj(mean), self.dropout, self.training))
        return mixed

    def published_macs(self, inputs: tuple[Sequence[Tensor], Tensor], output: Sequence[Tensor]) -> int:
        """Multiply-adds by the papers' counter: linear layers, norms of scores, softmax; no products of attention."""
        scales, together = inputs
        batch, tokens, total = together.shape
        linear = tokens * self.num_heads * 2 * total**2
        for x in scales:
            c = x.shape[-1]
            linear += tokens * c**2 * (self.num_heads + 1) + self.num_heads * c * (2 * total + 3 * total - 1)
        return batch * linear


class _Block(nn.Module):
    """Channel attention, then a perceptron for each scale; both on normalised tokens, both added."""

    def __init__(self, channels: Sequence[int], num_heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(sum(channels), eps=_EPS)
        self.norms1 = nn.ModuleList(nn.LayerNorm(c, eps=_EPS) for c in channels)
        self.attention = ChannelCrossAttention(channels, num_heads, dropout)
        self.norms2 = nn.ModuleList(nn.LayerNorm(c, eps=_EPS) for c in channels)
        self.mlps = nn.ModuleList(Mlp(c, int(mlp_ratio * c), dropout=0.0) for c in channels)
        for module in self.mlps.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.normal_(module.bias, std=1e-6)

    def forward(self, scales: list[Tensor]) -> list[Tensor]:
        """Tokens ``(N, T, c_i)`` -> the same shapes."""
        normal = [norm(x) for norm, x in zip(self.norms1, scales, strict=True)]
        mixed = self.attention(normal, self.norm(torch.cat(scales, -1)))
        scales = [x + y for x, y in zip(scales, mixed, strict=True)]
        return [x + mlp(norm(x)) for x, norm, mlp in zip(scales, self.norms2, self.mlps, strict=True)]


class ChannelCrossTransformer(nn.Module):
    """The skips of a U-Net, changed together: patches of each become tokens, whose channels attend to each other.

    Map i is cut into patches of side ``patch_size / 2^i``, so that all scales have equally many tokens.

    Args:
        channels: Of each map, finest first; map i + 1 has half the size of map i.
        patch_size: Side of the patches of the first map, a multiple of ``2^(maps − 1)``.
        table_size: Side of the square map of tokens that the position tables are for.
        num_heads: Heads of each block.
        depth: Blocks.
        mlp_ratio: Width of the perceptrons' middle, in multiples of the channels.
        dropout: Behind the position tables and in the attention, in training.

    Raises:
        ValueError: ``patch_size`` cannot be halved that often.

    Example:
        >>> import torch
        >>> from glocal.nn import ChannelCrossTransformer
        >>> skips = ChannelCrossTransformer([8, 16], patch_size=4, table_size=4, depth=1)
        >>> [tuple(x.shape) for x in skips([torch.rand(2, 8, 12, 20), torch.rand(2, 16, 6, 10)])]
        [(2, 8, 12, 20), (2, 16, 6, 10)]
    """

    def __init__(
        self,
        channels: Sequence[int],
        patch_size: int = 16,
        *,
        table_size: int = 16,
        num_heads: int = 4,
        depth: int = 4,
        mlp_ratio: float = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if patch_size < 1 or patch_size % 2 ** (len(channels) - 1):
            raise ValueError(f"patch_size is {patch_size}; with {len(channels)} maps give {2 ** (len(channels) - 1)}·k")
        sides = [patch_size // 2**i for i in range(len(channels))]
        self.dropout = dropout
        self.embed = nn.ModuleList(nn.Conv2d(c, c, side, side) for c, side in zip(channels, sides, strict=True))
        self.positions = nn.ModuleList(PositionEmbedding2d(c, table_size) for c in channels)
        self.blocks = nn.ModuleList(_Block(channels, num_heads, mlp_ratio, dropout) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(c, eps=_EPS) for c in channels)
        self.reconstruct = nn.ModuleList(_Reconstruction(c, side) for c, side in zip(channels, sides, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(N, c_i, H / 2^i, W / 2^i)``, H and W multiples of ``patch_size`` -> what is to be added to them."""
        scales = []
        for x, embed, position in zip(maps, self.embed, self.positions, strict=True):
            z = position(embed(x).permute(0, 2, 3, 1))
            scales.append(F.dropout(z.flatten(1, 2), self.dropout, self.training))
            size = z.shape[1:3]
        for block in self.blocks:
            scales = block(scales)
        changed = []
        for x, norm, reconstruct in zip(scales, self.norms, self.reconstruct, strict=True):
            changed.append(reconstruct(norm(x).unflatten(1, size).permute(0, 3, 1, 2)))
        return changed


class _Reconstruction(nn.Module):
    """A map of tokens at the size of their patches: every pixel repeated, 1×1 convolution, batch norm, ReLU.

    All three act on a pixel alone. In evaluation they come before the repeating, to the same effect; in training that
    would change the running variance, which divides by the number of pixels less one.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.layer = ConvNorm(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, side·H, side·W)``."""
        if self.training:
            return F.relu(self.layer(F.interpolate(x, scale_factor=self.side)), inplace=True)
        return F.interpolate(F.relu(self.layer(x), inplace=True), scale_factor=self.side)

    def published_macs(self, inputs: tuple[Tensor], output: Tensor) -> int:
        """Multiply-adds by the papers' counter, which sees the convolution and its norm on the large map."""
        return output.numel() * (output.shape[1] + 4)


def _normalised(scores: Tensor) -> Tensor:
    """``(N, heads, c, C)`` with mean 0 and variance 1 over each head's map."""
    scores = scores - scores.mean((-2, -1), keepdim=True)
    return scores * torch.rsqrt(scores.square().mean((-2, -1), keepdim=True) + 1e-5)
