"""HiFuse's published code, as it is and as of June 2022: tensor names, and modules as golden cases name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.hifuse import HiFuse, HiFuse2022
from glocal.models.published.hifuse_names import (
    ATTENTION,
    CONVNEXT_BLOCK,
    INDEX,
    IRMLP,
    LOCAL_BLOCK,
    SAME,
    SWIN_BLOCK,
    WINDOW_BLOCK,
    fusion_rules,
    network_rules,
)
from glocal.models.published.system import (
    Component,
    Converted,
    Record,
    Rules,
    System,
    apply_rules,
    renamed,
    within_pattern,
)
from glocal.nn import (
    HFF,
    BottleneckHFF,
    ConvNeXtBlock,
    InvertedResidualMlp,
    LayerNorm2d,
    LocalBlock,
    PatchMerging,
    TransformerBlock,
    WindowAttention,
    WindowBlock,
)

__all__ = ["SYSTEM"]

_VARIANTS: Mapping[tuple[int, ...], str] = {
    (2, 2, 2, 2): "hifuse_tiny",
    (2, 2, 6, 2): "hifuse_small",
    (2, 2, 18, 2): "hifuse_base",
}
"""By the depths of both branches; other networks become ``hifuse_tiny`` with options."""


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _recognises(state: Mapping[str, Tensor]) -> bool:
    return any(re.match(r"fu[1-4]\.se\.[02]\.weight$", name) for name in state)


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names; every switch but one is told by what is there and its shape."""
    old = "stages.0.0.gamma" in state or "layers1.blocks.0.mlp.fc1.weight" in state
    tables = [state[f"layers{s}.blocks.0.attn.relative_position_bias_table"].shape for s in (1, 2, 3, 4)]
    depths, local_depths = (
        tuple(_blocks(state, pattern.format(s, s + 1)) for s in range(4))
        for pattern in (r"layers{1}\.blocks\.(\d+)\.", r"stages\.{0}\.(\d+)\.")
    )
    arguments: dict[str, Any] = {
        "in_channels": state["downsample_layers.0.0.weight"].shape[1],
        "depths": list(depths),
        "local_depths": list(local_depths),
        "widths": [state[f"stages.{s}.0.dwconv.weight"].shape[0] for s in range(4)],
        "num_heads": [heads for _, heads in tables],
        "window_size": (isqrt(tables[0][0]) + 1) // 2,
        "qkv_bias": "layers1.blocks.0.attn.qkv.bias" in state,
    }
    if "conv_head.weight" in state:  # the published training script leaves it out of what it loads
        arguments["num_classes"] = state["conv_head.weight"].shape[0]
    notes: tuple[str, ...] = ()
    if old:
        arguments["mlp_ratio"] = state["layers1.blocks.0.mlp.fc1.weight"].shape[0] / arguments["widths"][0]
    else:
        dense = state["fu1.residual.conv1.conv.weight"].shape[1] > 1
        arguments["irmlp"] = "dense" if dense else "depthwise"
        notes = (
            "the tensors do not tell which channel gate they were trained with: what the authors' code trained before "
            "2024-01-16 needs channel_gate='double_sigmoid'",
        )
    name = "hifuse_2022" if old else _VARIANTS.get(depths if depths == local_depths else (), "hifuse_tiny")
    own = {name: tensor for name, tensor in state.items() if not name.endswith(INDEX)}
    ours, ignored, unexpected = renamed(own, _rename(network_rules(old)))
    return Converted("hifuse", name, arguments, ours, ignored, unexpected, notes)


