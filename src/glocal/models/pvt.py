"""Pyramid Vision Transformer (arXiv 2102.12122), with patch embeddings or Stepwise Patch Merging (arXiv 2409.06963).

Four stages of transformer blocks at strides 4, 8, 16 and 32; keys and values come from a map made smaller. A class
token joins the last stage. Maps are channels-last throughout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import LayerNorm2d, SpatialReductionAttention, StepwisePatchMerging, TransformerBlock, drop_path_rates

__all__ = ["PVT"]

_PVT = Paper(
    title="Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions",
    year=2021,
    url="https://arxiv.org/abs/2102.12122",
)
_SPM = Paper(
    title="Brain-Inspired Stepwise Patch Merging for Vision Transformers",
    year=2025,
    url="https://arxiv.org/abs/2409.06963",
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WIDTHS = (64, 128, 320, 512)


def _records(
    variant: str,
    summary: str,
    counts: tuple[tuple[int, int], tuple[int, int]],
    **arguments: Any,
) -> Iterator[ModelInfo]:
    """The records of a variant with patch embeddings and with SPM; ``counts``: parameters and multiply-adds of each."""
    for merging, (parameters, multiply_adds) in zip(("patch", "spm"), counts, strict=True):
        spm = merging == "spm"
        yield ModelInfo(
            name=f"pvt_{variant}_spm" if spm else f"pvt_{variant}",
            family="pvt",
            task="classification",
            summary=f"{summary}, with Stepwise Patch Merging" if spm else summary,
            input_size=(224, 224),
            in_channels=3,
            num_classes=1000,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            parameters=parameters,
            multiply_adds=multiply_adds,
            feature_channels=arguments.get("widths", _WIDTHS),
            feature_strides=(4, 8, 16, 32),
            paper=_SPM if spm else _PVT,
            arguments=MappingProxyType({**arguments, "merging": merging}),
        )


@register(
    *_records(
        "nano",
        "PVT-Tiny at half the width, for small machines and demonstrations",
        ((3_543_144, 471_502_336), (3_764_040, 549_350_400)),
        widths=(32, 64, 160, 256),
    ),
    *_records("tiny", "Pyramid Vision Transformer, Tiny", ((13_229_288, 1_801_952_256), (14_029_480, 2_071_246_848))),
    *_records(
        "small",
        "Pyramid Vision Transformer, Small",
        ((24_485_864, 3_684_742_144), (25_286_056, 3_954_036_736)),
        depths=(3, 4, 6, 3),
    ),
    *_records(
        "medium",
        "Pyramid Vision Transformer, Medium",
        ((44_208_104, 6_528_216_064), (45_008_296, 6_797_510_656)),
        depths=(3, 4, 18, 3),
    ),
    *_records(
        "large",
        "Pyramid Vision Transformer, Large",
        ((61_369_320, 9_682_806_272), (62_169_512, 9_952_100_864)),
        depths=(3, 8, 27, 3),
    ),
    *_records(
        "huge_v2",
        "Pyramid Vision Transformer, the unadvertised largest",
        ((304_945_512, 50_200_138_752), (306_721_640, 50_955_826_944)),
        widths=(128, 256, 512, 768),
        depths=(3, 10, 60, 3),
        num_heads=(2, 4, 8, 12),
    ),
)
class PVT(Network):
    """Pyramid Vision Transformer: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    As a classifier it computes the published function at every size where the published code runs. The stem leaves up
    to 3 rows and columns at the bottom and right out, as published. Other sizes are first padded with zeros at the
    bottom and right: to multiples of 32 with SPM, to at least 32 with ``merging="patch"`` (whose stages
    leave remainders out). As a feature pyramid it always pads to multiples of 32, so that no pixel is left out.

    Position tables that are not of the size of a stage's map are resized to it: bilinear, ``align_corners=False``, both
    sides compared for each stage.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes.
        merging: What leads from stage to stage: ``"patch"`` is a 2×2 convolution with stride 2 and a layer norm,
            ``"spm"`` Stepwise Patch Merging; ``"msa"`` and ``"gle"`` are its two parts alone, for ablations
            (``parts`` of :class:`glocal.nn.StepwisePatchMerging`).
        widths: Channels of the four stages.
        depths: Blocks of the four stages.
        num_heads: Heads of the four stages.
        mlp_ratios: Of the four stages, the perceptrons' middles in multiples of the width.
        reductions: Of the four stages, side of the patches that become a key; the last must be 1.
        img_size: Height and width (or one number for both) that the position tables are made for; at least 32.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        dropout: Behind position tables, projections and in perceptrons, in training.
        attention_dropout: Of the attention weights, in training.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.
        eps: Of the layer norms of the blocks and of the last one.
        frozen_norm: With SPM: keep its batch norms at their running statistics in training.

    Raises:
        ValueError: An option that is not one of these, or widths that heads or merging cannot split.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        merging: Literal["patch", "spm", "msa", "gle"] = "patch",
        widths: Sequence[int] = _WIDTHS,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (8, 8, 4, 4),
        reductions: Sequence[int] = (8, 4, 2, 1),
        img_size: int | Sequence[int] = 224,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-6,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        _check(merging, widths=widths, depths=depths, num_heads=num_heads, mlp_ratios=mlp_ratios, reductions=reductions)
        size = _size(img_size)
        if not eps > 0:
            raise ValueError(f"eps is {eps}; it is added to a variance and must be above 0")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 32
        self.padding = "zero"
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(widths))
        self.merging = merging
        rates = drop_path_rates(drop_path, tuple(depths))
        self.embed = nn.ModuleList([_patch_embedding(in_channels, widths[0], 4)])
        for before, after in itertools.pairwise(widths):
            if merging == "patch":
                self.embed.append(_patch_embedding(before, after, 2))
            else:
                parts: Literal["both", "msa", "gle"] = "both" if merging == "spm" else merging
                self.embed.append(StepwisePatchMerging(before, after, frozen_norm=frozen_norm, parts=parts))
        self.stages = nn.ModuleList()
        for i, width in enumerate(widths):
            attention: dict[str, Any] = {
                "num_heads": num_heads[i],
                "reduction": reductions[i],
                "qkv_bias": qkv_bias,
                "attention_dropout": attention_dropout,
                "dropout": dropout,
            }
            blocks = [_Block(width, attention, mlp_ratios[i], dropout, rate, eps) for rate in rates[i]]
            kind = _LastStage if i == 3 else _Stage
            self.stages.append(kind(width, (size[0] >> i + 2, size[1] >> i + 2), blocks, dropout))
        self.class_token = _ClassToken(widths[3])
        self.norm = nn.LayerNorm(widths[3], eps=eps)
        self.head = _head(widths[3], num_classes)

    def to_grid(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, zeros at the bottom and right where the published classifier could not take the size.

        Raises:
            ValueError: ``x`` has not four dimensions, or not ``in_channels`` channels.
        """
        padded = super().to_grid(x)
        height, width = (
            side if side >= 32 and (self.merging == "patch" or side % 32 < 4) else up
            for side, up in zip(x.shape[2:], padded.shape[2:], strict=True)
        )
        return padded[..., :height, :width]

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of stages 1 to 3 and what enters stage 4; strides 4, 8, 16, 32."""
        maps = []
        for embed, stage in zip(self.embed[:3], self.stages[:3], strict=True):
            x = stage(embed(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            maps.append(x)
        return [*maps, self.embed[3](x)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Stage 4 with the class token, the last norm and the head on that token: ``(N, num_classes)``."""
        z = features[-1].permute(0, 2, 3, 1)
        token = self.stages[3](self.class_token(z), z.shape[1:3])
        logits: Tensor = self.head(self.norm(token))
        return logits

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """``(N, C, H, W)`` -> four maps ``(N, channels, ceil(H / stride), ceil(W / stride))``, finest first.

        As in the published backbones for dense prediction: no class token, no last norm.
        """
        *maps, last = self.encode(super().to_grid(x))
        maps.append(self.stages[3](last.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        sizes = ([-(-side // f.stride) for side in x.shape[2:]] for f in self.feature_info)
        return [m[..., :height, :width] for m, (height, width) in zip(maps, sizes, strict=True)]

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.head = _head(self.head.in_features, num_classes).to(self.head.weight)


class _Block(TransformerBlock):
    """A transformer block with spatial-reduction attention."""

    def __init__(
        self,
        width: int,
        attention: Mapping[str, Any],
        mlp_ratio: float,
        dropout: float,
        drop_path: float,
        eps: float,
    ) -> None:
        super().__init__(width, SpatialReductionAttention(width, **attention), mlp_ratio, dropout, drop_path, eps)
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def first_token(self, z: Tensor) -> Tensor:
        """Token 0 of ``self(z)``, ``(N, tokens, C)`` -> ``(N, C)``; the others are keys and values only."""
        normed = self.norm1(z)
        token: Tensor = z[:, :1] + self.drop_path(self.attention(normed[:, :1], normed))
        token = token + self.drop_path(self.mlp(self.norm2(token)))
        return token[:, 0]


class _Stage(nn.Module):
    """A position table of ``extra`` rows and those of a map of size ``table``, and blocks."""

    extra = 0

    def __init__(self, width: int, table: tuple[int, int], blocks: Sequence[_Block], dropout: float) -> None:
        super().__init__()
        self.table = table
        self.dropout = dropout
        self.position = nn.Parameter(torch.empty(1, self.extra + table[0] * table[1], width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, z: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        z = F.dropout(z + self.position_at(z.shape[1], z.shape[2]), self.dropout, self.training)
        out: Tensor = self.blocks(z)
        return out

    def position_at(self, height: int, width: int) -> Tensor:
        """The position table at the size of a map, ``(1, height, width, C)``, without the extra rows."""
        table = self.position[:, self.extra :].reshape(1, *self.table, self.position.shape[2])
        if self.table == (height, width):
            return table
        resized = F.interpolate(table.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=False)
        return resized.permute(0, 2, 3, 1)


class _LastStage(_Stage):
    """The stage that a class token may join; row 0 of its position table is for it."""

    extra = 1

    def forward(self, z: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """``(N, H, W, C)`` -> the same; tokens of a map of ``size`` behind a class token -> that token, ``(N, C)``."""
        if size is None:
            return super().forward(z)
        z = z + torch.cat([self.position[:, :1], self.position_at(*size).flatten(1, 2)], 1)
        z = self.blocks[:-1](F.dropout(z, self.dropout, self.training))
        last = self.blocks[-1]
        assert isinstance(last, _Block)
        return last.first_token(z)


class _ClassToken(nn.Module):
    """Puts a learnt token in front of those of a map: ``(N, H, W, C)`` -> ``(N, 1 + H·W, C)``."""

    no_weight_decay = ("token",)
    """As published; the position tables do decay."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([self.token.expand(z.shape[0], -1, -1), z.flatten(1, 2)], 1)


def _patch_embedding(in_channels: int, out_channels: int, side: int) -> nn.Sequential:
    """``(N, in, H, W)`` -> ``(N, out, H // side, W // side)``."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, side, side), LayerNorm2d(out_channels, eps=1e-5))


def _head(width: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(width, num_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def _size(img_size: int | Sequence[int]) -> tuple[int, int]:
    sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 32 for side in sides):
        raise ValueError(f"img_size is {img_size}; give a height and a width, or one number for both, at least 32")
    return sides


def _check(merging: str, **options: Sequence[float]) -> None:
    if merging not in ("patch", "spm", "msa", "gle"):
        raise ValueError(f"merging is {merging!r}; use patch or spm (or its parts, msa or gle)")
    for name, values in options.items():
        if len(values) != 4 or not all(isinstance(value, int | float) and value > 0 for value in values):
            raise ValueError(f"{name} is {list(values)}; give four numbers above 0, one a stage")
        if name != "mlp_ratios" and not all(isinstance(value, int) for value in values):
            raise ValueError(f"{name} is {list(values)}; they must be whole numbers")
    if options["reductions"][3] != 1:
        raise ValueError(f"reductions is {list(options['reductions'])}; the last must be 1: the class token is there")
