"""DSSAU-Net: a U-shaped network of dual sparse selection attention (arXiv 2506.03684), or of STAR-DSSA.

The encoder has four levels, strides 4 to 32; pyramid pooling on the deepest, then a top-down path of few channels whose
levels run the same blocks, and a fusion of all levels. The deepest level attends to the whole map.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import (
    ConvNorm,
    DualSparseSelectionAttention,
    LayerNorm2d,
    LocallyEnhancedAttention,
    PositionedBlock,
    PyramidPooling,
    StarDSSA,
    drop_path_rates,
)

__all__ = ["DSSADecoder", "DSSAEncoder", "DSSAUNet"]

_PAPER = Paper(
    title="DSSAU-Net: U-Shaped Hybrid Network for Pubic Symphysis and Fetal Head Segmentation",
    year=2025,
    url="https://arxiv.org/abs/2506.03684",
)
_FULL_HEADS = 8
"""Of the attention over the whole map, whatever its width."""


_WIDTHS = (96, 192, 384, 768)
_TINY: dict[str, Any] = {
    "widths": (32, 64, 96, 128),
    "depths": (1, 1, 2, 1),
    "head_dim": 16,
    "mlp_ratio": 2,
    "decoder_width": 32,
}


def _record(name: str, summary: str, parameters: int, multiply_adds: int, **arguments: Any) -> ModelInfo:
    return ModelInfo(
        name=name,
        family=name.removesuffix("_tiny"),
        task="segmentation",
        summary=summary,
        input_size=(256, 256),
        in_channels=3,
        num_classes=3,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        parameters=parameters,
        multiply_adds=multiply_adds,
        feature_channels=arguments.get("widths", _WIDTHS),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType(arguments),
    )


class DSSAEncoder(nn.ModuleList):
    """Four levels of blocks, strides 4, 8, 16 and 32; the maps of all levels, each through a layer norm.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the levels.
        blocks: Blocks of the levels.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], blocks: Sequence[nn.Module]) -> None:
        stem = nn.Sequential(_halve(in_channels, widths[0] // 2), nn.GELU(), _halve(widths[0] // 2, widths[0]))
        downs = [stem, *(_halve(*widths[i : i + 2]) for i in range(3))]
        super().__init__(_Level(*parts) for parts in zip(downs, blocks, widths, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)``, sides multiples of 32 -> four maps, finest first."""
        maps = []
        for level in self:
            x, normed = level(x)
            maps.append(normed)
        return maps


class _Level(nn.Module):
    """Down, blocks, and the norm of what leaves the encoder here; the next level takes the map before it."""

    def __init__(self, down: nn.Module, blocks: nn.Module, width: int) -> None:
        super().__init__()
        self.down = down
        self.blocks = blocks
        self.norm = LayerNorm2d(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(self.down(x))
        return x, self.norm(x)


class DSSADecoder(nn.Module):
    """Pyramid pooling, a top-down path with skips, and the fusion of its four levels on the finest.

    Args:
        widths: Channels of the encoder's levels.
        channels: Channels of every level here.
        blocks: Blocks of the levels.
        pool: ``"max"`` or ``"average"``, of the pyramid pooling.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, blocks: Sequence[nn.Module], pool: Literal["max", "average"] = "max"
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(widths[3], channels, pool=pool)
        self.blocks = nn.ModuleList(blocks)
        self.skips = nn.ModuleList(ConvNorm(nn.Conv2d(width, channels, 1)) for width in widths[:3])
        self.smooth = nn.ModuleList(ConvNorm(nn.Conv2d(channels, channels, 1)) for _ in range(3))
        self.project = nn.Conv2d(channels, channels, 1)
        self.fuse = _FuseLevels(nn.Conv2d(4 * channels, channels, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the encoder, finest first -> ``(N, channels, H, W)`` of the finest."""
        y = self.blocks[3](self.pooling(features[3]))
        levels = [y]
        for i in (2, 1, 0):
            above = _resize(y, features[i])
            if i == 2:
                above = self.project(above)
            y = F.relu(self.smooth[i](self.blocks[i](above + F.relu(self.skips[i](features[i])))))
            levels.append(y)
        fused: Tensor = F.relu(self.fuse(levels))
        return fused


class _FuseLevels(ConvNorm):
    """A 1×1 convolution and norm of several maps brought to the size of the last one and concatenated.

    The convolution commutes with the interpolation, so each map meets its part of the kernel at its own size.
    """

    def forward(self, maps: list[Tensor]) -> Tensor:  # type: ignore[override]
        """``(N, C, H_i, W_i)``, coarsest first -> ``(N, out, H, W)`` of the last one."""
        parts = [
            _resize(F.conv2d(x, weight), maps[-1])
            for x, weight in zip(maps, self.conv.weight.chunk(len(maps), 1), strict=True)
        ]
        assert self.conv.bias is not None
        x = sum(parts[1:], parts[0]) + self.conv.bias[:, None, None]
        return x if self.norm is None else self.norm(x)


@register(
    _record("dssaunet", "DSSAU-Net as its published code computes it", 29_250_115, 7_030_489_088),
    _record(
        "dssaunet_tiny", "DSSAU-Net, narrower and of half the depth, for small machines", 618_755, 350_253_056, **_TINY
    ),
    _record(
        "star_dssaunet",
        "DSSAU-Net with STAR-DSSA for DSSA: ours, its accuracy unmeasured",
        29_964_853,
        7_058_794_112,
        attention="star",
    ),
    _record(
        "star_dssaunet_tiny", "dssaunet_tiny with STAR-DSSA for DSSA", 637_709, 354_544_896, attention="star", **_TINY
    ),
)
class DSSAUNet(SegmentationNetwork):
    """DSSAU-Net (arXiv 2506.03684): ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The image is zero-padded at the bottom and right to multiples of 32. The options up to ``min_keep`` change the
    published function; those that follow belong to STAR-DSSA (:class:`glocal.nn.StarDSSA`).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        attention: ``"dssa"``, or ``"star"`` for STAR-DSSA in every level of encoder and decoder that routes.
        widths: Channels of the four levels of the encoder.
        depths: Blocks of the four levels.
        topks: Regions that each region is routed to, by level; null: attention over the whole map.
        n_win: Regions an axis.
        head_dim: Channels of a head where attention is routed.
        mlp_ratio: Width of the perceptrons' middle.
        drop_path: Stochastic depth of the last block of encoder and decoder, in training.
        decoder_width: Channels of the decoder.
        decoder_depths: Blocks of the decoder's levels, finest first; default: ``depths``.
        pool: Of the pyramid pooling: ``"max"`` as published, ``"average"`` as usual.
        scale: Of the routed scores: ``"channels"`` as published, ``"head"`` as usual.
        side_dwconv: Side of the depth-wise kernel of the local context, odd.
        pixel_topk: False: the second selection is left out.
        keep_divisor: The second selection keeps one in so many tokens.
        mask_padding: Leave out padding where regions overhang a map; default: not with ``"dssa"``, but with ``"star"``.
        min_keep: Tokens the second selection keeps at least; default: 0 with ``"dssa"``, 1 with ``"star"``.
        saliency: Saliency-weighted means of regions; default: on.
        topology: Neighbouring regions preferred; default: on.
        route_gate: Values multiplied by a gate of their region's score; default: on.
        local_gate: Gated local context; default: on.
        topology_init: Initial weight of the neighbourhood; default: 0.25.
        gate_reduction: How much narrower the middle of the local gate is; default: 4.

    Raises:
        ValueError: An option that is not one of these, of the other attention, or numbers that do not fit each other.
    """

    padding = "zero"

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 3,
        *,
        attention: Literal["dssa", "star"] = "dssa",
        widths: Sequence[int] = _WIDTHS,
        depths: Sequence[int] = (2, 2, 8, 2),
        topks: Sequence[int | None] = (1, 4, 16, None),
        n_win: int = 8,
        head_dim: int = 32,
        mlp_ratio: float = 3,
        drop_path: float = 0.2,
        decoder_width: int = 64,
        decoder_depths: Sequence[int] | None = None,
        pool: Literal["max", "average"] = "max",
        scale: Literal["channels", "head"] = "channels",
        side_dwconv: int = 5,
        pixel_topk: bool = True,
        keep_divisor: int = 8,
        mask_padding: bool | None = None,
        min_keep: int | None = None,
        saliency: bool | None = None,
        topology: bool | None = None,
        route_gate: bool | None = None,
        local_gate: bool | None = None,
        topology_init: float | None = None,
        gate_reduction: int | None = None,
    ) -> None:
        super().__init__()
        depths_down = depths if decoder_depths is None else decoder_depths
        for name, values in (("widths", widths), ("depths", depths), ("topks", topks), ("decoder_depths", depths_down)):
            if len(values) != 4 or any(v is not None and (not isinstance(v, int) or v < 1) for v in values):
                raise ValueError(f"{name} is {list(values)}; give four whole numbers of at least 1, one a level")
        sparse = _sparse(
            attention,
            n_win=n_win,
            side_dwconv=side_dwconv,
            scale=scale,
            pixel_topk=pixel_topk,
            keep_divisor=keep_divisor,
            mask_padding=mask_padding,
            min_keep=min_keep,
            saliency=saliency,
            topology=topology,
            route_gate=route_gate,
            local_gate=local_gate,
            topology_init=topology_init,
            gate_reduction=gate_reduction,
        )

        def stages(widths: Sequence[int], depths: Sequence[int]) -> list[nn.Sequential]:
            """Blocks of the four levels; the drop path rises in the order of the levels, finest first."""
            attentions = [_attention(w, k, head_dim, sparse, side_dwconv) for w, k in zip(widths, topks, strict=True)]
            return [
                nn.Sequential(*(PositionedBlock(width, make(), mlp_ratio, rate) for rate in rates))
                for width, make, rates in zip(
                    widths, attentions, drop_path_rates(drop_path, tuple(depths)), strict=True
                )
            ]

        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 32
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**level) for level, width in enumerate(widths))
        self.encoder = DSSAEncoder(in_channels, widths, stages(widths, depths))
        self.decoder = DSSADecoder(widths, decoder_width, stages([decoder_width] * 4, depths_down), pool)
        self.head = nn.Conv2d(decoder_width, num_classes, 3, padding=1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> four levels, strides 4, 8, 16, 32."""
        maps: list[Tensor] = self.encoder(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """The decoder, four times its size, and the head at the size of the image."""
        x = self.decoder(features)
        x = F.interpolate(x, (4 * x.shape[2], 4 * x.shape[3]), mode="bilinear", align_corners=True)
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


def _halve(in_channels: int, out_channels: int) -> ConvNorm:
    return ConvNorm(nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear with aligned corners, to the size of another map."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def _sparse(attention: str, **options: Any) -> Callable[..., nn.Module]:
    """The routed attention with the options that are given."""
    given = {name: value for name, value in options.items() if value is not None}
    kind = {"dssa": DualSparseSelectionAttention, "star": StarDSSA}.get(attention)
    if kind is None:
        raise ValueError(f"attention is {attention!r}; use dssa or star")
    known = inspect.signature(kind).parameters
    foreign = [name for name in given if name not in known]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} belong to STAR-DSSA; ask for attention='star' or leave them out")
    for name, value in given.items():
        if isinstance(known[name].default, bool) and not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; it must be true or false")
    return partial(kind, **given)


def _attention(
    width: int, topk: int | None, head_dim: int, sparse: Callable[..., nn.Module], side_dwconv: int
) -> Callable[[], nn.Module]:
    """What makes the attention of one level."""
    if topk is None:
        return partial(LocallyEnhancedAttention, width, _FULL_HEADS, side_dwconv)
    if head_dim < 1 or width % head_dim:
        raise ValueError(f"head_dim is {head_dim}; it must divide the width {width} of a level that routes")
    return partial(sparse, width, width // head_dim, topk)
