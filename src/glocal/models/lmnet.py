"""LM-Net: a light-weight and multi-scale network for medical image segmentation (arXiv 2501.03838).

Encoder and decoder are multi-branch modules. The global feature transformer looks at the pooled pyramid of all encoder
levels, one local feature transformer a level at that level fused with its neighbours; the decoder adds the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import (
    ASPP,
    GlobalFeatureTransformer,
    LocalFeatureTransformer,
    MultiBranchBlock,
    MultiSkip,
    UpsampleConv,
    pyramid_pool,
)

__all__ = ["LMNet"]

_PAPER = Paper(
    title="LM-Net: A Light-weight and Multi-scale Network for Medical Image Segmentation",
    year=2025,
    url="https://arxiv.org/abs/2501.03838",
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Preset:
    """What the published code and the paper's counts disagree about."""

    filters: tuple[int, ...]
    num_heads: int
    se_reduction: int
    bias: bool
    """Of the expansion and the shortcut in the multi-branch modules."""
    pointwise: bool
    """Pooling and 1×1 convolutions in place of 3×3 ones between levels and in the skips."""


_PRESETS = {
    "published": _Preset(filters=(12, 24, 48, 96, 192), num_heads=12, se_reduction=4, bias=True, pointwise=False),
    "paper": _Preset(filters=(16, 32, 64, 128, 256), num_heads=8, se_reduction=16, bias=False, pointwise=True),
}


def _record(
    name: str, summary: str, parameters: int, multiply_adds: int, widths: tuple[int, ...], **arguments: object
) -> ModelInfo:
    return ModelInfo(
        name=name,
        family="lmnet",
        task="segmentation",
        summary=summary,
        input_size=(256, 256),
        in_channels=3,
        num_classes=2,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        parameters=parameters,
        multiply_adds=multiply_adds,
        feature_channels=widths,
        feature_strides=(1, 2, 4, 8, 16),
        paper=_PAPER,
        arguments=MappingProxyType(arguments),
    )


@register(
    _record("lmnet", "LM-Net as its published code computes it", 3_965_366, 5_220_273_792, (12, 24, 48, 96, 192)),
    _record(
        "lmnet_paper",
        "LM-Net as the paper counts it: a reconstruction from its tables",
        5_446_346,
        4_629_309_952,
        (16, 32, 64, 128, 256),
        preset="paper",
    ),
    _record(
        "lmnet_tiny",
        "LM-Net with a third of the width, for small machines and demonstrations",
        459_518,
        703_543_936,
        (4, 8, 16, 32, 64),
        filters=(4, 8, 16, 32, 64),
        num_heads=4,
    ),
)
class LMNet(SegmentationNetwork):
    """LM-Net (arXiv 2501.03838): ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Two presets. ``published`` is the network of the published code. ``paper`` is the network whose parameters and
    multiply-adds the paper prints (5.45 M, 5.15 G); it is a reconstruction from those tables: the kind of pooling, the
    heads and the window have no effect on the counts and are guesses. The options reach every row of the paper's
    ablations (Tables 6 and 8-10).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        preset: ``"published"`` or ``"paper"``.
        filters: Widths of the five levels; default: the preset's.
        skip: ``"multi"`` fuses each level with its neighbours, ``"single"`` takes the level itself.
        lft: Whether the local feature transformers follow the skips.
        gft: What stands at the bottom: the global feature transformer on the pooled pyramid (``"multi"``) or on the
            last level alone (``"single"``), an ASPP (``"aspp"``), or nothing (``"none"``).
        branches: Of the multi-branch modules: ``large`` 5×5, ``square`` 3×3, ``ver`` 3×1, ``hor`` 1×3, ``dilation``
            5×5 with dilation 2, ``big_large`` 7×7, or kernels such as ``"9x9"``, ``"1x7"``, ``"3x3d3"``.
        num_heads: Heads of all attentions; default: the preset's.
        window_size: Side of the neighbourhood, odd.
        rel_pos_bias: Relative-position bias in the neighbourhood attention, the default of NATTEN up to 0.15.
        dropout: In the transformers' perceptrons, in training.
        merged: Build the branches as the single convolution they merge into, as a merged checkpoint holds it.

    Raises:
        ValueError: An option that is not one of these, or heads that do not divide the widths.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        preset: Literal["published", "paper"] = "published",
        filters: Sequence[int] | None = None,
        skip: Literal["multi", "single"] = "multi",
        lft: bool = True,
        gft: Literal["multi", "single", "aspp", "none"] = "multi",
        branches: Sequence[str] | Mapping[str, str] = ("large", "square", "ver", "hor"),
        num_heads: int | None = None,
        window_size: int = 3,
        rel_pos_bias: bool = False,
        dropout: float = 0.1,
        merged: bool = False,
    ) -> None:
        super().__init__()
        _check_choice("preset", preset, tuple(_PRESETS))
        _check_choice("skip", skip, ("multi", "single"))
        _check_choice("gft", gft, ("multi", "single", "aspp", "none"))
        facts = _PRESETS[preset]
        widths = tuple(facts.filters if filters is None else filters)
        heads = facts.num_heads if num_heads is None else num_heads
        _check_widths(widths, heads, facts.se_reduction, lft=lft, gft=gft)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 16
        self.feature_info = tuple(FeatureInfo(width, 2**level) for level, width in enumerate(widths))
        levels, pointwise = range(4), facts.pointwise
        stage = partial(_stage, facts=facts, branches=branches, merged=merged)
        # Encoder
        self.encoder = nn.ModuleList(stage(widths[i] if i else in_channels, *widths[i : i + 2]) for i in levels)
        self.down = nn.ModuleList(_down(*widths[i : i + 2], pointwise=pointwise) for i in levels)
        # Global feature transformer, or what stands in its place (Table 8)
        self.project = nn.Conv2d(widths[4], sum(widths), 1) if gft == "single" else None
        self.context: nn.Module | None = None
        if gft in ("multi", "single"):
            self.context = GlobalFeatureTransformer(sum(widths), widths[4], heads, dropout=dropout)
        elif gft == "aspp":
            self.context = ASPP(widths[4], widths[4])
        # Multi-scale skips and local feature transformers (Table 9); the finest and the coarsest have one neighbour
        neighbours = zip(widths[:4], (None, *widths[:3]), (*widths[1:4], None), strict=True)
        self.skips = nn.ModuleList(MultiSkip(*three, pointwise=pointwise) for three in neighbours if skip == "multi")
        options: dict[str, Any] = {"window_size": window_size, "rel_pos_bias": rel_pos_bias, "dropout": dropout}
        self.local = nn.ModuleList(LocalFeatureTransformer(widths[i], heads, **options) for i in levels if lft)
        # Decoder
        self.up = nn.ModuleList(UpsampleConv(widths[i + 1], widths[i], 1 if pointwise else 3) for i in levels)
        self.decoder = nn.ModuleList(stage(widths[i], *widths[i : i + 2]) for i in levels)
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        self.channels_last = False

    def merge(self) -> None:
        """Keep the maps channels-last from the stem on, which pays once the branches are merged."""
        self.channels_last = True

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> four encoder levels and the global features, strides 1, 2, 4, 8, 16."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage, down in zip(self.encoder, self.down, strict=True):
            x = stage(x)
            maps.append(x)
            x = down(x)
        if self.project is not None:
            x = self.project(x)
        elif isinstance(self.context, GlobalFeatureTransformer):
            x = pyramid_pool([*maps, x])
        return [*maps, x if self.context is None else self.context(x)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Global features, upsampled level by level, plus the local features of that level; then the head."""
        *maps, x = features
        for i in (3, 2, 1, 0):
            x = self.decoder[i](self.up[i](x) + self._skip(maps, i))
        logits: Tensor = self.head(x)
        return logits

    def _skip(self, maps: list[Tensor], i: int) -> Tensor:
        x = maps[i]
        if self.skips:
            x = self.skips[i](x, finer=maps[i - 1] if i > 0 else None, coarser=maps[i + 1] if i < 3 else None)
        return self.local[i](x) if self.local else x

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.head = nn.Conv2d(self.head.in_channels, num_classes, 1).to(self.head.weight)


