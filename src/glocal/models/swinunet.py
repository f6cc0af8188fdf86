"""Swin-Unet: a U-Net of windowed attention alone (Cao et al., arXiv 2105.05537)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, PretrainedPart, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.models.ushaped import comparison_record
from glocal.nn import PatchExpanding, SwinEncoder, drop_path_rates, swin_stage

__all__ = ["SwinUNet"]

_PAPER = Paper(
    title="Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation",
    year=2021,
    url="https://arxiv.org/abs/2105.05537",
)


def _record(name: str, summary: str, counts: tuple[int, int], side: int, **arguments: Any) -> ModelInfo:
    width = arguments.get("embed_dim", 96)
    features = {4 * 2**i: width * 2**i for i in range(4)}
    record = comparison_record(name, "swinunet", summary, counts, features, _PAPER, arguments)
    return replace(record, input_size=(side, side))


@register(
    _record(
        "swinunet", "Swin-Unet as published, two blocks a stage and windows of 7", (27_168_228, 6_076_062_720), 224
    ),
    _record(
        "swinunet_2262",
        "Swin-Unet with the depths of Swin-T and windows of 8, as comparisons measure it",
        (41_392_932, 11_746_148_352),
        256,
        depths=(2, 2, 6, 2),
        window_size=8,
    ),
    _record(
        "swinunet_nano",
        "Swin-Unet of a third of the width, for small machines and demonstrations",
        (3_041_516, 979_369_984),
        256,
        embed_dim=32,
        num_heads=(1, 2, 4, 8),
        window_size=8,
    ),
)
class SwinUNet(SegmentationNetwork):
    """Swin-Unet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published code takes one square size, whose maps must fill windows; here maps are padded with zeros to whole
    windows. Windows are not shifted on maps no larger than one.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        embed_dim: Channels of the first stage; each next one has twice as many.
        depths: Blocks of the four stages; the decoder has as many at equal size.
        num_heads: Heads of the four stages.
        window_size: Side of a window.
        mlp_ratio: Width of the perceptrons' middle, in multiples of the channels.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.

    Raises:
        ValueError: Not four stages, or channels that the heads cannot split.
    """

    pretrained_parts: Mapping[str, PretrainedPart] = MappingProxyType({"swin": PretrainedPart("encoder.", "encoder.")})

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or not all(isinstance(depth, int) and depth > 0 for depth in depths):
            raise ValueError(f"depths is {list(depths)}; give four whole numbers above 0, one a stage")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 32
        self.encoder = SwinEncoder(
            in_channels,
            embed_dim,
            depths,
            num_heads,
            window_size,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
            stage_norms=False,
        )
        widths = self.encoder.channels
        self.feature_info = tuple(FeatureInfo(c, 4 * 2**i) for i, c in enumerate(widths))
        self.norm = nn.LayerNorm(widths[-1])
        rates = drop_path_rates(drop_path, tuple(depths))
        self.expand = nn.ModuleList(PatchExpanding(2 * c, c) for c in reversed(widths[:-1]))
        self.fuse = nn.ModuleList(nn.Linear(2 * c, c) for c in reversed(widths[:-1]))
        self.decoder = nn.ModuleList(
            swin_stage(widths[i], num_heads[i], window_size, drop_path=rates[i], mlp_ratio=mlp_ratio) for i in (2, 1, 0)
        )
        self.decoder_norm = nn.LayerNorm(embed_dim)
        self.enlarge = PatchExpanding(embed_dim, embed_dim, scale=4)
        self.head = nn.Linear(embed_dim, num_classes, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _initialise(module)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the map before each of the first three stages, and that behind the last.

        Strides 4, 8, 16 and 32; channels-last in memory.
        """
        x = self.encoder.embed_norm(self.encoder.embed(x).permute(0, 2, 3, 1))
        maps = []
        for i, stage in enumerate(self.encoder.stages):
            if i:
                x = self.encoder.merging[i - 1](x)
            if i < 3:
                maps.append(x)
            x = stage(x)
        return [m.permute(0, 3, 1, 2) for m in (*maps, self.norm(x))]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``.

        The head acts on every pixel alone, so it runs before the pixels of patches are moved to their places: what is
        moved are logits, not all channels.
        """
        *skips, x = (m.permute(0, 2, 3, 1) for m in features)
        for expand, fuse, stage, skip in zip(self.expand, self.fuse, self.decoder, reversed(skips), strict=True):
            x = stage(fuse(torch.cat([expand(x), skip], -1)))
        logits = self.enlarge.spread(self.head(self.enlarge.patches(self.decoder_norm(x))))
        return logits.permute(0, 3, 1, 2)

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.head = nn.Linear(self.head.in_features, num_classes, bias=False).to(self.head.weight)
        _initialise(self.head)


def _initialise(layer: nn.Linear) -> None:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
