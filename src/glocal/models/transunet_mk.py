"""The "TransUNet" that the LM-Net paper measured: mkara44/transunet_pytorch, a network of its own.

A convolutional stem, a wide post-norm transformer at stride 16, and a U-Net decoder; neither the authors' TransUNet
(arXiv 2102.04306) nor a ViT.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.models.transunet import require_side
from glocal.models.ushaped import comparison_record, fresh_head
from glocal.nn import ConvNorm, Mlp, PositionEmbedding2d, UpsampleSkipBlock

__all__ = ["TransUNetMK"]

_PAPER = Paper(
    title="TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation",
    year=2021,
    url="https://arxiv.org/abs/2102.04306",
)


def _record(name: str, summary: str, counts: tuple[int, int], **arguments: Any) -> ModelInfo:
    width = arguments.get("width", 128)
    features = {2: width, 4: 2 * width, 8: 4 * width, 16: 4 * width}
    return comparison_record(name, "transunet_mk", summary, counts, features, _PAPER, arguments)


@register(
    _record(
        "transunet_mk", "The TransUNet of the LM-Net paper's Table 1, by a third party", (88_073_346, 39_460_036_608)
    ),
    _record(
        "transunet_mk_tiny",
        "transunet_mk of a quarter of the width with four blocks, for small machines and demonstrations",
        (3_204_018, 1_951_926_272),
        width=32,
        depth=4,
        mlp_width=256,
    ),
)
class TransUNetMK(SegmentationNetwork):
    """TransUNet by mkara44: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code takes square images of one size. Here the position table is resampled for other sizes, and
    images off the grid are padded to multiples of 16 with their border.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the stem, a multiple of 8; the transformer has eight times as many. The published code runs
            with 128 only.
        image_size: Side of the square images that the position table is for, a multiple of 16.
        depth: Blocks of the transformer.
        num_heads: Heads of each block; how many the paper had is not known, the code's default is 4.
        mlp_width: Width of the perceptrons' middle.
        dropout: In the transformer, in training.
        scale: The published code multiplies the scores of the attention by the root of a head's width, which
            saturates the softmax and makes the network ill-conditioned; ``"standard"`` divides.

    Raises:
        ValueError: An option that is not one of these.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        width: int = 128,
        image_size: int = 256,
        depth: int = 12,
        num_heads: int = 4,
        mlp_width: int = 512,
        dropout: float = 0.1,
        scale: Literal["published", "standard"] = "published",
    ) -> None:
        super().__init__()
        require_side(image_size)
        if width < 8 or width % 8:
            raise ValueError(f"width is {width}; it must be a multiple of 8")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 16
        w = width
        self.feature_info = tuple(FeatureInfo(c, s) for c, s in ((w, 2), (2 * w, 4), (4 * w, 8), (4 * w, 16)))
        self.stem = ConvNorm(nn.Conv2d(in_channels, w, 7, 2, 3, bias=False))
        self.encoder = nn.ModuleList(_Bottleneck(w * 2**i, w * 2 ** (i + 1)) for i in range(3))
        self.transformer = _Transformer(8 * w, image_size // 16, depth, num_heads, mlp_width, dropout, scale)
        self.bridge = nn.Sequential(ConvNorm(nn.Conv2d(8 * w, 4 * w, 3, padding=1)), nn.ReLU(inplace=True))
        steps = ((4 * w, 4 * w, 2 * w), (2 * w, 2 * w, w), (w, w, w // 2), (w // 2, 0, w // 8))
        self.decoder = nn.ModuleList(UpsampleSkipBlock(*step, bias=True, skip_first=True) for step in steps)
        self.head = nn.Conv2d(w // 8, num_classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of stem and bottlenecks, strides 2, 4, 8; the bridge's, stride 16."""
        maps = [F.relu(self.stem(x), inplace=True)]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        return [*maps[:3], self.bridge(self.transformer(maps[3]))]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        *skips, x = features
        for step, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            x = step(x, skip)
        logits: Tensor = self.head(x)
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes


class _Bottleneck(nn.Module):
    """Half the size: 1×1, strided 3×3 and 1×1 convolutions with norms, plus a strided 1×1 convolution of the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = ConvNorm(nn.Conv2d(in_channels, out_channels, 1, 2, bias=False))
        self.first = ConvNorm(nn.Conv2d(in_channels, out_channels, 1, bias=False))
        self.second = ConvNorm(nn.Conv2d(out_channels, out_channels, 3, 2, 1, bias=False))
        self.third = ConvNorm(nn.Conv2d(out_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H / 2, W / 2)``."""
        y = F.relu(self.second(F.relu(self.first(x), inplace=True)), inplace=True)
        return F.relu(self.third(y) + self.shortcut(x), inplace=True)


class _Transformer(nn.Module):
    """Tokens of a map and a class token, which is dropped at the end, through post-norm blocks."""

    def __init__(
        self, channels: int, size: int, depth: int, num_heads: int, mlp_width: int, dropout: float, scale: str
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.projection = nn.Linear(channels, channels)
        self.class_token = nn.Parameter(torch.randn(1, 1, channels))
        self.position = PositionEmbedding2d(channels, size, extra=1)
        nn.init.uniform_(self.position.table)
        self.blocks = nn.Sequential(
            *(_PostNormBlock(channels, num_heads, mlp_width, dropout, scale) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape."""
        size = x.shape[2:]
        z = self.position(self.projection(x.permute(0, 2, 3, 1))).flatten(1, 2)
        first = self.class_token + self.position.table[:, :1]
        z = F.dropout(torch.cat([first.expand(z.shape[0], -1, -1), z], 1), self.dropout, self.training)
        out: Tensor = self.blocks(z)[:, 1:].unflatten(1, size).permute(0, 3, 1, 2)
        return out


class _PostNormBlock(nn.Module):
    """``z = norm(z + attention(z))``, then ``z = norm(z + mlp(z))``."""

    def __init__(self, channels: int, num_heads: int, mlp_width: int, dropout: float, scale: str) -> None:
        super().__init__()
        self.attention = _Attention(channels, num_heads, scale)
        self.norm1 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, mlp_width, dropout=dropout)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = dropout

    def forward(self, z: Tensor) -> Tensor:
        """``(N, tokens, C)`` -> the same shape."""
        z = self.norm1(z + F.dropout(self.attention(z), self.dropout, self.training))
        out: Tensor = self.norm2(z + self.mlp(z))
        return out


class _Attention(nn.Module):
    """Attention without biases whose projection has the head fastest, then query, key or value, then the width."""

    def __init__(self, channels: int, num_heads: int, scale: str) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {channels} channels; use a divisor")
        if scale not in ("published", "standard"):
            raise ValueError(f"scale is {scale!r}; use published or standard")
        self.num_heads = num_heads
        root = (channels / num_heads) ** 0.5
        self.scale = root if scale == "published" else 1 / root
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """``(N, tokens, C)`` -> the same shape."""
        q, k, v = self.qkv(z).unflatten(-1, (-1, 3, self.num_heads)).permute(3, 0, 4, 1, 2).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)  # (N, heads, tokens, C / heads)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out
