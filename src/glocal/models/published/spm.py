"""Published code of Stepwise Patch Merging and PVT: tensor names, and its modules as golden cases name them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glocal.models.network import Features
from glocal.models.published import dense_heads
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within
from glocal.models.pvt import PVT
from glocal.nn import (
    GuidedLocalEnhancement,
    MultiScaleAggregation,
    SpatialReductionAttention,
    StepwisePatchMerging,
    TransformerBlock,
    guided_attention,
)

__all__ = ["PVT_NETWORK", "STEPWISE_PATCH_MERGING", "SYSTEM"]

# Published name -> ours, one table a module. ``(.+)`` is weight, bias or a buffer.
_SAME: Rules = [(r"(.+)", r"\1")]
_MSA: Rules = [
    *((rf"local_conv_{k}\.(.+)", rf"local.{i}.\1") for i, k in enumerate((3, 5, 7, 9))),
    (r"proj\.0\.(.+)", r"mix.conv.\1"),
    (r"proj\.1\.(.+)", r"mix.norm.\1"),
    (r"proj\.3\.(.+)", r"project.\1"),
]
_GLE: Rules = [
    (r"gtg\.0\.(.+)", r"guide_norm.\1"),
    (r"gtg\.2\.(.+)", r"guide.\1"),
    (r"attn\.(qkv\..+)", r"\1"),
    (r"(norm[01]\..+)", r"\1"),
]
STEPWISE_PATCH_MERGING: Rules = [*within("msa", "msa", _MSA), *within("gle", "gle", _GLE)]
_EMBEDDING: Rules = [(r"proj\.(.+)", r"0.\1"), (r"norm\.(.+)", r"1.\1")]
_BLOCK: Rules = [(r"(norm[12]\..+|mlp\.fc[12]\..+)", r"\1"), (r"attn\.(.+)", r"attention.\1")]


PVT_NETWORK: Rules = [
    (r"cls_token", "class_token.token"),
    (r"((norm|head)\..+)", r"\1"),
    (r"pos_embed1", "stages.0.position"),
    (r"pos_embed2", "stages.1.position"),
    (r"pos_embed3", "stages.2.position"),
    (r"pos_embed4", "stages.3.position"),
    *(
        rule
        for i in range(4)
        for part, rules in (("", _EMBEDDING), (".spm", STEPWISE_PATCH_MERGING))
        for rule in within(f"patch_embed{i + 1}{part}", f"embed.{i}", rules)
    ),
    *(
        (rf"block{i + 1}\.(\d+)\.{theirs}", rf"stages.{i}.blocks.\1.{ours}")
        for i in range(4)
        for theirs, ours in ((r"(norm[12]\..+|mlp\.fc[12]\..+)", r"\2"), (r"attn\.(.+)", r"attention.\2"))
    ),
]
"""Of a PVT with either merging, whether a classifier or a dense backbone."""

_DEPTHS = {
    (2, 2, 2, 2): "tiny",
    (3, 4, 6, 3): "small",
    (3, 4, 18, 3): "medium",
    (3, 8, 27, 3): "large",
}
_VARIANTS: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {
    **{((64, 128, 320, 512), depths): name for depths, name in _DEPTHS.items()},
    ((128, 256, 512, 768), (3, 10, 60, 3)): "huge_v2",
}


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _recognises(state: Mapping[str, Tensor]) -> bool:
    part = re.compile(r"pos_embed[1-4]|patch_embed[1-4]\.spm\..+|block[1-4]\.\d+\.attn\.(kv|sr)\..+")
    return any(part.fullmatch(name) for name in state) and not any(".mlp.dwconv." in name for name in state)  # PVTv2


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names. Every option is told by what is there and its shape, but the heads."""
    spm = any(name.startswith("patch_embed2.spm.") for name in state)
    widths = [state[f"pos_embed{i}"].shape[-1] for i in (1, 2, 3, 4)]
    depths = [_depth(state, i) for i in (1, 2, 3, 4)]
    variant = _VARIANTS.get((tuple(widths), tuple(depths)))
    stem = state["patch_embed1.proj.weight"].shape
    if stem[2:] != (4, 4):
        raise ValueError(f"patch_embed1.proj.weight is {tuple(stem)}; its patches must be 4x4")
    arguments: dict[str, Any] = {
        "in_channels": stem[1],
        "merging": "spm" if spm else "patch",
        "widths": widths,
        "depths": depths,
        "num_heads": [max(1, width // 64) for width in widths],
        "mlp_ratios": [_ratio(state[f"block{i}.0.mlp.fc1.weight"].shape) for i in (1, 2, 3, 4)],
        "reductions": [_reduction(state.get(f"block{i}.0.attn.sr.weight")) for i in (1, 2, 3, 4)],
        "img_size": 4 * _side(state["pos_embed1"].shape[1]),
        "qkv_bias": "block1.0.attn.q.bias" in state,
    }
    notes = []
    if variant is None:
        notes.append("no published variant has these widths and depths; heads of 64 channels assumed (num_heads)")
    if "head.weight" in state:
        arguments["num_classes"] = state["head.weight"].shape[0]
    else:
        notes.append("a backbone for dense prediction, without class token, last norm and head")
    ours, ignored, unexpected = renamed(state, _rename(PVT_NETWORK))
    ours = {name: t.flatten(1) if name.endswith("msa.project.weight") else t for name, t in ours.items()}
    name = f"pvt_{variant or 'tiny'}" + ("_spm" if spm else "")
    return Converted("spm", name, arguments, ours, ignored, unexpected, tuple(notes))


def _depth(state: Mapping[str, Tensor], stage: int) -> int:
    blocks = {int(name.split(".")[1]) for name in state if re.match(rf"block{stage}\.\d+\.", name)}
    if not blocks:
        raise KeyError(f"block{stage}.0.norm1.weight")
    return max(blocks) + 1


def _ratio(shape: Sequence[int]) -> float:
    ratio = shape[0] / shape[1]
    return int(ratio) if ratio == int(ratio) else ratio


def _reduction(weight: Tensor | None) -> int:
    return 1 if weight is None else weight.shape[3]


def _side(positions: int) -> int:
    side = math.isqrt(positions)
    if side * side != positions:
        raise ValueError(f"pos_embed1 has {positions} positions, not a square")
    return side


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


def _msa(record: Record) -> Component:
    def make(in_dim: int, out_dim: int, expand_ratio: int = 2) -> nn.Module:
        if expand_ratio != 2:
            raise TypeError(f"expand_ratio={expand_ratio} is not built here, only 2")
        return MultiScaleAggregation(in_dim, out_dim)

    return Component(make(**record["arguments"]), _rename(_MSA))


class _ChannelsLastOut(GuidedLocalEnhancement):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 2, 3, 1)


def _gle(record: Record) -> Component:
    def make(dim: int) -> nn.Module:
        return _ChannelsLastOut(dim)

    return Component(make(**record["arguments"]), _rename(_GLE))


class _EveryToken(nn.Module):
    """The attention inside GLE, with each of the tokens as the guide."""

    def __init__(self, dim: int, num_heads: int = 8) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([guided_attention(guide, x, self.qkv, self.num_heads) for guide in x.unbind(1)], 1)


def _gle_attention(record: Record) -> Component:
    return Component(_EveryToken(**record["arguments"]), _rename(_SAME))


class _ChannelsLast(StepwisePatchMerging):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _spm(record: Record) -> Component:
    def make(in_dim: int, out_dim: int) -> nn.Module:
        return _ChannelsLast(in_dim, out_dim)

    return Component(make(**record["arguments"]), _rename(STEPWISE_PATCH_MERGING))


class _OnTokens(nn.Module):
    """A module of maps ``(N, H, W, C)`` on tokens ``(N, tokens, C)``, with or without a class token."""

    def __init__(self, module: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.module = module
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        grid = (*self.size, x.shape[2]) if x.shape[1] == self.size[0] * self.size[1] else x.shape[1:]
        out: Tensor = self.module(x.reshape(len(x), *grid))
        return out.reshape(x.shape)


def _on_tokens(module: nn.Module, record: Record, rules: Rules) -> Component:
    inside = [(theirs, f"module.{ours}") for theirs, ours in rules]
    return Component(_OnTokens(module, (record["H"], record["W"])), _rename(inside))


def _attention(record: Record) -> Component:
    def make(dim: int, num_heads: int = 8, qkv_bias: bool = False, sr_ratio: int = 1) -> nn.Module:
        return SpatialReductionAttention(dim, num_heads, sr_ratio, qkv_bias=qkv_bias)

    return _on_tokens(make(**record["arguments"]), record, _SAME)


def _block(record: Record) -> Component:
    def make(
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4,
        qkv_bias: bool = False,
        norm_eps: float = 1e-5,
        sr_ratio: int = 1,
    ) -> nn.Module:
        attention = SpatialReductionAttention(dim, num_heads, sr_ratio, qkv_bias=qkv_bias)
        return TransformerBlock(dim, attention, mlp_ratio, dropout=0.0, eps=norm_eps)

    return _on_tokens(make(**record["arguments"]), record, _BLOCK)


def _network(record: Record) -> Component:
    def make(
        spm: bool,
        form: str,
        variant: str | None = None,
        in_chans: int = 3,
        num_classes: int = 1000,
        patch_size: int = 4,
        embed_dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        norm_layer: str = "",
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        **same: Any,
    ) -> nn.Module:
        if patch_size != 4:
            raise TypeError(f"patch_size={patch_size} is not built here, only 4")
        named = {name: depths for depths, name in _DEPTHS.items()}
        network = PVT(
            in_chans,
            num_classes,
            merging="spm" if spm else "patch",
            widths=embed_dims,
            depths=depths if variant is None else named[variant],
            reductions=sr_ratios,
            eps=1e-5 if "1e-5" in norm_layer else 1e-6,
            **same,
        )
        return Features(network) if form == "features" else network

    module = make(**record["arguments"])
    if not isinstance(module, Features):
        return Component(module, _rename(PVT_NETWORK))
    inside = [(theirs, f"network.{ours}") for theirs, ours in PVT_NETWORK]
    return Component(module, _rename(inside))


SYSTEM = System(
    family="spm",
    recognises=_recognises,
    convert=_convert,
    components={
        "MultiScaleAggregation": _msa,
        "GuidedLocalEnhancement": _gle,
        "GLE attention": _gle_attention,
        "StepwisePatchMerging": _spm,
        "PVT attention": _attention,
        "PVT block": _block,
        "PVT": _network,
        **dense_heads.COMPONENTS,
    },
)
