"""LM-Net's published code: its tensor names, and its modules as golden cases name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glocal.models.lmnet import LMNet
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within
from glocal.nn import (
    ASPP,
    BRANCHES,
    GlobalAttention,
    GlobalFeatureTransformer,
    LocalFeatureTransformer,
    Mlp,
    MultiBranchBlock,
    MultiSkip,
    NeighborhoodAttention2d,
    ReparamConv2d,
    SqueezeExcitation,
    pyramid_pool,
)

__all__ = ["SYSTEM"]

_HEADS = 12
"""Of the published network, everywhere; no tensor but the optional ``rpb`` tells."""

# Published name -> ours, one table a module. ``(.+)`` is weight, bias or a buffer.
_SAME: Rules = [(r"(.+)", r"\1")]
_BLOCK: Rules = [
    (r"(se\.fc[12]\..+)", r"\1"),
    (r"expand_conv\.0\.(.+)", r"expand.conv.\1"),
    (r"expand_conv\.1\.(.+)", r"expand.norm.\1"),
    (r"fuse_conv\.(.+)", r"depthwise.fused.\1"),
    (r"(\w+)_conv\.conv\.(.+)", r"depthwise.branches.\1.conv.\2"),
    (r"(\w+)_conv\.bn\.(.+)", r"depthwise.branches.\1.norm.\2"),
    (r"pointwise_conv\.0\.(.+)", r"pointwise.\1"),
    (r"shortcut\.0\.(.+)", r"shortcut.\1"),
]
_LEFTOVER: Rules = [(r"(\w+)_conv\.(conv|bn)\.(.+)", None)]
"""In a merged block: merging leaves ``large_conv`` behind, unused."""
_GFT: Rules = [
    (r"patchembedding\.patch_embeddings\.(.+)", r"embed.\1"),
    (r"((norm[12]|attention|mlp)\..+)", r"block.\1"),
    (r"conv\.0\.(.+)", r"out.\1"),
]
_LFT: Rules = [
    (r"patchembedding\.patch_embeddings\.(.+)", r"embed.\1"),
    (r"((norm[12]|mlp)\..+)", r"block.\1"),
    (r"att1\.(.+)", r"block.attention.\1"),
]
_FUSE: Rules = [(r"fuse_conv\.0\.(.+)", r"fuse.conv.\1"), (r"fuse_conv\.1\.(.+)", r"fuse.norm.\1")]
_SKIP_BOTTOM: Rules = [(r"convl\.0\.(.+)", r"finer.1.\1"), (r"convs\.0\.(.+)", r"same.\1"), *_FUSE]
_SKIP_TOP: Rules = [(r"convl\.0\.(.+)", r"same.\1"), (r"convs\.1\.(.+)", r"coarser.conv.\1"), *_FUSE]
_SKIP_MIDDLE: Rules = [
    (r"convl\.0\.(.+)", r"finer.1.\1"),
    (r"convm\.0\.(.+)", r"same.\1"),
    (r"convs\.1\.(.+)", r"coarser.conv.\1"),
    *_FUSE,
]
_ASPP: Rules = [
    *((rf"aspp_block{i + 1}\.([02]\..+)", rf"branches.{i}.\1") for i in range(9)),
    (r"global_avg_pool\.1\.(.+)", r"pooled.conv.\1"),
    (r"global_avg_pool\.2\.(.+)", r"pooled.norm.\1"),
    (r"output\.0\.(.+)", r"fuse.conv.\1"),
    (r"output\.1\.(.+)", r"fuse.norm.\1"),
]


def _network_rules(merged: bool) -> Rules:
    block = [*_LEFTOVER, *_BLOCK] if merged else _BLOCK
    rules: list[tuple[str, str | None]] = [(r"output_layer\.(.+)", r"head.\1"), (r"proj\.(.+)", r"project.\1")]
    for i in range(4):  # our levels count from the finest; the published skips and decoder from the coarsest
        for k in range(2):
            rules += within(f"conv{i + 1}.{k}", f"encoder.{i}.{k}", block)
            rules += within(f"dconv{4 - i}.{k}", f"decoder.{i}.{k}", block)
        rules += within(f"down{i + 1}.0", f"down.{i}.1", _SAME)
        rules += within(f"up{4 - i}.1", f"up.{i}.conv", _SAME)
        rules += within(f"natt{4 - i}", f"local.{i}", _LFT)
        rules += within(f"skip{4 - i}", f"skips.{i}", (_SKIP_TOP, _SKIP_MIDDLE, _SKIP_MIDDLE, _SKIP_BOTTOM)[i])
    return [*rules, *within("gft", "context", _GFT), *within("aspp", "context", _ASPP)]


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _recognises(state: Mapping[str, Tensor]) -> bool:
    part = re.compile(r"d?conv[1-4]\.[01]\.(expand_conv|pointwise_conv|shortcut|se\.fc[12])\.")
    return any(part.match(name) for name in state)


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names; every switch of the network is told by what is there and its shape."""
    first, kernel = "conv1.0.", "_conv.conv.weight"
    merged = f"{first}fuse_conv.weight" in state
    branches: Mapping[str, str]
    if merged:
        branches = {"fuse": _kernel("fuse", state[f"{first}fuse_conv.weight"].shape)}
    else:
        found = {
            n[len(first) : -len(kernel)]: t for n, t in state.items() if n.startswith(first) and n.endswith(kernel)
        }
        branches = {branch: _kernel(branch, tensor.shape) for branch, tensor in found.items()}
        if not branches:
            raise KeyError(f"{first}large{kernel}")
    rpb = state.get("natt1.att1.rpb")
    has = {part: any(n.startswith(part) for n in state) for part in ("skip", "natt", "gft.", "aspp.", "proj.")}
    widths = (*(f"conv{i}.0.pointwise_conv.0" for i in (1, 2, 3, 4)), "down4.0")
    arguments: dict[str, Any] = {
        "in_channels": state[f"{first}expand_conv.0.weight"].shape[1],
        "num_classes": state["output_layer.weight"].shape[0],
        "preset": "published",
        "filters": [state[f"{part}.weight"].shape[0] for part in widths],
        "skip": "multi" if has["skip"] else "single",
        "lft": has["natt"],
        "gft": "aspp" if has["aspp."] else "none" if not has["gft."] else "single" if has["proj."] else "multi",
        "branches": list(branches) if all(BRANCHES.get(b) == k for b, k in branches.items()) else dict(branches),
        "num_heads": _HEADS if rpb is None else rpb.shape[0],
        "window_size": 3 if rpb is None else (rpb.shape[-1] + 1) // 2,
        "rel_pos_bias": rpb is not None,
        "merged": merged,
    }
    ours, ignored, unexpected = renamed(state, _rename(_network_rules(merged)))
    return Converted("lmnet", "lmnet", arguments, ours, ignored, unexpected)


