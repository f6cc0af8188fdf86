"""The pre-norm transformer block, whatever its attention (LM-Net, Eqs. 11-13; Swin, Eq. 3; PVT; DSSAU-Net)."""

from __future__ import annotations

from torch import Tensor, nn

from glocal.nn.drop_path import DropPath
from glocal.nn.mlp import Mlp

__all__ = ["TransformerBlock"]


class TransformerBlock(nn.Module):
    """``z = z + attention(norm(z))``, then ``z = z + mlp(norm(z))``.

    Args:
        channels: Channels of the last axis.
        attention: Maps ``(N, ..., C)`` to the same shape.
        mlp_ratio: Width of the perceptron's middle, in multiples of ``channels``.
        dropout: Of the perceptron, in training.
        drop_path: Probability that a sample skips one of the two branches, in training.
        eps: Of the two layer norms.

    Example:
        >>> import torch
        >>> from glocal.nn import GlobalAttention, TransformerBlock
        >>> block = TransformerBlock(60, GlobalAttention(60, num_heads=12))
        >>> block(torch.rand(2, 35, 60)).shape
        torch.Size([2, 35, 60])
    """

    def __init__(
        self,
        channels: int,
        attention: nn.Module,
        mlp_ratio: float = 2,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attention = attention
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = Mlp(channels, int(channels * mlp_ratio), dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, z: Tensor) -> Tensor:
        """``(N, ..., C)`` -> ``(N, ..., C)``."""
        z = z + self.drop_path(self.attention(self.norm1(z)))
        out: Tensor = z + self.drop_path(self.mlp(self.norm2(z)))
        return out
