"""DSSAU-Net's published code: its tensor names, and its modules as golden cases name them; STAR-DSSA's reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import UserError
from glocal.models.dssaunet import DSSADecoder, DSSAUNet
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
    DualSparseSelectionAttention,
    LayerNorm2d,
    LocallyEnhancedAttention,
    PositionedBlock,
    PyramidPooling,
    StarDSSA,
)

__all__ = ["STAR_SYSTEM", "SYSTEM"]

_TOPKS = (1, 4, 16, 16)
"""Routed regions by level, as published where a level routes; no tensor tells."""

# Published name -> ours, one table a module. ``(.+)`` is weight, bias or a buffer.
_SAME: Rules = [(r"(.+)", r"\1")]
_ATTENTION: Rules = [
    (r"(?:qkv_linear|qkv)\.(.+)", r"qkv.\1"),
    (r"(?:output_linear|proj)\.(.+)", r"proj.\1"),
    (r"lepe\.(.+)", r"lce.\1"),
]
_STAR: Rules = [*_ATTENTION, (r"(topology_weight|route_gain|(?:saliency|local_gate)\..+)", r"\1")]
_POOLING: Rules = [
    (r"psp_modules\.(\d+)\.1\.(.+)", r"branches.\1.\2"),
    *((rf"final\.{i}\.(.+)", rf"fuse.{part}.\1") for i, part in enumerate(("conv", "norm"))),
]
_CONV_NORM: Rules = [(r"0\.(.+)", r"conv.\1"), (r"1\.(.+)", r"norm.\1")]


_BLOCK: Rules = [
    (r"pos_embed\.(.+)", r"position.\1"),
    (r"(norm[12]\..+)", r"block.\1"),
    *within_pattern("attn", "block.attention", _ATTENTION),
    (r"mlp\.0\.(.+)", r"block.mlp.fc1.\1"),
    (r"mlp\.3\.(.+)", r"block.mlp.fc2.\1"),
]
_ENCODER: Rules = [
    (r"downsample_layers\.0\.0\.(.+)", r"0.down.0.conv.\1"),
    (r"downsample_layers\.0\.1\.(.+)", r"0.down.0.norm.\1"),
    (r"downsample_layers\.0\.3\.(.+)", r"0.down.2.conv.\1"),
    (r"downsample_layers\.0\.4\.(.+)", r"0.down.2.norm.\1"),
    (r"downsample_layers\.([123])\.0\.(.+)", r"\1.down.conv.\2"),
    (r"downsample_layers\.([123])\.1\.(.+)", r"\1.down.norm.\2"),
    (r"extra_norms\.(\d)\.(.+)", r"\1.norm.\2"),
    *within_pattern(r"stages\.(\d)\.(\d+)", r"\1.blocks.\2", _BLOCK),
]
_DECODER_BLOCKS: Rules = [
    (r"extra_norms\..+", None),  # built and never called
    *within_pattern(r"stages\.(\d)\.(\d+)", r"blocks.\1.\2", _BLOCK),
]
_DECODER: Rules = [
    *within_pattern("PPMHead", "pooling", _POOLING),
    *(rule for i in range(3) for rule in within_pattern(f"Conv_fuse{3 - i}", f"skips.{i}", _CONV_NORM)),
    *(rule for i in range(3) for rule in within_pattern(f"Conv_fuse{3 - i}_", f"smooth.{i}", _CONV_NORM)),
    *within_pattern("fuse_all", "fuse", _CONV_NORM),
    (r"conv_x1\.(.+)", r"project.\1"),
    *((rf"Decoder\.{p}", r) for p, r in _DECODER_BLOCKS),
]
_NETWORK: Rules = [
    *within_pattern("Encoder", "encoder", _ENCODER),
    *within_pattern("Decoder", "decoder", _DECODER_BLOCKS),
    *within_pattern("decoder", "decoder", _DECODER),
    (r"cls_seg\.0\.(.+)", r"head.\1"),
]


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


_ENCODER_ALONE: Rules = [
    (r"Encoder\.(norm|head)\..+", None),  # a classifier's; the published network drops them
    *within_pattern("Encoder", "encoder", _ENCODER),
]
"""Of the pre-trained file, once its names have ``Encoder.`` in front."""


def _recognises(state: Mapping[str, Tensor]) -> bool:
    return "downsample_layers.0.3.weight" in state or any(
        re.match(r"Encoder\.(downsample_layers\.0\.3|stages\.\d\.\d+\.(pos_embed|attn))\.", name) for name in state
    )


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names; widths, depths and kernels are told by shapes, heads and routed regions are not.

    The file of pre-trained weights holds the encoder alone, its names without the prefix.
    """
    if "downsample_layers.0.3.weight" in state:
        state = {f"Encoder.{name}": tensor for name, tensor in state.items()}
        ours, ignored, unexpected = renamed(state, _rename(_ENCODER_ALONE))
        notes = ("these are weights of the encoder alone",)
        return Converted("dssaunet", "dssaunet", _encoder_told(state), _as_linear(ours), ignored, unexpected, notes)
    state = _one_decoder(state)
    head, depths = state["cls_seg.0.weight"], _depths("Decoder", state)
    arguments = {**_encoder_told(state), "num_classes": head.shape[0], "decoder_width": head.shape[1]}
    if depths != arguments["depths"]:
        arguments["decoder_depths"] = depths
    ours, ignored, unexpected = renamed(state, _rename(_NETWORK))
    return Converted("dssaunet", "dssaunet", arguments, _as_linear(ours), ignored, unexpected)


