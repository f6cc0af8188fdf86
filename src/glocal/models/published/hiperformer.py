"""HiPerformer's published code: its tensor names, and its modules as golden cases name them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glocal.models.hiperformer import HiPerformer, LocalBranch
from glocal.models.published.swin_names import SWIN_ENCODER
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within
from glocal.nn import (
    ChannelAffinity,
    ConvNorm,
    GatedPyramidSkip,
    GroupedAttentionGate,
    InvertedResidualMlp,
    LayerNorm2d,
    LevelFusion,
    MultiplicativePyramid,
    PatchMerging,
    PyramidSqueezeAttention,
    SpatialBottleneckGate,
    SwinEncoder,
    TwoPathBlock,
    swin_stage,
)

__all__ = ["SYSTEM"]

# Published name -> ours, one table a module. ``(.+)`` is weight, bias or a buffer; None: built, but never used.
_CONV: Rules = [(r"conv\.(.+)", r"conv.\1"), (r"bn\.(.+)", r"norm.\1")]
_PATH: Rules = [
    (r"conv([12])\.(.+)", r"conv\1.conv.\2"),
    (r"bn([12])\.(.+)", r"conv\1.norm.\2"),
    (r"shortcut\.0\.(.+)", r"shortcut.conv.\1"),
    (r"shortcut\.1\.(.+)", r"shortcut.norm.\1"),
]
_TWO_PATH: Rules = [
    *within("resblock", "plain", _PATH),
    *within("dilated_resblock", "dilated", _PATH),
    *within("fusionblock", "fuse", _CONV),
]
_LOCAL: Rules = [
    (r"conv1\.(.+)", r"stem.conv.\1"),
    (r"bn1\.(.+)", r"stem.norm.\1"),
    *(rule for i in range(4) for rule in within(f"layers.{2 * i + 1}", f"stages.{i}", _TWO_PATH)),
]
_SPE: Rules = [
    (r"conv1\.(.+)", r"reduce.conv.\1"),
    (r"bn\.(.+)", r"reduce.norm.\1"),
    (r"conv2\.(.+)", r"expand.conv.\1"),
    (r"bn1\.(.+)", r"expand.norm.\1"),
]
_ACI: Rules = [(r"gamma", r"gamma")]
_IRMLP: Rules = [
    (r"conv1\.conv\.(.+)", r"conv.\1"),
    (r"bn1\.(.+)", r"norm.\1"),
    (r"conv2\.conv\.(.+)", r"expand.\1"),
    *within("conv3", "project", _CONV),
]
_LGFF: Rules = [
    *within("W_l", "local_conv", _CONV),
    *within("W_g", "global_conv", _CONV),
    *within("CAM", "global_attention", _ACI),
    *within("SAM", "local_attention", _SPE),
    (r"norm3\.(.+)", r"transform.0.\1"),
    *within("residual", "transform.1", _IRMLP),
    (r"spatial\..+", None),
]
_LGFF_FIRST: Rules = [
    (r"norm2\.(.+)", r"mixer.0.\1"),
    *within("W", "mixer.1", _CONV),
    (r"(Updim|norm1|W3)\..+", None),
    *_LGFF,
]
_LGFF_NEXT: Rules = [
    *within("Updim", "previous_conv", _CONV),
    (r"norm1\.(.+)", r"mixer.0.\1"),
    *within("W3", "mixer.1", _CONV),
    (r"(norm2|W)\..+", None),
    *_LGFF,
]
_PMI: Rules = [
    (rf"conv{level}_{kind}\.{theirs}\.(.+)", rf"{ours}.{place}.\1")
    for level, kind, branch in (
        *((i + 1, 1, f"own.{i}") for i in range(3)),
        *((i + 2, 2, f"up.{i}") for i in range(3)),
    )
    for theirs, ours, place in (
        (0, f"{branch}.0", "conv"),
        (1, f"{branch}.0", "norm"),
        (3, f"{branch}.2", "conv"),
        (4, f"{branch}.2", "norm"),
    )
]
_PSA: Rules = [
    *((rf"conv_{i + 1}\.(.+)", rf"convs.{i}.\1") for i in range(4)),
    (r"se\.fc1\.(.+)", r"squeeze.\1"),
    (r"se\.fc2\.(.+)", r"excite.\1"),
]
_EAG: Rules = [
    (rf"{theirs}\.{number}\.(.+)", rf"{ours}.{place}.\1")
    for theirs, ours in (("grouped_conv_g", "decoder"), ("grouped_conv_x", "skip"), ("psi", "gate"))
    for number, place in ((0, "conv"), (1, "norm"))
]
_PGA: Rules = [*within("EAG", "gate", _EAG), *within("PSA", "attention", _PSA), (r"PSA2\..+", None)]
_PGA_BOTTOM: Rules = [*within("PSA2", "", _PSA), (r"PSA\..+", None)]

_NETWORK: Rules = [
    *within("backbone", "global_branch", SWIN_ENCODER),
    *within("DRCNN", "local_branch", _LOCAL),
    *within("fu1", "fusion.0", _LGFF_FIRST),
    *(rule for i in (1, 2, 3) for rule in within(f"fu{i + 1}", f"fusion.{i}", _LGFF_NEXT)),
    *within("PMI", "pyramid", _PMI),
    *within("PMF", "pyramid", _PMI),  # its name in the first upload
    *(rule for i in range(3) for rule in within(f"PGA{i + 1}", f"skips.{i}", _PGA)),
    *within("PGA4", "bottom", _PGA_BOTTOM),
    *(rule for i in range(3) for rule in within(f"decoder{i + 1}", f"decoder.{i}.0", _CONV)),
    *((rf"outimage{i + 1}\.(.+)", rf"heads.{i}.\1") for i in range(4)),
]
_PREFIX = "performerV2."


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _rename_whole(name: str) -> str | None:
    return apply_rules(name.removeprefix(_PREFIX), _NETWORK)


def _recognises(state: Mapping[str, Tensor]) -> bool:
    part = re.compile(rf"({re.escape(_PREFIX)})?(fu[1-4]\.(SAM|CAM)|PM[IF]\.conv|PGA[1-4]\.(PSA2?|EAG)|DRCNN)\.?")
    return any(part.match(name) for name in state)


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names; widths, depths, heads and window are told by the shapes of the Swin branch."""
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    embed = bare["backbone.patch_embed.proj.weight"]
    tables = [bare[f"backbone.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in range(4)]
    first, scale = bare["fu1.residual.conv1.conv.weight"], bare["PGA4.PSA2.se.fc1.weight"]
    arguments: dict[str, Any] = {
        "in_channels": embed.shape[1],
        "num_classes": bare["outimage1.weight"].shape[0],
        "embed_dim": embed.shape[0],
        "depths": [_blocks(bare, i) for i in range(4)],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (math.isqrt(tables[0].shape[0]) + 1) // 2,
        "irmlp": "depthwise" if first.shape[1] == 1 else "dense",
        "squeeze_reduction": scale.shape[1] // scale.shape[0],
    }
    ours, ignored, unexpected = renamed(bare, _rename(_NETWORK))
    ours = {n: t.flatten(1) if n.endswith(_LINEAR) else t for n, t in ours.items()}
    stems = ("global_branch.embed.weight", "local_branch.stem.conv.weight")
    return Converted("hiperformer", "hiperformer", arguments, ours, ignored, unexpected, repeats_grey=stems)


_LINEAR = ("squeeze.weight", "excite.weight")
"""Ours that are 1×1 convolutions in the published code."""


def _blocks(state: Mapping[str, Tensor], stage: int) -> int:
    """Blocks of a Swin stage."""
    found = {m[1] for name in state if (m := re.match(rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.", name))}
    return len(found)


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


def _pieces(record: Record) -> Callable[[Tensor], tuple[Any, ...]]:
    """Cut the flat input array into the tensors that the record lists."""
    shapes: Sequence[Sequence[int]] = record["input_pieces"]["shapes"]

    def cut(x: Tensor) -> tuple[Tensor, ...]:
        pieces = torch.split(x.flatten(), [math.prod(shape) for shape in shapes])
        return tuple(piece.reshape(tuple(shape)) for piece, shape in zip(pieces, shapes, strict=True))

    return cut


def _cam(record: Record) -> Component:
    return Component(ChannelAffinity(), _rename(_ACI))


def _bipath(record: Record) -> Component:
    given = record["arguments"]
    return Component(TwoPathBlock(given["in_channels"], given["out_channels"], given["dilation"]), _rename(_TWO_PATH))


def _basic_conv(record: Record) -> Component:
    given = record["arguments"]
    kernel, padding = given["kernel_size"], given["padding"]
    conv = nn.Conv2d(given["in_planes"], given["out_planes"], kernel, padding=padding, bias=False)
    return Component(nn.Sequential(ConvNorm(conv), nn.LeakyReLU(0.01)), lambda name: f"0.{apply_rules(name, _CONV)}")


def _drcnn(record: Record) -> Component:
    return Component(LocalBranch(3, (128, 256, 512, 1024)), _rename(_LOCAL))


def _gate(record: Record) -> Component:
    given = record["arguments"]
    return Component(
        GroupedAttentionGate(given["F_g"], given["F_int"], given["num_groups"]), _rename(_EAG), _pieces(record)
    )


def _irmlp(record: Record) -> Component:
    return Component(
        InvertedResidualMlp(record["arguments"]["inp_dim"], record["arguments"]["out_dim"]), _rename(_IRMLP)
    )


def _layer_norm(record: Record) -> Component:
    return Component(
        LayerNorm2d(record["arguments"]["normalized_shape"], record["arguments"]["eps"]), lambda name: name
    )


def _lgff(record: Record) -> Component:
    width = record["arguments"]["ch_out"]
    first = len(record["input_pieces"]["shapes"]) == 2
    attentions = SpatialBottleneckGate(width), ChannelAffinity()
    block = LevelFusion(width, *attentions, previous_channels=None if first else width // 2)
    return Component(block, _rename(_LGFF_FIRST if first else _LGFF_NEXT), _pieces(record))


def _pga(record: Record) -> Component:
    width, cut = record["arguments"]["in_dim"], _pieces(record)
    if record["arguments"]["is_bottom"]:
        return Component(PyramidSqueezeAttention(width, width), _rename(_PGA_BOTTOM), lambda x: cut(x)[:1])
    return Component(GatedPyramidSkip(width), _rename(_PGA), cut)


def _pmi(record: Record) -> Component:
    cut = _pieces(record)
    return Component(MultiplicativePyramid(record["arguments"]["in_channels"]), _rename(_PMI), lambda x: (cut(x),))


def _psa(record: Record) -> Component:
    given = record["arguments"]
    block = PyramidSqueezeAttention(given["inplans"], given["planes"], given["conv_kernels"], given["conv_groups"])
    return Component(block, _rename(_PSA))


def _spe(record: Record) -> Component:
    return Component(
        SpatialBottleneckGate(record["arguments"]["in_channel"], record["arguments"]["ratio"]), _rename(_SPE)
    )


class _SwinLayer(nn.Module):
    """A stage with the patch merging behind it, on tokens; both results are given."""

    def __init__(self, size: tuple[int, int], channels: int, depth: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.size = size
        self.stages = nn.ModuleList(
            [swin_stage(channels, num_heads, window_size, drop_path=[0.0] * depth, shift_single_window=True)]
        )
        self.merging = nn.ModuleList([PatchMerging(channels)])

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stages[0](tokens.reshape(len(tokens), *self.size, -1))
        return x.flatten(1, 2), self.merging[0](x).flatten(1, 2)


def _swin_layer(record: Record) -> Component:
    given = record["arguments"]
    layer = _SwinLayer((given["H"], given["W"]), given["dim"], given["depth"], given["num_heads"], given["window_size"])
    return Component(layer, lambda name: apply_rules(f"layers.0.{name}", SWIN_ENCODER))


def _swin(record: Record) -> Component:
    given = record["arguments"]
    encoder = SwinEncoder(
        3, given["embed_dim"], given["depths"], given["num_heads"], given["window_size"], shift_single_window=True
    )
    return Component(encoder, _rename(SWIN_ENCODER))


def _network(record: Record) -> Component:
    given = record["arguments"]
    options: dict[str, Any] = {}
    if "widths" in given:
        options = {
            "embed_dim": given["widths"][0],
            "depths": given["depths"],
            "num_heads": given["heads"],
            "window_size": given["window"],
        }
    network = HiPerformer(3, given["num_classes"], **options)
    return Component(network, _rename_whole, lambda x: (x.expand(-1, 3, -1, -1),))


SYSTEM = System(
    "hiperformer",
    _recognises,
    _convert,
    {
        "BasicConv2d": _basic_conv,
        "BasicLayer": _swin_layer,
        "BiPathResBlock": _bipath,
        "CAM": _cam,
        "DRCNN": _drcnn,
        "Efficient_Attention_Gate": _gate,
        "HiPerformer": _network,
        "IRMLP": _irmlp,
        "LGFF": _lgff,
        "LayerNorm": _layer_norm,
        "PGA": _pga,
        "PMI": _pmi,
        "PSAModule": _psa,
        "Spatial": _spe,
        "SwinTransformer": _swin,
    },
)
