"""HiFuse: hierarchical multi-scale feature fusion for medical image classification (arXiv 2209.10218).

A local branch (light ConvNeXt blocks) and a global branch (windowed attention) look at the same image side by side, at
strides 4, 8, 16 and 32. A fusion path takes at each stage the two maps and the fused map above; only the last fused
map is classified.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal

from glocal.models._two_branches import Branches, TwoBranches, window_attentions
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import HFF, BottleneckHFF, ConvNeXtBlock, LocalBlock, TransformerBlock, WindowBlock

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
class HiFuse(TwoBranches):
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
            ``"depthwise"`` as the paper describes it. ``"none"``: a 1×1 convolution in place of the perceptron.
        fusion_levels: How many of the deepest levels have a fusion block; 4 as published. Where there is none the local
            and the global map are added; with 1 no fused map is passed on, and the finer maps serve features only.
        spatial_gate: Whether the fusion blocks gate the local maps.
        channel_gate: Of the fusion blocks on the global maps: ``"sigmoid"``, ``"double_sigmoid"`` as the code of the
            paper, before January 2024, has it, or ``"none"``.
        fusion_shortcut: Whether a fusion block adds the fused map of the finer level to its result.
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
        irmlp: Literal["dense", "depthwise", "none"] = "dense",
        fusion_levels: int = 4,
        spatial_gate: bool = True,
        channel_gate: Literal["sigmoid", "double_sigmoid", "none"] = "sigmoid",
        fusion_shortcut: bool = True,
        shift_single_window: bool = True,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        local_drop_path: float = 0.0,
        fusion_drop_path: float = 0.0,
        conv_std: float = 0.2,
    ) -> None:
        attention = window_attentions(
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
            fusion_block=partial(
                HFF,
                irmlp=irmlp,
                spatial_gate=spatial_gate,
                channel_gate=channel_gate,
                drop_path=fusion_drop_path,
                shortcut=fusion_shortcut,
            ),
            fusion_levels=fusion_levels,
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
class HiFuse2022(TwoBranches):
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
        attention = window_attentions(
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