def _encoder_told(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that the encoder's tensors tell."""
    downs = ["Encoder.downsample_layers.0.3.weight", *(f"Encoder.downsample_layers.{i}.0.weight" for i in (1, 2, 3))]
    widths = [state[name].shape[0] for name in downs]
    routed = [f"Encoder.stages.{i}.0.attn.qkv_linear.weight" in state for i in range(4)]
    return {
        "in_channels": state["Encoder.downsample_layers.0.0.weight"].shape[1],
        "widths": widths,
        "depths": _depths("Encoder", state),
        "topks": [topk if routes else None for topk, routes in zip(_TOPKS, routed, strict=True)],
        "mlp_ratio": state["Encoder.stages.0.0.mlp.0.weight"].shape[0] // widths[0],
        "side_dwconv": state["Encoder.stages.0.0.attn.lepe.weight"].shape[-1],
    }


def _one_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with the decoder's blocks once: the published network registers and saves them twice.

    Raises:
        UserError: The two copies of a tensor differ.
    """
    single = {re.sub(r"^decoder\.Decoder\.", "Decoder.", name): tensor for name, tensor in state.items()}
    for name, tensor in single.items():
        other = state.get(name, tensor)
        if other.shape != tensor.shape or not torch.equal(other, tensor):
            raise UserError(
                f"its tensors {name!r} and 'decoder.{name}' are one tensor in the published network, but differ here; "
                "was the file put together from two?"
            )
    return single


def _depths(part: str, state: Mapping[str, Tensor]) -> list[int]:
    pattern = re.compile(rf"{part}\.stages\.(\d)\.(\d+)\.")
    found = [match.groups() for match in map(pattern.match, state) if match is not None]
    return [len({j for i, j in found if i == str(level)}) for level in range(4)]


def _as_linear(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The 1×1 convolutions around the routed attention are linear layers here."""
    linear = re.compile(r"(.+\.)?attention\.(qkv|proj)\.weight")
    return {name: tensor.flatten(1) if linear.fullmatch(name) else tensor for name, tensor in state.items()}


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


def _network(record: Record) -> Component:
    def make(seg_num_classes: int = 3) -> nn.Module:
        return DSSAUNet(num_classes=seg_num_classes)

    return Component(make(**record["arguments"]), _rename(_NETWORK))


def _stages(
    depth: Sequence[int],
    embed_dim: Sequence[int],
    in_chans: int = 3,
    n_win: int = 8,
    topks: Sequence[int] = (1, 4, 16, -2),
    qk_dims: Sequence[int] | None = None,  # these count heads only, and always give the width over the head's
    head_dim: int = 32,
    mlp_ratios: Sequence[float] = (3, 3, 3, 3),
    side_dwconv: int = 5,
    **ignored: Any,
) -> DSSAUNet:
    """The network whose encoder, or whose decoder, has these arguments."""
    return DSSAUNet(
        in_channels=in_chans,
        widths=embed_dim,
        depths=depth,
        topks=[None if k == -2 else k for k in topks],
        n_win=n_win,
        head_dim=head_dim,
        mlp_ratio=mlp_ratios[0],
        side_dwconv=side_dwconv,
        decoder_width=embed_dim[0],
    )


def _encoder(record: Record) -> Component:
    return Component(_stages(**record["arguments"]).encoder, _rename(_ENCODER))


def _decoder(record: Record) -> Component:
    shapes = {name: shape for name, shape, *_ in record["state"]}
    widths = [shapes[f"Conv_fuse{n}.0.weight"][1] for n in (3, 2, 1)] + [record["arguments"]["channels"]]
    blocks = _stages(**record["arguments"]["Decoder"]).decoder.blocks

    def cut(x: Tensor) -> tuple[list[Tensor]]:
        parts = enumerate(torch.split(x, widths, 1))
        return ([part[..., :: 2**i, :: 2**i] for i, part in parts],)

    return Component(DSSADecoder(widths, record["arguments"]["out_channels"], list(blocks)), _rename(_DECODER), cut)


def _attention(
    dim: int, num_heads: int, n_win: int, topk: int, side_dwconv: int, qk_scale: float | None = None, **ignored: Any
) -> DualSparseSelectionAttention:
    return DualSparseSelectionAttention(
        dim,
        num_heads,
        topk,
        n_win=n_win,
        side_dwconv=side_dwconv,
        scale="channels" if qk_scale is None else qk_scale,
    )


class _WithScores(nn.Module):
    def __init__(self, attention: DualSparseSelectionAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.attention.with_scores(x)


def _dssa(record: Record) -> Component:
    module = _attention(**record["arguments"])
    if "output1" in record.get("output", ""):
        return Component(_WithScores(module), lambda name: f"attention.{apply_rules(name, _ATTENTION)}")
    return Component(module, _rename(_ATTENTION))


def _full_attention(record: Record) -> Component:
    def make(dim: int, num_heads: int = 8, side_dwconv: int = 5, qkv_bias: bool = False) -> nn.Module:
        return LocallyEnhancedAttention(dim, num_heads, side_dwconv)

    return Component(make(**record["arguments"]), _rename(_ATTENTION))


def _block(record: Record) -> Component:
    def make(dim: int, topk: int, mlp_ratio: float = 3, side_dwconv: int = 5, **attention: Any) -> nn.Module:
        if topk == -2:
            return PositionedBlock(dim, LocallyEnhancedAttention(dim, side_dwconv=side_dwconv), mlp_ratio)
        return PositionedBlock(dim, _attention(dim, topk=topk, side_dwconv=side_dwconv, **attention), mlp_ratio)

    return Component(make(**record["arguments"]), _rename(_BLOCK))


def _pooling(record: Record) -> Component:
    def make(in_channels: int, out_channels: int, pool_sizes: Sequence[int] = (1, 2, 3, 6)) -> nn.Module:
        return PyramidPooling(in_channels, out_channels, pool_sizes)

    return Component(make(**record["arguments"]), _rename(_POOLING))


def _layer_norm(record: Record) -> Component:
    return Component(LayerNorm2d(record["arguments"]["channels"]), _rename(_SAME))


class _ChannelsFirst(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


def _star_dssa(record: Record) -> Component:
    def make(dim: int, num_heads: int = 8, topk: int = 4, qk_scale: float | None = None, **switches: Any) -> nn.Module:
        return StarDSSA(dim, num_heads, topk, scale="channels" if qk_scale is None else qk_scale, **switches)

    module = _ChannelsFirst(make(**record["arguments"]))
    return Component(module, lambda name: f"attention.{apply_rules(name, _STAR)}")


SYSTEM = System(
    family="dssaunet",
    recognises=_recognises,
    convert=_convert,
    components={
        "DSSAU_Net": _network,
        "Encoder_mm": _encoder,
        "FPNHEAD": _decoder,
        "PPMHEAD": _pooling,
        "Block": _block,
        "nchwDSSA": _dssa,
        "AttentionLePE": _full_attention,
        "LayerNorm2d": _layer_norm,
    },
)
STAR_SYSTEM = System(
    family="star_dssa",
    recognises=lambda state: False,  # no code and no weights are published, only our reference computations are
    convert=_convert,
    components={"StarDSSA": _star_dssa},
)