def _blocks(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many blocks a stage has."""
    found = [int(match[1]) for name in state if (match := re.match(pattern, name))]
    if not found:
        raise KeyError(pattern.replace(r"(\d+)", "0").replace("\\", "").rstrip("."))
    return 1 + max(found)


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


class _ChannelsFirst(nn.Module):
    """A module on channels-last maps, fed and read channels-first."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class _Windows(nn.Module):
    """Windowed attention fed with the tokens of single windows, ``(windows, w², C)``."""

    def __init__(self, module: WindowAttention) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        side = self.module.window_size
        out: Tensor = self.module(x.reshape(len(x), side, side, -1)).flatten(1, 2)
        return out


class _PatchEmbed(nn.Module):
    def __init__(self, in_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, channels, patch_size, patch_size)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(F.pad(x, (0, -x.shape[3] % self.patch_size, 0, -x.shape[2] % self.patch_size)))
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class _AllMaps(nn.Module):
    """A network that gives its logits and the maps of all branches, thinned out as the golden cases hold them."""

    def __init__(self, network: HiFuse | HiFuse2022) -> None:
        super().__init__()
        self.module = network

    def forward(self, x: Tensor) -> list[Tensor]:
        branches = self.module.branches(x)
        thinned = [m[..., :: 8 >> s, :: 8 >> s] for maps in branches for s, m in enumerate(maps)]
        return [self.module.decode(branches.fused_maps), *thinned]


def _wrapped(module: nn.Module, rules: Rules) -> Component:
    """Of a module inside a wrapper."""

    def rename(name: str) -> str | None:
        ours = apply_rules(name, rules)
        return ours and f"module.{ours}"

    return Component(module, rename)


def _window_attention(record: Record) -> Component:
    def make(dim: int, window_size: Sequence[int], num_heads: int, qkv_bias: bool = True) -> WindowAttention:
        return WindowAttention(dim, num_heads, window_size[0], qkv_bias=qkv_bias)

    return _wrapped(_Windows(make(**record["arguments"])), ATTENTION)


def _stage(record: Record) -> Component:
    def make(
        dim: int,
        depth: int,
        num_heads: int,
        window_size: int,
        downsample: str | None,
        mlp_ratio: float = 4.0,
        revision: str | None = None,
    ) -> Component:
        blocks: list[nn.Module] = []
        for j in range(depth):
            attention = WindowAttention(dim, num_heads, window_size, shift=j % 2 == 1)
            blocks += [
                WindowBlock(dim, attention)
                if revision is None
                else TransformerBlock(dim, attention, mlp_ratio, dropout=0.0)
            ]
        merging = nn.Identity() if downsample is None else PatchMerging(dim // 2, dim)
        block = WINDOW_BLOCK if revision is None else SWIN_BLOCK
        rules = [
            *within_pattern("downsample", "0", SAME),
            *within_pattern(r"blocks\.(\d+)", r"1.\1", block),
        ]
        return _wrapped(_ChannelsFirst(nn.Sequential(merging, nn.Sequential(*blocks))), rules)

    return make(**record["arguments"])


def _patch_merging(record: Record) -> Component:
    def make(dim: int) -> PatchMerging:
        return PatchMerging(dim // 2, dim)

    return _wrapped(_ChannelsFirst(make(**record["arguments"])), SAME)


def _patch_embed(record: Record) -> Component:
    def make(patch_size: int, in_c: int, embed_dim: int, norm_layer: str) -> _PatchEmbed:
        return _PatchEmbed(in_c, embed_dim, patch_size)

    return Component(make(**record["arguments"]), _rename(SAME))


def _stem(record: Record) -> Component:
    def make(in_chans: int, conv_dims: Sequence[int]) -> nn.Sequential:
        stem = nn.Sequential(nn.Conv2d(in_chans, conv_dims[0], 4, 4), LayerNorm2d(conv_dims[0]))
        return nn.Sequential(
            stem, nn.Sequential(LayerNorm2d(conv_dims[0]), nn.Conv2d(conv_dims[0], conv_dims[1], 2, 2))
        )

    return Component(make(**record["arguments"]), _rename(SAME))


def _local_block(record: Record) -> Component:
    def make(dim: int, drop_rate: float = 0.0) -> LocalBlock:
        return LocalBlock(dim, drop_rate)

    return Component(make(**record["arguments"]), _rename(LOCAL_BLOCK))


def _convnext_block(record: Record) -> Component:
    def make(
        dim: int, drop_rate: float = 0.0, layer_scale_init_value: float = 1e-6, revision: str = ""
    ) -> ConvNeXtBlock:
        return ConvNeXtBlock(dim, drop_rate, layer_scale=layer_scale_init_value)

    return Component(make(**record["arguments"]), _rename(CONVNEXT_BLOCK))


def _irmlp(record: Record) -> Component:
    def make(inp_dim: int, out_dim: int, irmlp: Any = "dense") -> InvertedResidualMlp:
        return InvertedResidualMlp(inp_dim, out_dim, irmlp)

    return Component(make(**record["arguments"]), _rename(IRMLP))


def _fusion(record: Record) -> Component:
    def make(
        ch_1: int,
        ch_2: int,
        r_2: int,
        ch_int: int,
        ch_out: int,
        drop_rate: float = 0.0,
        channel_gate: Any = "sigmoid",
        revision: str | None = None,
    ) -> Component:
        first = record["input_shape"][1] == ch_1 + ch_2
        previous = None if first else ch_int // 2
        module: nn.Module
        if revision is None:
            module = HFF(
                ch_int,
                previous,
                local_channels=ch_1,
                global_channels=ch_2,
                channel_gate=channel_gate,
                reduction=r_2,
                drop_path=drop_rate,
            )
        else:
            module = BottleneckHFF(ch_int, previous, reduction=r_2)

        def cut(x: Tensor) -> tuple[Any, ...]:
            local_map, global_map, finer = torch.split(x, [ch_1, ch_2, x.shape[1] - ch_1 - ch_2], 1)
            return local_map, global_map, None if first else F.pixel_shuffle(finer, 2)

        return Component(module, _rename(fusion_rules(first, old=revision is not None)), cut)

    return make(**record["arguments"])


def _network(record: Record) -> Component:
    def make(
        num_classes: int,
        in_chans: int,
        conv_depths: Sequence[int],
        conv_dims: Sequence[int],
        embed_dim: int,
        patch_size: int = 4,
        revision: str | None = None,
        conv_layer_scale_init_value: float = 1e-6,
        features: bool = False,
        **options: Any,
    ) -> HiFuse | HiFuse2022:
        options = {**options, "local_depths": conv_depths, "widths": conv_dims}
        if revision is None:
            return HiFuse(in_chans, num_classes, **options)
        return HiFuse2022(in_chans, num_classes, layer_scale=conv_layer_scale_init_value, **options)

    arguments = record["arguments"]
    network = make(**arguments)
    rules = network_rules(old="revision" in arguments)
    return _wrapped(_AllMaps(network), rules) if arguments.get("features") else Component(network, _rename(rules))


SYSTEM = System(
    family="hifuse",
    recognises=_recognises,
    convert=_convert,
    components={
        "BasicLayer": _stage,
        "Block": _convnext_block,
        "HFF_block": _fusion,
        "HiFuse": _network,
        "IRMLP": _irmlp,
        "Local_block": _local_block,
        "PatchEmbed": _patch_embed,
        "PatchMerging": _patch_merging,
        "WindowAttention": _window_attention,
        "downsample_layers[0] then downsample_layers[1]": _stem,
    },
)
"""HiFuse, revision 6977972, and its form of June 2022, revision 381c845, of the published code."""