def _kernel(branch: str, shape: Sequence[int]) -> str:
    """The kernel of a branch, from its weight's shape; of the dilation only the name tells."""
    named = BRANCHES.get(branch, "")
    kernel = f"{shape[-2]}x{shape[-1]}"
    return named if named.partition("d")[0] == kernel else kernel


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


def _shapes(record: Record) -> dict[str, Sequence[int]]:
    return {name: shape for name, shape, *_ in record["state"]}


def _merges(record: Record) -> dict[str, Any]:
    """Merge after loading, where the parameters are those of the merged form and the tensors of the other."""
    merged = [p for p in record["parameters"] if re.search(r"(^|\.)fuse_conv\.weight$", p)]
    return {"finish": _merge_branches} if any(p not in _shapes(record) for p in merged) else {}


def _merge_branches(module: nn.Module) -> None:
    for part in list(module.modules()):
        if isinstance(part, ReparamConv2d):
            part.merge()


def _levels(record: Record, *order: int | None) -> Callable[[Tensor], tuple[Any, ...]]:
    """Cut the maps of an encoder out of one array, as the record's ``input_rule`` says, in the order of ours."""
    channels = record["channels"]

    def cut(x: Tensor) -> tuple[Any, ...]:
        height, width = x.shape[-2:]
        maps = [t[..., : height >> i, : width >> i] for i, t in enumerate(torch.split(x, channels, 1))]
        return tuple(None if i is None else maps[i] for i in (order or range(len(maps))))

    return cut


def _bias(record: Record) -> dict[str, bool]:
    """``rel_pos_bias`` as the record says or, where it does not, as the tensors tell."""
    told = any(name.rpartition(".")[2] == "rpb" for name in _shapes(record))
    return {"rel_pos_bias": record.get("rel_pos_bias", told)}


def _network(record: Record) -> Component:
    def make(
        channel: int,
        n_classes: int = 2,
        filters: Sequence[int] = (12, 24, 48, 96, 192),
        deep_supervision: bool = False,
        rel_pos_bias: bool = False,
        deploy: bool = False,  # the tensors tell
        **switches: Any,
    ) -> nn.Module:
        return LMNet(channel, n_classes, filters=filters, rel_pos_bias=rel_pos_bias, **switches)

    kernel = _shapes(record).get("conv1.0.fuse_conv.weight")
    form = {} if kernel is None else {"merged": True, "branches": [_kernel("fuse", kernel)]}
    module = make(**{**_bias(record), **record["arguments"], **form})
    return Component(module, _rename(_network_rules(kernel is not None)), **_merges(record))


