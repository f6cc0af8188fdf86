"""HiFuse: hierarchical multi-scale feature fusion for medical image classification (arXiv 2209.10218).

A local branch (light ConvNeXt blocks) and a global branch (windowed attention) look at the same image side by side, at
strides 4, 8, 16 and 32. A fusion path takes at each stage the two maps and the fused map above; only the last fused
map is classified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import (
    HFF,
    BottleneckHFF,
    ConvNeXtBlock,
    LayerNorm2d,
    LocalBlock,
    PatchMerging,
    TransformerBlock,
    WindowAttention,
    WindowBlock,
    drop_path_rates,
)

__all__ = ["Branches", "HiFuse", "HiFuse2022"]

_PAPER = Paper(
    title="HiFuse: Hierarchical Multi-Scale Feature Fusion Network for Medical Image Classification",
    year=2024,
    url="https://arxiv.org/abs/2209.10218",
)
_WIDTHS = (96, 192, 384, 768)
_HEADS = (3, 6, 12, 24)
_HALF = (0.5, 0.5, 0.5)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Branches(NamedTuple):
    """The maps of all three branches, each finest first, ``(N, widths[s], ceil(H / stride), ceil(W / stride))``."""

    local_maps: list[Tensor]
    """Of the convolutions."""
    global_maps: list[Tensor]
    """Of the windowed attention; no norm behind it."""
    fused_maps: list[Tensor]
    """Of the fusion path: the feature pyramid."""


class _TwoBranches(Network):
    """What HiFuse and its form of June 2022 share: two pyramids, a fusion path, the head.

    A global block is made from its stage, whether it is shifted, and its drop-path rate; a local block from its
    channels and drop-path rate; a fusion block from its channels and those of the previous map, if there is one.
    """

    grid = 32
    padding = "zero"

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        depths: Sequence[int],
        local_depths: Sequence[int],
        *,
        global_block: Callable[[int, bool, float], nn.Module],
        local_block: Callable[[int, float], nn.Module],
        fusion_block: Callable[[int, int | None], nn.Module],
        dropout: float,
        drop_path: float,
        local_drop_path: float,
        conv_std: float,
    ) -> None:
        super().__init__()
        _check_stages(widths=widths, depths=depths, local_depths=local_depths)
        if not conv_std >= 0:
            raise ValueError(f"conv_std is {conv_std}; a standard deviation is at least 0")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it is a probability, at least 0 and below 1")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**s) for s, width in enumerate(widths))
        self.dropout = dropout
        steps = list(pairwise(widths))
        # Global branch
        self.embed = nn.Conv2d(in_channels, widths[0], 4, 4)
        self.embed_norm = nn.LayerNorm(widths[0])
        self.merging = nn.ModuleList(PatchMerging(*step) for step in steps)
        rates = drop_path_rates(drop_path, tuple(depths))
        self.global_stages = nn.ModuleList(
            nn.Sequential(*(global_block(s, j % 2 == 1, rate) for j, rate in enumerate(stage)))
            for s, stage in enumerate(rates)
        )
        # Local branch
        self.stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, 4), LayerNorm2d(widths[0]))
        self.downsample = nn.ModuleList(nn.Sequential(LayerNorm2d(step[0]), nn.Conv2d(*step, 2, 2)) for step in steps)
        rates = drop_path_rates(local_drop_path, tuple(local_depths))
        self.local_stages = nn.ModuleList(
            nn.Sequential(*(local_block(widths[s], rate) for rate in stage)) for s, stage in enumerate(rates)
        )
        # Fusion path; its convolutions keep PyTorch's initialisation
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], num_classes)
        self.apply(partial(_initialise, conv_std=conv_std))
        self.fusion = nn.ModuleList(fusion_block(width, widths[s - 1] if s else None) for s, width in enumerate(widths))

    def _global_maps(self, x: Tensor) -> list[Tensor]:
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        x = F.dropout(x, self.dropout, self.training)
        maps = []
        for s, stage in enumerate(self.global_stages):
            x = stage(self.merging[s - 1](x) if s else x)
            maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _local_maps(self, x: Tensor) -> list[Tensor]:
        maps = []
        for s, stage in enumerate(self.local_stages):
            x = stage(self.downsample[s - 1](x) if s else self.stem(x))
            maps.append(x)
        return maps

    def fuse(self, local_maps: list[Tensor], global_maps: list[Tensor]) -> list[Tensor]:
        """The fused maps from those of the two branches, as :meth:`branches` gives them for an image on the grid."""
        maps: list[Tensor] = []
        for fuse, local_map, global_map in zip(self.fusion, local_maps, global_maps, strict=True):
            maps.append(fuse(local_map, global_map, maps[-1] if maps else None))
        return maps

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the four fused maps, strides 4, 8, 16, 32."""
        return self.fuse(self._local_maps(x), self._global_maps(x))

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits ``(N, num_classes)`` from the last fused map: mean over its pixels, layer norm, linear."""
        logits: Tensor = self.head(self.norm(features[-1].mean((2, 3))))
        return logits

    def branches(self, x: Tensor) -> Branches:
        """``(N, in_channels, H, W)``, any H and W -> the local, the global and the fused maps.

        Raises:
            ValueError: ``x`` is not such an image.
        """
        height, width = x.shape[-2:]
        x = self.to_grid(x)
        local_maps, global_maps = self._local_maps(x), self._global_maps(x)
        sizes = [(-(-height // f.stride), -(-width // f.stride)) for f in self.feature_info]
        return Branches(
            *(
                [m[..., :h, :w] for m, (h, w) in zip(maps, sizes, strict=True)]
                for maps in (local_maps, global_maps, self.fuse(local_maps, global_maps))
            )
        )

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        head = nn.Linear(self.head.in_features, num_classes)
        _initialise(head, conv_std=0.0)
        self.head = head.to(self.head.weight)


def _record(
    name: str,
    summary: str,
    parameters: int,
    multiply_adds: int,
    *,
    widths: tuple[int, ...] = _WIDTHS,
    num_classes: int = 7,
    mean: tuple[float, ...] = _HALF,
    std: tuple[float, ...] = _HALF,
    **arguments: object,
) -> ModelInfo:
    if widths != _WIDTHS:
        arguments["widths"] = widths
    return ModelInfo(
        name=name,
        family="hifuse",
        task="classification",
        summary=summary,
        input_size=(224, 224),
        in_channels=3,
        num_classes=num_classes,
        mean=mean,
        std=std,
        parameters=parameters,
        multiply_adds=multiply_adds,
        feature_channels=widths,
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType(arguments),
    )


@register(
    _record("hifuse_tiny", "HiFuse-Tiny as its published code computes it", 118_086_497, 17_519_987_498),
    _record(
        "hifuse_small",
        "HiFuse-Small as its published code computes it",
        121_664_273,
        18_245_833_514,
        depths=(2, 2, 6, 2),
        local_depths=(2, 2, 6, 2),
    ),
    _record(
        "hifuse_base",
        "HiFuse-Base as its published code computes it",
        132_397_601,
        20_423_371_562,
        depths=(2, 2, 18, 2),
        local_depths=(2, 2, 18, 2),
    ),
    _record(
        "hifuse_micro",
        "HiFuse-Tiny with a third of the width and the paper's depth-wise IRMLP, ours, for small machines",
        6_115_621,
        944_926_762,
        widths=(32, 64, 128, 256),
        num_heads=(1, 2, 4, 8),
        irmlp="depthwise",
    ),
)
class HiFuse(_TwoBranches):
    """HiFuse (arXiv 2209.10218): ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    An image that is no multiple of 32 is padded with zeros at the bottom and right; the padding takes part in the
    pooling before the head. The feature pyramid is that of the fused maps; :meth:`branches` gives the local and global
    ones too.

    Args:
        in_channels: Channels of the image.
        num_classes: Number of logits.
        depths: Blocks in each stage of the global branch.
        local_depths: Blocks in each stage of the local branch.
        widths: Channels of each stage, in all branches.
        num_heads: Heads of each stage.
        window_size: Side of a window.
        irmlp: Form of the 3×3 convolution in the fusion blocks: ``"dense"`` as the published code computes it, or
            ``"depthwise"`` as the paper describes it.
        channel_gate: ``"sigmoid"``, or ``"double_sigmoid"`` as the code of the paper, before January 2024, has it.
        shift_single_window: Whether windows are shifted also where the map is not larger than one, as published.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        dropout: Behind the patch embedding and each attention of the global branch, in training.
        attention_dropout: Of the attention weights, in training.
        drop_path: Rate of the last block of the global branch, rising linearly from 0.
        local_drop_path: Rate of the last block of the local branch, rising linearly from 0.
        fusion_drop_path: Rate of each of the four fusion blocks.
        conv_std: Standard deviation the convolutions of the two branches begin with; 0.2 as published, where the
            networks it is built on have 0.02.

    Raises:
        ValueError: An option that is not one of these, not one value a stage, or heads that do not divide the widths.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 7,
        *,
        depths: Sequence[int] = (2, 2, 2, 2),
        local_depths: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = _WIDTHS,
        num_heads: Sequence[int] = _HEADS,
        window_size: int = 7,
        irmlp: Literal["dense", "depthwise"] = "dense",
        channel_gate: Literal["sigmoid", "double_sigmoid"] = "sigmoid",
        shift_single_window: bool = True,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        local_drop_path: float = 0.0,
        fusion_drop_path: float = 0.0,
        conv_std: float = 0.2,
    ) -> None:
        attention = _attentions(
            widths,
            num_heads,
            window_size=window_size,
            shift_single_window=shift_single_window,
            qkv_bias=qkv_bias,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )

        def global_block(stage: int, shifted: bool, rate: float) -> WindowBlock:
            return WindowBlock(widths[stage], attention(stage, shifted), rate)

        super().__init__(
            in_channels,
            num_classes,
            widths,
            depths,
            local_depths,
            global_block=global_block,
            local_block=LocalBlock,
            fusion_block=partial(HFF, irmlp=irmlp, channel_gate=channel_gate, drop_path=fusion_drop_path),
            dropout=dropout,
            drop_path=drop_path,
            local_drop_path=local_drop_path,
            conv_std=conv_std,
        )


