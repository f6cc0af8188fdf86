"""TransUNet: a ViT at the bottom of a U-Net, on a convolutional trunk or on the image (Chen et al., arXiv 2102.04306).

As Beckschen/TransUNet has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.models.ushaped import comparison_record
from glocal.nn import (
    ConvNorm,
    GlobalAttention,
    PositionEmbedding2d,
    TransformerBlock,
    UpsampleSkipBlock,
    WeightStandardizedConv2d,
)

__all__ = ["HybridTrunk", "TransUNet", "require_side"]

_PAPER = Paper(
    title="TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation",
    year=2021,
    url="https://arxiv.org/abs/2102.04306",
)


def _record(name: str, summary: str, counts: tuple[int, int], features: dict[int, int], **arguments: Any) -> ModelInfo:
    return comparison_record(name, "transunet", summary, counts, features, _PAPER, arguments)


@register(
    _record(
        "transunet_r50",
        "TransUNet on a ResNet-50 trunk (R50-ViT-B/16), the authors' network",
        (105_322_146, 38_393_856_000),
        {2: 64, 4: 256, 8: 512, 16: 768},
    ),
    _record(
        "transunet_vit",
        "TransUNet on ViT-B/16 alone: no convolutions before the transformer, no skips",
        (91_719_266, 30_217_863_168),
        {16: 768},
        trunk=False,
    ),
    _record(
        "transunet_tiny",
        "TransUNet on a shallow trunk of half the width, for small machines and demonstrations",
        (4_115_778, 3_741_607_936),
        {2: 32, 4: 128, 8: 256, 16: 192},
        trunk_width=32,
        trunk_depths=(1, 1, 2),
        embed_dim=192,
        depth=4,
        num_heads=3,
        decoder_widths=(256, 128, 64, 32, 16),
    ),
)
class TransUNet(SegmentationNetwork):
    """TransUNet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code takes square images of one size. Here the position table is resampled for other sizes, and
    images off the grid are padded to multiples of 16 with their border.

    Args:
        in_channels: Channels of the image. The published network repeats grey images to three.
        num_classes: Channels of the logits.
        trunk: Whether a convolutional trunk comes before the transformer and gives the skips. Without, 16×16 patches
            of the image are embedded, and the decoder has no skips.
        image_size: Side of the square images that the position table is for, a multiple of 16.
        skips: How many skips the decoder takes, coarsest first, up to 3; default: all there are.
        embed_dim: Channels of the transformer.
        depth: Blocks of the transformer.
        num_heads: Heads of each block.
        mlp_ratio: Width of the perceptrons' middle, in multiples of ``embed_dim``.
        dropout: Behind the position table and in the perceptrons, in training.
        trunk_width: Channels of the trunk's stem, a multiple of 32.
        trunk_depths: Units of the trunk's three blocks.
        decoder_widths: Channels behind the transformer, and behind each of the four decoder steps.

    Raises:
        ValueError: An option that is not one of these.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        trunk: bool = True,
        image_size: int = 256,
        skips: int | None = None,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4,
        dropout: float = 0.1,
        trunk_width: int = 64,
        trunk_depths: Sequence[int] = (3, 4, 9),
        decoder_widths: Sequence[int] = (512, 256, 128, 64, 16),
    ) -> None:
        super().__init__()
        require_side(image_size)
        most = 3 if trunk else 0
        if skips is not None and not 0 <= skips <= most:
            raise ValueError(f"skips is {skips}; {'give 0 to 3' if trunk else 'without a trunk there are none'}")
        if len(decoder_widths) != 5:
            raise ValueError(f"decoder_widths is {list(decoder_widths)}; give five: the transformer's, and four steps")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 16
        self.skips = most if skips is None else skips
        self.dropout = dropout
        self.trunk = HybridTrunk(in_channels, trunk_width, trunk_depths) if trunk else None
        widths = () if self.trunk is None else self.trunk.channels[:-1]
        self.feature_info = (
            *(FeatureInfo(width, 2 * 2**i) for i, width in enumerate(widths)),
            FeatureInfo(embed_dim, 16),
        )
        self.embed = (
            nn.Conv2d(in_channels, embed_dim, 16, 16)
            if self.trunk is None
            else nn.Conv2d(self.trunk.channels[-1], embed_dim, 1)
        )
        self.position = PositionEmbedding2d(embed_dim, image_size // 16)
        self.blocks = nn.Sequential(
            *(_block(embed_dim, num_heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.bridge = nn.Sequential(
            ConvNorm(nn.Conv2d(embed_dim, decoder_widths[0], 3, padding=1, bias=False)), nn.ReLU(inplace=True)
        )
        beside = [*reversed(widths)][: self.skips]
        beside += [0] * (4 - len(beside))
        self.decoder = nn.ModuleList(
            UpsampleSkipBlock(a, skip, b)
            for a, skip, b in zip(decoder_widths[:-1], beside, decoder_widths[1:], strict=True)
        )
        self.head = nn.Conv2d(decoder_widths[-1], num_classes, 3, padding=1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the trunk, if any, strides 2, 4, 8; the transformer's, 16."""
        maps: list[Tensor] = []
        if self.trunk is not None:
            *maps, x = self.trunk(x)
        z = self.position(self.embed(x).permute(0, 2, 3, 1))
        size = z.shape[1:3]
        z = F.dropout(z.flatten(1, 2), self.dropout, self.training)
        z = self.norm(self.blocks(z))
        return [*maps, z.unflatten(1, size).permute(0, 3, 1, 2)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        *skips, x = features
        x = self.bridge(x)
        beside = [*reversed(skips)][: self.skips]
        for i, step in enumerate(self.decoder):
            x = step(x, beside[i] if i < len(beside) else None)
        logits: Tensor = self.head(x)
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.head = nn.Conv2d(self.head.in_channels, num_classes, 3, padding=1).to(self.head.weight)


class HybridTrunk(nn.Module):
    """A ResNet of weight-standardised convolutions and group norms.

    ``(N, in_channels, H, W)``, H and W multiples of 16 -> maps of strides 2, 4, 8 and 16, finest first. Inside, the
    second map is a pixel smaller than H / 4 × W / 4, since the pooling before it does not pad; what is given out is
    padded with zeros at the bottom and right.

    Args:
        in_channels: Channels of the image.
        width: Channels of the stem, a multiple of 32; the blocks have 4, 8 and 16 times as many.
        depths: Units of the three blocks.

    Raises:
        ValueError: ``width`` is no multiple of 32, or ``depths`` are not three.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, depths: Sequence[int] = (3, 4, 9)) -> None:
        super().__init__()
        if width < 32 or width % 32:
            raise ValueError(f"trunk_width is {width}; it must be a multiple of 32, the number of groups of the norms")
        if len(depths) != 3 or not all(isinstance(depth, int) and depth > 0 for depth in depths):
            raise ValueError(f"trunk_depths is {list(depths)}; give three whole numbers above 0")
        self.channels = (width, 4 * width, 8 * width, 16 * width)
        """Of each map."""
        self.stem = WeightStandardizedConv2d(in_channels, width, 7, 2, 3)
        self.stem_norm = nn.GroupNorm(32, width, eps=1e-6)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    _Unit(before if first else after, after, stride=2 if first and i else 1)
                    for first in [True] + [False] * (depth - 1)
                )
            )
            for i, (before, after, depth) in enumerate(zip(self.channels[:-1], self.channels[1:], depths, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps of strides 2, 4, 8 and 16."""
        stem = F.relu(self.stem_norm(self.stem(x)), inplace=True)
        maps = [stem]
        x = F.max_pool2d(stem, 3, 2)
        for block, stride in zip(self.blocks, (4, 8, 16), strict=True):
            x = block(x)
            down, right = (2 * side // stride - now for side, now in zip(stem.shape[2:], x.shape[2:], strict=True))
            maps.append(F.pad(x, (0, right, 0, down)) if down or right else x)
        return maps


class _Unit(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with norms, plus the input; where the width changes, projected and normed."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        middle = out_channels // 4
        self.conv1 = WeightStandardizedConv2d(in_channels, middle, 1)
        self.norm1 = nn.GroupNorm(32, middle, eps=1e-6)
        self.conv2 = WeightStandardizedConv2d(middle, middle, 3, stride, 1)
        self.norm2 = nn.GroupNorm(32, middle, eps=1e-6)
        self.conv3 = WeightStandardizedConv2d(middle, out_channels, 1)
        self.norm3 = nn.GroupNorm(32, out_channels, eps=1e-6)
        changes = in_channels != out_channels
        self.shortcut = WeightStandardizedConv2d(in_channels, out_channels, 1, stride) if changes else None
        self.shortcut_norm = _ChannelNorm(out_channels, out_channels, eps=1e-5) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return F.relu(x + y, inplace=True)


class _ChannelNorm(nn.GroupNorm):
    """Each channel normalised over its pixels; of a single pixel the bias is left."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class _Attention(GlobalAttention):
    """Attention whose softmax the papers' counter sees."""

    def published_macs(self, inputs: tuple[Tensor], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: linear layers and the softmax over the tokens."""
        batch, tokens, channels = output.shape
        return batch * tokens * (4 * channels**2 + self.num_heads * (3 * tokens - 1))


def _block(channels: int, num_heads: int, *, mlp_ratio: float, dropout: float) -> TransformerBlock:
    block = TransformerBlock(channels, _Attention(channels, num_heads), mlp_ratio=mlp_ratio, dropout=dropout, eps=1e-6)
    for layer in (block.mlp.fc1, block.mlp.fc2):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(layer.bias, std=1e-6)
    return block


def require_side(image_size: int) -> None:
    """Refuse an image size that patches of 16×16 do not fill.

    Raises:
        ValueError: ``image_size`` is no multiple of 16.
    """
    if image_size < 16 or image_size % 16:
        raise ValueError(f"image_size is {image_size}; it must be a multiple of 16")
