"""FCBFormer (Sanderson and Matuszewski, MIUA 2022, arXiv 2208.08352): PVTv2 beside a full-size convolutional branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.dense import BackboneNetwork
from glocal.models.network import FeatureInfo
from glocal.models.registry import Paper, register
from glocal.models.ssformer import require_four_maps
from glocal.models.ushaped import comparison_record, fresh_head
from glocal.nn import GroupNormResidual, NearestUpsampleConv

__all__ = ["FCBFormer"]

_PAPER = Paper(
    title="FCN-Transformer Feature Fusion for Polyp Segmentation",
    year=2022,
    url="https://arxiv.org/abs/2208.08352",
)
_MULTIPLIERS = (1, 1, 2, 2, 4, 4)
"""Widths of the levels of the convolutional branch, in multiples of the first."""


@register(
    comparison_record(
        "fcbformer",
        "fcbformer",
        "FCBFormer: PVTv2-B3 beside a full-size convolutional branch",
        (52_962_402, 38_290_210_816),
        {1: 32, 4: 64, 8: 128, 16: 320, 32: 512},
        _PAPER,
    ),
    comparison_record(
        "fcbformer_tiny",
        "fcbformer",
        "FCBFormer on PVTv2-B0 with branches of a quarter of the width, for small machines and demonstrations",
        (3_971_802, 2_611_504_128),
        {1: 8, 4: 32, 8: 64, 16: 160, 32: 256},
        _PAPER,
        {"backbone": "pvt_v2_b0", "width": 8, "emphasis_width": 16},
    ),
)
class FCBFormer(BackboneNetwork):
    """FCBFormer: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The transformer branch says what is there, the convolutional branch where its borders are; a prediction head reads
    both at full size. Images are padded to multiples of 32.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: Any registered network whose maps have strides 4, 8, 16, 32.
        backbone_args: Options of the backbone.
        width: Channels of the convolutional branch at full size; below 32 also the groups of all norms.
        emphasis_width: Channels of the transformer branch's decoder.
        emphasis_size: Side of the maps of that decoder: ``"quarter"`` of the image's, or a number of pixels. The
            published code has 88 whatever the image, which is a quarter of the 352 that it was made for.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such maps; ``emphasis_size`` is neither
            ``"quarter"`` nor a number of at least 1.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        backbone: str = "pvt_v2_b3",
        backbone_args: Mapping[str, Any] | None = None,
        width: int = 32,
        emphasis_width: int = 64,
        emphasis_size: int | Literal["quarter"] = "quarter",
    ) -> None:
        super().__init__(in_channels, num_classes, backbone, backbone_args)
        require_four_maps(self, backbone)
        if emphasis_size != "quarter" and (not isinstance(emphasis_size, int) or emphasis_size < 1):
            raise ValueError(f"emphasis_size is {emphasis_size!r}; use quarter, or a number of pixels")
        self.emphasis_size = emphasis_size
        groups = min(32, width)
        self.emphasis = nn.ModuleList(_pair(info.channels, emphasis_width, groups) for info in self.feature_info)
        self.aggregation = nn.ModuleList(_pair(2 * emphasis_width, emphasis_width, groups) for _ in range(3))
        self.convolutional = _ConvolutionalBranch(in_channels, width, groups)
        self.fuse = _pair(emphasis_width + width, emphasis_width, groups)
        self.head = nn.Conv2d(emphasis_width, num_classes, 1)
        self.resize = _Nearest()
        self.feature_info = (FeatureInfo(width, 1), *self.feature_info)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the map of the convolutional branch, and those of the backbone."""
        return [self.convolutional(x), *self.backbone(x)]

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits of the size of the first."""
        full, *maps = features
        finest, size = maps[0].shape[-2:], self.emphasis_size
        at = (finest[0], finest[1]) if isinstance(size, str) else (size, size)
        levels = [self.resize(emphasise(x), at) for emphasise, x in zip(self.emphasis, maps, strict=True)]
        y = levels[3]
        for i in (2, 1, 0):
            y = self.aggregation[i](torch.cat([levels[i], y], 1))
        height, width = full.shape[-2:]
        logits: Tensor = self.head(self.fuse(torch.cat([self.resize(y, (height, width)), full], 1)))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes


class _ConvolutionalBranch(nn.Module):
    """A U-Net of residual blocks: ``(N, in_channels, H, W)`` -> ``(N, width, H, W)``, H and W multiples of 32.

    Every block of the way up takes the output of one block or strided convolution of the way down.
    """

    def __init__(self, in_channels: int, width: int, groups: int) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in _MULTIPLIERS]
        block = partial(GroupNormResidual, groups=groups)
        self.encoder = nn.ModuleList([nn.Conv2d(in_channels, width, 3, padding=1)])
        skips, before = [width], width
        for level, here in enumerate(widths):
            self.encoder += [block(before, here), block(here, here)]
            if level < len(widths) - 1:
                self.encoder.append(nn.Conv2d(here, here, 3, 2, padding=1))
            before = here
            skips += [here] * (3 if level < len(widths) - 1 else 2)
        self.middle = nn.Sequential(block(before, before), block(before, before))
        self.decoder = nn.ModuleList()
        for here in reversed(widths):
            for _ in range(3):
                self.decoder.append(block(before + skips.pop(), here))
                before = here
        self.up = nn.ModuleList(NearestUpsampleConv(here, here, norm=False) for here in reversed(widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        x = self.middle(x)
        for i, block in enumerate(self.decoder):
            x = block(torch.cat([x, skips.pop()], 1))
            if i % 3 == 2 and i // 3 < len(self.up):
                x = self.up[i // 3](x)
        return x


def _pair(in_channels: int, out_channels: int, groups: int) -> nn.Sequential:
    block = partial(GroupNormResidual, groups=groups)
    return nn.Sequential(block(in_channels, out_channels), block(out_channels, out_channels))


class _Nearest(nn.Module):
    """Resizing by repetition."""

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``(N, C, h, w)`` -> ``(N, C, *size)``."""
        return x if x.shape[-2:] == size else F.interpolate(x, size=size)

    def published_macs(self, inputs: tuple[Tensor, tuple[int, int]], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: 1 an element, whether or not there is anything to resize."""
        return output.numel()