def _block(record: Record) -> Component:
    def make(
        in_channels: int,
        expand_channels: int,
        out_channels: int,
        large_kernel_size: int = 5,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        deploy: bool = False,
        branches: Sequence[str] = ("large", "square", "ver", "hor"),
    ) -> nn.Module:
        large, small = large_kernel_size, kernel_size
        sizes = {
            **BRANCHES,
            "large": f"{large}x{large}",
            "square": f"{small}x{small}",
            "ver": f"{small}x1",
            "hor": f"1x{small}",
        }
        kernels = {branch: sizes[branch] for branch in branches}
        shape = _shapes(record).get("fuse_conv.weight")
        if shape is not None:
            kernels = {"fuse": _kernel("fuse", shape)}
        return MultiBranchBlock(in_channels, expand_channels, out_channels, kernels, merged=shape is not None)

    leftover = _LEFTOVER if "fuse_conv.weight" in _shapes(record) else []
    return Component(make(**record["arguments"]), _rename([*leftover, *_BLOCK]), **_merges(record))


def _squeeze_excitation(record: Record) -> Component:
    def make(input_channels: int, reduction: int = 4) -> nn.Module:
        return SqueezeExcitation(input_channels, reduction)

    return Component(make(**record["arguments"]), _rename(_SAME))


def _mlp(record: Record) -> Component:
    def make(in_channel: int, mlp_channel: int, out_channel: int | None = None) -> nn.Module:
        return Mlp(in_channel, mlp_channel, out_channel)

    return Component(make(**record["arguments"]), _rename(_SAME))


def _global_attention(record: Record) -> Component:
    def make(dim: int, num_heads: int = _HEADS) -> nn.Module:
        return GlobalAttention(dim, num_heads)

    return Component(make(**record["arguments"]), _rename(_SAME))


class _PooledGFT(GlobalFeatureTransformer):
    def forward(self, *maps: Tensor) -> Tensor:
        return super().forward(pyramid_pool(maps))


def _gft(record: Record, pooled: bool = False) -> Component:
    def make(
        in_channels: int,
        out_channel: int,
        patchsize: int = 3,
        img_size: int | None = None,  # ignored by the published module, as is the stride, which must be 1
        expand_ratios: float = 2,
        stride: int = 1,
        num_heads: int = _HEADS,
    ) -> nn.Module:
        kind = _PooledGFT if pooled else GlobalFeatureTransformer
        return kind(in_channels, out_channel, num_heads, patch_size=patchsize, mlp_ratio=expand_ratios)

    module = make(**record["arguments"])
    return Component(module, _rename(_GFT), _levels(record)) if pooled else Component(module, _rename(_GFT))


def _lft(record: Record) -> Component:
    def make(
        in_channels: int,
        out_channel: int,
        rel_pos_bias: bool,
        patchsize: int = 3,
        img_size: int | None = None,
        stride: int = 1,
        kernel_size: Sequence[int] = (),  # ignored by the published module, as is the size: the window is 3
        num_heads: int = _HEADS,
    ) -> nn.Module:
        return LocalFeatureTransformer(
            in_channels, num_heads, out_channel, patch_size=patchsize, stride=stride, rel_pos_bias=rel_pos_bias
        )

    return Component(make(**{**_bias(record), **record["arguments"]}), _rename(_LFT))


def _neighborhood_attention(record: Record) -> Component:
    def make(dim: int, rel_pos_bias: bool, num_heads: int = _HEADS, kernel_size: int = 3) -> nn.Module:
        return NeighborhoodAttention2d(dim, num_heads, kernel_size, rel_pos_bias=rel_pos_bias)

    return Component(make(**{**_bias(record), **record["arguments"]}), _rename(_SAME))


def _skip_of_two(record: Record) -> Component:
    def make(in_channels: Sequence[int], model_type: str = "top") -> Component:
        fine, coarse = in_channels
        if model_type == "bottom":
            return Component(MultiSkip(coarse, finer=fine), _rename(_SKIP_BOTTOM), _levels(record, 1, 0))
        return Component(MultiSkip(fine, coarser=coarse), _rename(_SKIP_TOP), _levels(record, 0, None, 1))

    return make(**record["arguments"])


def _skip_of_three(record: Record) -> Component:
    def make(in_channels: Sequence[int]) -> nn.Module:
        fine, same, coarse = in_channels
        return MultiSkip(same, finer=fine, coarser=coarse)

    return Component(make(**record["arguments"]), _rename(_SKIP_MIDDLE), _levels(record, 1, 0, 2))


def _aspp(record: Record) -> Component:
    def make(in_dims: int, out_dims: int, rate: Sequence[int] = (1, 6, 12, 18)) -> nn.Module:
        return ASPP(in_dims, out_dims, rate)

    return Component(make(**record["arguments"]), _rename(_ASPP))


SYSTEM = System(
    family="lmnet",
    recognises=_recognises,
    convert=_convert,
    components={
        "LM_Net": _network,
        "ReparamConv": _block,
        "SE": _squeeze_excitation,
        "Mlp": _mlp,
        "GlobalAttention": _global_attention,
        "GFT": _gft,
        "PyramidPool then GFT": partial(_gft, pooled=True),
        "NeighborhoodTransformer": _lft,
        "NeighborhoodAttention2D": _neighborhood_attention,
        "M2Skip": _skip_of_two,
        "M3Skip": _skip_of_three,
        "My_ASPP": _aspp,
    },
)
