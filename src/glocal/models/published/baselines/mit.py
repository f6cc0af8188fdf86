"""Mix Transformer and PVTv2, and the networks on them: SSFormer, ESFPNet, FCBFormer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from glocal.models.esfpnet import ESFPNet
from glocal.models.fcbformer import FCBFormer
from glocal.models.published.baselines.names import conv_norm
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within
from glocal.models.registry import list_models, model_info
from glocal.models.ssformer import SSFormer

__all__ = ["SYSTEMS"]

_SAME: Rules = [(r"(.+)", r"\1")]
_BLOCKS: Rules = [
    (r"(\d+)\.(norm[12]\..+|mlp\.fc[12]\..+)", r"\1.\2"),
    (r"(\d+)\.attn\.(.+)", r"\1.attention.\2"),
    (r"(\d+)\.mlp\.dwconv\.(?:dwconv\.)?(.+)", r"\1.mlp.depthwise.\2"),
]


def _stage(i: int, embed: str, blocks: str, norm: str) -> Rules:
    """The rules of stage ``i``, whose three parts are published under these names."""
    return [
        *within(embed, f"embed.{i}", _SAME),
        *within(blocks, f"stages.{i}", _BLOCKS),
        *within(norm, f"norms.{i}", _SAME),
    ]


_OFFICIAL: Rules = [
    rule for i in range(4) for rule in _stage(i, f"patch_embed{i + 1}", f"block{i + 1}", f"norm{i + 1}")
]
"""SegFormer's Mix Transformer, official PVTv2, and what copies their names."""
_TIMM: Rules = [
    rule
    for i in range(4)
    for rule in _stage(i, f"stages.{i}.downsample" if i else "patch_embed", f"stages.{i}.blocks", f"stages.{i}.norm")
]
_LISTED: Rules = [rule for i in range(4) for rule in _stage(i, f"{3 * i}", f"{3 * i + 1}", f"{3 * i + 2}")]
"""FCBFormer's PVTv2, a list of the parts in turn."""
_CLASSIFIER: Rules = [
    *((theirs, f"encoder.{ours}") for theirs, ours in (*_OFFICIAL, *_TIMM)),
    (r"head\.(.+)", r"head.\1"),
]
_IN_NETWORK = "backbone.network.encoder"

_SSFORMER: Rules = [
    *within("backbone", _IN_NETWORK, _OFFICIAL),
    *((rf"decode_head\.linear_c{i + 1}\.proj\.(.+)", rf"emphasis.{i}.\1") for i in range(4)),
    *(
        rule
        for i, levels in enumerate(("34", "2", "1"))
        for rule in conv_norm(
            f"decode_head.linear_fuse{levels}.conv", f"decode_head.linear_fuse{levels}.bn", f"fusions.{i}"
        )
    ),
    (r"decode_head\.linear_fuse\..+", None),
    (r"decode_head\.linear_pred\.(.+)", r"head.\1"),
]
_ESFPNET: Rules = [
    *within("backbone", _IN_NETWORK, _OFFICIAL),
    *((rf"LP_{i + 1}\.proj\.(.+)", rf"mix.{i}.\1") for i in range(4)),
    *(
        rule
        for i in range(3)
        for rule in (
            *conv_norm(f"linear_fuse{i + 1}{i + 2}.conv", f"linear_fuse{i + 1}{i + 2}.bn", f"fusions.{i}"),
            (rf"LP_{i + 1}{i + 2}\.proj\.(.+)", rf"remix.{i}.\1"),
        )
    ),
    (r"linear_pred\.(.+)", r"head.conv.\1"),
]
_RESIDUAL: Rules = [
    (r"in_layers\.0\.(.+)", r"norm1.\1"),
    (r"in_layers\.2\.(.+)", r"conv1.\1"),
    (r"out_layers\.0\.(.+)", r"norm2.\1"),
    (r"out_layers\.2\.(.+)", r"conv2.\1"),
    (r"skip\.(.+)", r"shortcut.\1"),
]
_STRIDED = (3, 6, 9, 12, 15)
_FCBFORMER: Rules = [
    *within("TB.backbone", _IN_NETWORK, _LISTED),
    *(r for i in range(4) for k in range(2) for r in within(f"TB.LE.{i}.{k}", f"emphasis.{i}.{k}", _RESIDUAL)),
    *(r for i in range(3) for k in range(2) for r in within(f"TB.SFA.{i}.{k}", f"aggregation.{i}.{k}", _RESIDUAL)),
    (r"FCB\.enc_blocks\.0\.(.+)", r"convolutional.encoder.0.\1"),
    *(
        rule
        for i in range(1, 18)
        for rule in within(f"FCB.enc_blocks.{i}.0", f"convolutional.encoder.{i}", _SAME if i in _STRIDED else _RESIDUAL)
    ),
    *(r for k in range(2) for r in within(f"FCB.middle_block.{k}", f"convolutional.middle.{k}", _RESIDUAL)),
    *(r for i in range(18) for r in within(f"FCB.dec_blocks.{i}.0", f"convolutional.decoder.{i}", _RESIDUAL)),
    *(
        rule
        for i in range(5)
        for rule in within(f"FCB.dec_blocks.{3 * i + 2}.1.1", f"convolutional.up.{i}.layer.conv", _SAME)
    ),
    *(r for k in range(2) for r in within(f"PH.{k}", f"fuse.{k}", _RESIDUAL)),
    (r"PH\.2\.(.+)", r"head.\1"),
]