@register(
    _record(
        "hifuse_2022",
        "HiFuse as of June 2022, another network: the one whose authors released weights (ImageNet-1K)",
        84_939_026,
        13_049_880_362,
        num_classes=1000,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    )
)
class HiFuse2022(_TwoBranches):
    """HiFuse as its code computed it in June 2022: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``.

    The branches are those of Swin and ConvNeXt themselves; the fusion blocks mix by 3×3 convolutions and end in a
    bottleneck, without layer norms and shortcut.

    Args:
        in_channels: Channels of the image.
        num_classes: Number of logits.
        depths: Blocks in each stage of the global branch.
        local_depths: Blocks in each stage of the local branch.
        widths: Channels of each stage, in all branches.
        num_heads: Heads of each stage.
        window_size: Side of a window.
        mlp_ratio: Width of the middle of the global branch's perceptrons, in multiples of the stage's.
        layer_scale: What the gains of the local blocks begin with.
        shift_single_window: Whether windows are shifted also where the map is not larger than one, as published.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        dropout: Behind the patch embedding, each attention and each layer of the perceptrons of the global branch, in
            training.
        attention_dropout: Of the attention weights, in training.
        drop_path: Rate of the last block of the global branch, rising linearly from 0.
        local_drop_path: Rate of the last block of the local branch, rising linearly from 0.
        conv_std: Standard deviation the convolutions of the two branches begin with.

    Raises:
        ValueError: An option that is not one of these, not one value a stage, or heads that do not divide the widths.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        depths: Sequence[int] = (2, 2, 6, 2),
        local_depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = _WIDTHS,
        num_heads: Sequence[int] = _HEADS,
        window_size: int = 7,
        mlp_ratio: float = 4,
        layer_scale: float = 1e-6,
        shift_single_window: bool = True,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.1,
        local_drop_path: float = 0.0,
        conv_std: float = 0.2,
    ) -> None:
        attention = _attentions(
            widths,
            num_heads,
            window_size=window_size,
            shift_single_window=shift_single_window,
            qkv_bias=qkv_bias,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )

        def global_block(stage: int, shifted: bool, rate: float) -> TransformerBlock:
            return TransformerBlock(widths[stage], attention(stage, shifted), mlp_ratio, dropout, rate)

        super().__init__(
            in_channels,
            num_classes,
            widths,
            depths,
            local_depths,
            global_block=global_block,
            local_block=partial(ConvNeXtBlock, layer_scale=layer_scale),
            fusion_block=BottleneckHFF,
            dropout=dropout,
            drop_path=drop_path,
            local_drop_path=local_drop_path,
            conv_std=conv_std,
        )


def _attentions(
    widths: Sequence[int], num_heads: Sequence[int], **options: Any
) -> Callable[[int, bool], WindowAttention]:
    """What makes the attention of a block from its stage and whether it is shifted."""
    _check_stages(widths=widths, num_heads=num_heads)
    return lambda stage, shifted: WindowAttention(widths[stage], num_heads[stage], shift=shifted, **options)


def _initialise(module: nn.Module, conv_std: float) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else conv_std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_stages(**options: Sequence[int]) -> None:
    for option, values in options.items():
        if len(values) != 4 or not all(isinstance(value, int) and value > 0 for value in values):
            raise ValueError(f"{option} is {list(values)}; give four whole numbers of at least 1, one a stage")