def _stage(
    in_channels: int,
    channels: int,
    expand_channels: int,
    *,
    facts: _Preset,
    branches: Sequence[str] | Mapping[str, str],
    merged: bool,
) -> nn.Sequential:
    """Two multi-branch modules; both expand to the width of the next level."""
    options: dict[str, Any] = {"se_reduction": facts.se_reduction, "bias": facts.bias, "merged": merged}
    return nn.Sequential(
        MultiBranchBlock(in_channels, expand_channels, channels, branches, **options),
        MultiBranchBlock(channels, expand_channels, channels, branches, **options),
    )


def _down(channels: int, out_channels: int, *, pointwise: bool) -> nn.Sequential:
    """Half the size: a 3×3 convolution with stride 2, or 3×3 average pooling and a 1×1 convolution."""
    if pointwise:
        return nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(channels, out_channels, 1))
    return nn.Sequential(nn.Identity(), nn.Conv2d(channels, out_channels, 3, 2, 1))


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; use one of {', '.join(choices)}")


def _check_widths(widths: tuple[int, ...], heads: int, reduction: int, *, lft: bool, gft: str) -> None:
    if len(widths) != 5 or not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(f"filters is {list(widths)}; give five widths, one a level, such as 12 24 48 96 192")
    if min(widths[1:]) < reduction:
        raise ValueError(f"filters is {list(widths)}; the levels below the first need at least {reduction} channels")
    if not isinstance(heads, int):
        raise ValueError(f"num_heads is {heads!r}; it must be a whole number")
    split = [*(widths[:4] if lft else ()), *((sum(widths),) if gft in ("multi", "single") else ())]
    if heads < 1 or any(width % heads for width in split):
        raise ValueError(
            f"num_heads={heads} does not divide {', '.join(str(w) for w in split if heads < 1 or w % heads)}: it must "
            f"divide the first four filters (lft) and their sum with the fifth (gft); filters is {list(widths)}, "
            f"num_heads may be {', '.join(str(n) for n in range(1, 33) if not any(w % n for w in split))}"
        )
