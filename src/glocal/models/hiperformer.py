"""HiPerformer: a CNN and a Swin transformer side by side, fused level by level (arXiv 2509.20280).

Both encoders give maps at strides 4, 8, 16 and 32. At each level a fusion block takes the local map, the global map and
the fused map of the finer level. In the aggregation the deep fused maps are multiplied into the shallow ones and then
gate the skips of the decoder. Each decoder level has a head of its own; the logits are their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, PretrainedPart, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import (
    ChannelAffinity,
    ConvNorm,
    GatedPyramidSkip,
    LevelFusion,
    MultiplicativePyramid,
    PyramidSqueezeAttention,
    SpatialBottleneckGate,
    SwinEncoder,
    TwoPathBlock,
)

__all__ = ["HiPerformer", "LocalBranch"]

_PAPER = Paper(
    title="HiPerformer: A High-Performance Global-Local Segmentation Model with Modular Hierarchical Fusion Strategy",
    year=2025,
    url="https://arxiv.org/abs/2509.20280",
)


def _record(name: str, summary: str, parameters: int, multiply_adds: int, **arguments: Any) -> ModelInfo:
    return ModelInfo(
        name=name,
        family="hiperformer",
        task="segmentation",
        summary=summary,
        input_size=(224, 224),
        in_channels=3,
        num_classes=9,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        parameters=parameters,
        multiply_adds=multiply_adds,
        feature_channels=tuple(arguments.get("embed_dim", 128) * 2**i for i in range(4)),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType(arguments),
    )


@register(
    _record("hiperformer", "HiPerformer on Swin-B, as its published code computes it", 382_299_701, 69_402_415_104),
    _record(
        "hiperformer_swin_t",
        "HiPerformer on Swin-T; its CNN and fusion are narrowed to match",
        193_797_316,
        34_873_692_288,
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
    ),
    _record(
        "hiperformer_swin_s",
        "HiPerformer on Swin-S; its CNN and fusion are narrowed to match",
        215_115_220,
        39_124_000_896,
        embed_dim=96,
        num_heads=(3, 6, 12, 24),
    ),
    _record(
        "hiperformer_swin_l",
        "HiPerformer on Swin-L, which its published code names but cannot run",
        860_091_991,
        172_470_197_760,
        embed_dim=192,
        num_heads=(6, 12, 24, 48),
        window_size=12,
    ),
    _record(
        "hiperformer_tiny",
        "HiPerformer with an eighth of the width and 8 Swin blocks, which two CPU cores can train",
        5_215_935,
        963_915_520,
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        drop_path=0.1,
        squeeze_reduction=2,
    ),
)
class HiPerformer(SegmentationNetwork):
    """HiPerformer (arXiv 2509.20280): ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The published network takes three channels and repeats a single one; weights of it that are loaded with
    ``in_channels=1`` have the three kernels of their stems summed, which is the same function. With ``num_classes=1``
    the published network returns probabilities; here logits are returned, and their sigmoid is what it returns.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        embed_dim: Width of the first level, a multiple of 16; each next level has twice as many channels.
        depths: Blocks of the four Swin stages.
        num_heads: Heads of the four Swin stages.
        window_size: Side of the Swin's windows.
        drop_path: Rate of the last Swin block; the rates rise linearly from 0.
        irmlp: The 3×3 convolution of the fusion: ``"dense"`` as published, ``"depthwise"`` as in equation 10.
            ``"none"``: a 1×1 convolution in place of the perceptron.
        fusion_levels: How many of the deepest levels have a fusion block (LGFF); 4 as published. Where there is none
            the local and the global map are added.
        spatial_gate: Whether the fusion gates the local maps (SPE).
        similarity: Of the fusion's attention on the global maps (ACI): ``"inverted"`` as published, with a learnt gain;
            ``"direct"`` as in equation 8, without one; ``"none"``: no such attention.
        gate: What the gates of the decoder are put on: ``"skip"`` as published, ``"decoder"`` as in equation 15.
        squeeze_reduction: Of the squeeze-excitations in the decoder.
        branches: ``"both"``, or the ``"local"`` or ``"global"`` one alone, unfused (first two rows of the ablation).
        multiply: Whether deep maps are multiplied into shallow ones (PMI).
        pyramid_gate: Whether skips are gated and go through a pyramid of kernels (PGA). Without, decoder and skip are
            concatenated; which plain form the paper's ablation used is not published.

    Raises:
        ValueError: An option that is not one of these, or numbers that do not divide each other.
    """

    padding = "zero"

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 9,
        *,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        num_heads: Sequence[int] = (4, 8, 16, 32),
        window_size: int = 7,
        drop_path: float = 0.2,
        irmlp: Literal["dense", "depthwise", "none"] = "dense",
        fusion_levels: int = 4,
        spatial_gate: bool = True,
        similarity: Literal["inverted", "direct", "none"] = "inverted",
        gate: Literal["skip", "decoder"] = "skip",
        squeeze_reduction: int = 16,
        branches: Literal["both", "local", "global"] = "both",
        multiply: bool = True,
        pyramid_gate: bool = True,
    ) -> None:
        super().__init__()
        _check(embed_dim, depths, num_heads, branches, fusion_levels)
        widths = [embed_dim * 2**i for i in range(4)]
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 32
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(widths))
        # Two encoders (DRCNN and Swin), fused level by level (LGFF)
        self.local_branch = LocalBranch(in_channels, widths) if branches != "global" else None
        self.global_branch = None
        if branches != "local":
            self.pretrained_parts = {"swin": PretrainedPart("encoder.", "global_branch.")}
            self.global_branch = SwinEncoder(
                in_channels,
                embed_dim,
                depths,
                num_heads,
                window_size,
                drop_path=drop_path,
                shift_single_window=True,
            )
        self.fusion = nn.ModuleList(
            LevelFusion(
                width,
                SpatialBottleneckGate(width) if spatial_gate else nn.Identity(),
                nn.Identity() if similarity == "none" else ChannelAffinity(similarity, gain=similarity == "inverted"),
                previous_channels=width // 2 if i else None,
                irmlp=irmlp,
            )
            for i, width in enumerate(widths[4 - fusion_levels :])
            if branches == "both"
        )
        # Progressive pyramid aggregation (PMI, PGA) and the decoder; each decoder module is applied twice
        self.pyramid = MultiplicativePyramid(widths) if multiply else None
        self.bottom = self.skips = None
        if pyramid_gate:
            self.bottom = PyramidSqueezeAttention(widths[3], widths[3], reduction=squeeze_reduction)
            self.skips = nn.ModuleList(
                GatedPyramidSkip(width, gated=gate, reduction=squeeze_reduction) for width in widths[:3]
            )
        self.decoder = nn.ModuleList(_decoder_conv(2 * width, width) for width in widths[:3])
        self.heads = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in widths)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the fused map of each level, strides 4, 8, 16, 32."""
        if self.local_branch is None or self.global_branch is None:
            alone = self.local_branch or self.global_branch
            assert alone is not None
            maps: list[Tensor] = alone(x)
            return maps
        pairs = list(zip(self.local_branch(x), self.global_branch(x), strict=True))
        plain = len(pairs) - len(self.fusion)
        fused: list[Tensor] = []
        for fuse, pair in zip(self.fusion, pairs[plain:], strict=True):
            fused.append(fuse(*pair, fused[-1] if fused else None))
        return [*(local_map + global_map for local_map, global_map in pairs[:plain]), *fused]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits of the four decoder levels, each brought to the size of the image, summed."""
        maps = features if self.pyramid is None else self.pyramid(features)
        x = maps[3] if self.bottom is None else self.bottom(maps[3])
        logits = _enlarged(self.heads[3](x), 32)
        for i in (2, 1, 0):
            decode, skip = self.decoder[i], maps[i]
            x = decode(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
            x = decode(torch.cat([skip, x], 1) if self.skips is None else self.skips[i](x, skip))
            logits = logits + _enlarged(self.heads[i](x), 4 * 2**i)
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the four heads by freshly initialised ones with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        for i, head in enumerate(self.heads):
            assert isinstance(head, nn.Conv2d)
            self.heads[i] = nn.Conv2d(head.in_channels, num_classes, 1).to(head.weight)


class LocalBranch(nn.Module):
    """A convolutional stem, then a two-path block behind each halving (DRCNN).

    Args:
        in_channels: Channels of the image.
        widths: Channels of each level; the stem has half of the first.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        stem = widths[0] // 2
        self.stem = ConvNorm(nn.Conv2d(in_channels, stem, 7, stride=2, padding=3))
        self.stages = nn.ModuleList(TwoPathBlock(a, b) for a, b in zip((stem, *widths), widths, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> a map of each level, strides 4, 8, 16, …"""
        x = F.relu(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(F.max_pool2d(x, 2))
            maps.append(x)
        return maps


def _decoder_conv(in_channels: int, channels: int) -> nn.Sequential:
    """Of one level: for the map from below, and for what the skip makes of it."""
    return nn.Sequential(ConvNorm(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)), nn.LeakyReLU(0.01))


def _enlarged(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=False)


def _check(embed_dim: int, depths: Sequence[int], num_heads: Sequence[int], branches: str, fusion_levels: int) -> None:
    if not isinstance(embed_dim, int) or embed_dim < 16 or embed_dim % 16:
        raise ValueError(f"embed_dim is {embed_dim!r}; it must be a multiple of 16")
    for option, values in (("depths", depths), ("num_heads", num_heads)):
        if len(values) != 4 or not all(isinstance(value, int) and value > 0 for value in values):
            raise ValueError(f"{option} is {list(values)}; give four numbers, one a stage, such as 2 2 6 2")
    if branches not in ("both", "local", "global"):
        raise ValueError(f"branches is {branches!r}; use both, local or global")
    if fusion_levels not in range(5):
        raise ValueError(f"fusion_levels is {fusion_levels}; there are four levels, so it is 0 to 4")
