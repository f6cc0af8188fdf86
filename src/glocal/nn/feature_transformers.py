"""LM-Net's local and global feature transformers (arXiv 2501.03838, Eqs. 11-13)."""

from __future__ import annotations

from torch import Tensor, nn

from glocal.nn.global_attention import GlobalAttention
from glocal.nn.neighborhood import NeighborhoodAttention2d
from glocal.nn.transformer import TransformerBlock

__all__ = ["GlobalFeatureTransformer", "LocalFeatureTransformer"]


class LocalFeatureTransformer(nn.Module):
    """Convolutional embedding, then a transformer block with neighbourhood attention. No positional embedding.

    Args:
        in_channels: Channels of the input.
        num_heads: Heads; must divide ``out_channels``.
        out_channels: Channels of the output; default: those of the input.
        window_size: Side of the attention window, odd.
        patch_size: Side of the embedding's kernel, odd.
        stride: Of the embedding.
        rel_pos_bias: Learn a bias for each offset in the window.
        mlp_ratio: Width of the perceptron's middle.
        dropout: Of the perceptron, in training.

    Raises:
        ValueError: ``num_heads`` does not divide ``out_channels``, or the window is even.

    Example:
        >>> import torch
        >>> from glocal.nn import LocalFeatureTransformer
        >>> block = LocalFeatureTransformer(24, num_heads=12)
        >>> block(torch.rand(1, 24, 17, 14)).shape
        torch.Size([1, 24, 17, 14])
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int,
        out_channels: int | None = None,
        *,
        window_size: int = 3,
        patch_size: int = 3,
        stride: int = 1,
        rel_pos_bias: bool = False,
        mlp_ratio: float = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels = in_channels if out_channels is None else out_channels
        self.embed = nn.Conv2d(in_channels, channels, patch_size, stride, patch_size // 2)
        attention = NeighborhoodAttention2d(channels, num_heads, window_size, rel_pos_bias=rel_pos_bias)
        self.block = TransformerBlock(channels, attention, mlp_ratio, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H / stride, W / stride)``."""
        z_NHWC = self.embed(x).permute(0, 2, 3, 1)
        out: Tensor = self.block(z_NHWC).permute(0, 3, 1, 2)
        return out


class GlobalFeatureTransformer(nn.Module):
    """Convolutional embedding, a transformer block over all pixels, then a 1×1 convolution. No positional embedding.

    Args:
        in_channels: Channels of the input and of the tokens.
        out_channels: Channels of the output.
        num_heads: Heads; must divide ``in_channels``.
        patch_size: Side of the embedding's kernel, odd.
        mlp_ratio: Width of the perceptron's middle.
        dropout: Of the perceptron, in training.

    Raises:
        ValueError: ``num_heads`` does not divide ``in_channels``.

    Example:
        >>> import torch
        >>> from glocal.nn import GlobalFeatureTransformer
        >>> block = GlobalFeatureTransformer(60, 32, num_heads=12)
        >>> block(torch.rand(1, 60, 6, 5)).shape
        torch.Size([1, 32, 6, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_heads: int,
        *,
        patch_size: int = 3,
        mlp_ratio: float = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(in_channels, in_channels, patch_size, padding=patch_size // 2)
        self.block = TransformerBlock(in_channels, GlobalAttention(in_channels, num_heads), mlp_ratio, dropout)
        self.out = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``; every pixel attends to all H·W."""
        height, width = x.shape[-2:]
        tokens_NLC = self.block(self.embed(x).flatten(2).transpose(1, 2))
        out: Tensor = self.out(tokens_NLC.transpose(1, 2).unflatten(2, (height, width)))
        return out