def _encoder(ours: Mapping[str, Tensor], place: str) -> str:
    """The registered network whose encoder the tensors are; the first perceptrons of PVTv2 are twice as wide."""
    widths = tuple(ours[f"{place}.embed.{i}.proj.weight"].shape[0] for i in range(4))
    blocks = [{m[1] for key in ours if (m := re.match(rf"{place}\.stages\.{i}\.(\d+)\.", key))} for i in range(4)]
    depths = tuple(len(numbers) for numbers in blocks)
    middle, width = ours[f"{place}.stages.0.0.mlp.fc1.weight"].shape
    for name in list_models(family="pvt_v2" if middle == 8 * width else "mit"):
        arguments = model_info(name).arguments
        if (arguments["widths"], arguments["depths"]) == (widths, depths):
            return name
    raise ValueError(f"no Mix Transformer or PVTv2 has stages of {depths} blocks and {widths} channels")


def _system(
    name: str,
    mark: str,
    rules: Rules,
    tell: Callable[[Mapping[str, Tensor]], tuple[str, dict[str, Any]]],
    components: Mapping[str, Callable[[Record], Component]],
    notes: tuple[str, ...] = (),
) -> System:
    """A system whose network and arguments, beside the channels of the image, ``tell`` reads from tensors of ours."""

    def convert(state: Mapping[str, Tensor]) -> Converted:
        ours, ignored, unexpected = renamed(state, partial(apply_rules, rules=rules))
        ours = {key: _shaped(key, tensor) for key, tensor in ours.items()}
        variant, told = tell(ours)
        stem = next(tensor for key, tensor in ours.items() if key.endswith("encoder.embed.0.proj.weight"))
        told["in_channels"] = stem.shape[1]
        return Converted(name, variant, told, ours, ignored, unexpected, notes)

    return System(name, lambda state: any(re.match(mark, key) for key in state), convert, components)


def _shaped(name: str, tensor: Tensor) -> Tensor:
    """ESFPNet's linear layers are 1×1 convolutions here."""
    return tensor[..., None, None] if re.fullmatch(r"(re)?mix\.\d\.weight", name) and tensor.ndim == 2 else tensor


def _tell_classifier(ours: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    head = ours.get("head.weight")
    return _encoder(ours, "encoder"), {} if head is None else {"num_classes": head.shape[0]}


def _teller(variants: Mapping[str, str], head: str) -> Callable[[Mapping[str, Tensor]], tuple[str, dict[str, Any]]]:
    """``variants``: backbone -> registered network on it; on others it is the first, with that backbone."""

    def tell(ours: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
        backbone = _encoder(ours, _IN_NETWORK)
        told: dict[str, Any] = {"num_classes": ours[head].shape[0]}
        if backbone not in variants:
            told["backbone"] = backbone
        return variants.get(backbone, next(iter(variants.values()))), told

    return tell


def _ssformer(record: Record) -> Component:
    given = record["arguments"]
    network = SSFormer(3, given["class_num"], backbone=given["model_name"].replace("_PLD", ""))
    return Component(network, partial(apply_rules, rules=_SSFORMER))


class _AtAQuarter(ESFPNet):
    """ESFPNet as published, which leaves the enlarging to others."""

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.classify(features)


def _esfpnet(record: Record) -> Component:
    network = _AtAQuarter(3, 1, backbone=f"mit_{record['arguments']['model_type'].lower()}")
    return Component(network, partial(apply_rules, rules=_ESFPNET))


def _fcbformer(record: Record) -> Component:
    assert record["arguments"]["size"] % 32 == 0
    return Component(FCBFormer(3, 1, emphasis_size=88), partial(apply_rules, rules=_FCBFORMER))


SYSTEMS: tuple[System, ...] = (
    _system(
        "mit",
        r"(block[1-4]\.\d+|stages\.\d\.blocks\.\d+)\.mlp\.dwconv\.",
        _CLASSIFIER,
        _tell_classifier,
        {},
    ),
    _system(
        "ssformer",
        r"decode_head\.linear_fuse34\.",
        _SSFORMER,
        _teller({"mit_b4": "ssformer_l", "mit_b2": "ssformer_s"}, "head.weight"),
        {"SSFormer": _ssformer},
    ),
    _system(
        "esfpnet",
        r"LP_\d+\.proj\.",
        _ESFPNET,
        _teller({"mit_b4": "esfpnet_l", "mit_b2": "esfpnet_s", "mit_b0": "esfpnet_t"}, "head.conv.weight"),
        {"ESFPNet": _esfpnet},
    ),
    _system(
        "fcbformer",
        r"TB\.backbone\.",
        _FCBFORMER,
        _teller({"pvt_v2_b3": "fcbformer"}, "head.weight"),
        {"FCBFormer": _fcbformer},
        ("if it was trained on images that are not of 352 by 352, give the option emphasis_size=88: no tensor tells",),
    ),
)
