"""Networks on ImageNet backbones, and these: FCN on ResNet-50 (torchvision), DeepLabv3+ on MobileNetV2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from glocal.models.deeplab import DeepLabV3Plus
from glocal.models.fcn import FCN
from glocal.models.published.baselines.names import conv_norm, family, network
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, within

__all__ = ["SYSTEMS"]

# ResNet (torchvision)

_BOTTLENECK = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2": "conv.conv",
    "bn2": "conv.norm",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    r"downsample\.0": "shortcut.conv",
    r"downsample\.1": "shortcut.norm",
}
_RESNET_ENCODER: Rules = [
    *conv_norm("conv1", "bn1", "stem"),
    *(
        (rf"layer{i + 1}\.(\d+)\.{theirs}\.(.+)", rf"stages.{i}.\1.{ours}.\2")
        for i in range(4)
        for theirs, ours in _BOTTLENECK.items()
    ),
]
_RESNET: Rules = [
    *((theirs, f"encoder.{ours}") for theirs, ours in _RESNET_ENCODER),
    (r"fc\.(.+)", r"head.\1"),
]


def _resnet_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    stem = state["conv1.weight"]
    depths = [len({m[1] for key in state if (m := re.match(rf"layer{i}\.(\d+)\.", key))}) for i in range(1, 5)]
    told: dict[str, Any] = {"in_channels": stem.shape[1]}
    if stem.shape[0] != 64:
        told["width"] = stem.shape[0]
    if depths != [3, 4, 6, 3]:
        told["depths"] = depths
    return told


def _resnet_classifier(state: Mapping[str, Tensor]) -> dict[str, Any]:
    classes = {"num_classes": state["fc.weight"].shape[0]} if "fc.weight" in state else {}
    return {**_resnet_arguments(state), **classes}


_RESNET_SYSTEM = family("resnet", _RESNET, r"layer4\.0\.conv3\.", _resnet_classifier, {}, lambda told: "resnet50")

# FCN (torchvision)

_FCN_HEAD: Rules = [*conv_norm("0", "1", "conv"), (r"4\.(.+)", r"classifier.\1")]
_FCN: Rules = [
    *within("backbone", "backbone", _RESNET_ENCODER),
    *within("classifier", "head", _FCN_HEAD),
    *within("aux_classifier", "auxiliary", _FCN_HEAD),
]


def _fcn_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    backbone = {key.removeprefix("backbone."): t for key, t in state.items() if key.startswith("backbone.")}
    told = {**_resnet_arguments(backbone), "num_classes": state["classifier.4.weight"].shape[0]}
    if "aux_classifier.4.weight" in state:
        told["auxiliary_weight"] = 0.5  # torchvision's, in training
    return told


_FCN_SYSTEM = family(
    "fcn",
    _FCN,
    r"backbone\.layer4\.0\.conv3\.",
    _fcn_arguments,
    {"FCN": network(FCN, _FCN, {"num_classes": "num_classes"})},
    lambda told: "fcn_resnet50",
)

# MobileNetV2 (torchvision)


def _inverted(expanding: bool, *places: str) -> Rules:
    """The rules of an inverted residual; ``places``: convolution, norm of each layer in turn."""
    pairs = zip(places[::2], places[1::2], strict=True)
    layers = ("expand", "depthwise", "project") if expanding else ("depthwise", "project")
    return [rule for (conv, norm), ours in zip(pairs, layers, strict=True) for rule in conv_norm(conv, norm, ours)]


def _mobilenet(block: Rules, first: Rules) -> Rules:
    """The rules of stem and blocks, ``0`` to ``17``."""
    return [
        *within("0", "stem", [*conv_norm("0", "1", "")]),
        *within("1.conv", "blocks.0", first),
        *(rule for i in range(2, 18) for rule in within(f"{i}.conv", f"blocks.{i - 1}", block)),
    ]


_TORCHVISION = _mobilenet(
    _inverted(True, "0.0", "0.1", "1.0", "1.1", "2", "3"), _inverted(False, "0.0", "0.1", "1", "2")
)
_FLAT = _mobilenet(_inverted(True, "0", "1", "3", "4", "6", "7"), _inverted(False, "0", "1", "3", "4"))
_MOBILENET: Rules = [
    *within("features.18", "last", conv_norm("0", "1", "")),
    *within("features", "encoder", _TORCHVISION),
    (r"classifier\.1\.(.+)", r"head.\1"),
]
_MOBILENET_SYSTEM = family(
    "mobilenet_v2",
    _MOBILENET,
    r"features\.\d+\.conv\.\d\.0\.",
    lambda state: {
        "in_channels": state["features.0.0.weight"].shape[1],
        "num_classes": state["classifier.1.weight"].shape[0],
    },
    {},
)

# DeepLabv3+ (jfzhang95, VainF)

_HALVES = (r"low_level_features", r"high_level_features")
_JFZ: Rules = [
    *(rule for half in _HALVES for rule in within(f"backbone.{half}", "backbone", _FLAT)),
    *(
        rule
        for i in range(4)
        for rule in within(f"aspp.aspp{i + 1}", f"pyramid.branches.{i}", conv_norm("atrous_conv", "bn", ""))
    ),
    *conv_norm("aspp.global_avg_pool.1", "aspp.global_avg_pool.2", "pyramid.pooled"),
    *conv_norm("aspp.conv1", "aspp.bn1", "pyramid.fuse"),
    *conv_norm("decoder.conv1", "decoder.bn1", "reduce"),
    *conv_norm("decoder.last_conv.0", "decoder.last_conv.1", "convs.0"),
]
_JFZ_ENDS: Mapping[int, Rules] = {
    1: [(r"decoder\.last_conv\.4\.(.+)", r"head.\1")],
    2: [
        *conv_norm("decoder.last_conv.4", "decoder.last_conv.5", "convs.1"),
        (r"decoder\.last_conv\.8\.(.+)", r"head.\1"),
    ],
}
_VAINF: Rules = [
    *(rule for half in _HALVES for rule in within(f"backbone.{half}", "backbone", _TORCHVISION)),
    *(
        rule
        for i in range(4)
        for rule in within(f"classifier.aspp.convs.{i}", f"pyramid.branches.{i}", conv_norm("0", "1", ""))
    ),
    *within("classifier.aspp.convs.4", "pyramid.pooled", conv_norm("1", "2", "")),
    *within("classifier.aspp.project", "pyramid.fuse", conv_norm("0", "1", "")),
    *within("classifier.project", "reduce", conv_norm("0", "1", "")),
    *within("classifier.classifier", "convs.0", conv_norm("0", "1", "")),
    (r"classifier\.classifier\.3\.(.+)", r"head.\1"),
]
_STEM = "backbone.low_level_features.0.0.weight"
_NOT_TOLD = "the tensors do not tell the output stride: if it was not that of {}, give the option output_stride"


def _jfz_convert(state: Mapping[str, Tensor]) -> Converted:
    convs = 2 if "decoder.last_conv.8.weight" in state else 1
    name = "deeplabv3plus_mobilenet_jfz" if convs == 2 else "deeplabv3plus_mobilenet"
    head = state["decoder.last_conv.8.weight" if convs == 2 else "decoder.last_conv.4.weight"]
    alone = {key: tensor for key, tensor in state.items() if not key.startswith("backbone.features.")}
    told: dict[str, Any] = {"in_channels": state[_STEM].shape[1], "num_classes": head.shape[0]}
    if convs == 2:
        told |= {"decoder_convs": 2, "output_stride": 16}
    system = family("deeplabv3plus", [*_JFZ, *_JFZ_ENDS[convs]], "", lambda _: told, {}, lambda _: name)
    notes = [_NOT_TOLD.format(name)]
    if len(alone) < len(state):
        notes.append(f"left out {len(state) - len(alone)} second names of the backbone's tensors (backbone.features)")
    return replace(system.convert(alone), notes=tuple(notes))


def _vainf_convert(state: Mapping[str, Tensor]) -> Converted:
    head = state["classifier.classifier.3.weight"]
    name = "deeplabv3plus_mobilenet_vainf"
    told = {"in_channels": state[_STEM].shape[1], "num_classes": head.shape[0], "lineage": "vainf"}
    system = family("deeplabv3plus", _VAINF, "", lambda _: told, {}, lambda _: name)
    return replace(system.convert(state), notes=(_NOT_TOLD.format(name),))


def _is_vainf(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith("classifier.aspp.") for key in state)


def _jfz(record: Record) -> Component:
    given = record["arguments"]
    convs = given["decoder_convs"]
    ours = DeepLabV3Plus(3, given["num_classes"], output_stride=given["output_stride"], decoder_convs=convs)
    return Component(ours, partial(apply_rules, rules=[*_JFZ, *_JFZ_ENDS[convs]]))


_DEEPLAB_SYSTEM = System(
    "deeplabv3plus",
    lambda state: any(key.startswith(("backbone.low_level_features.", "aspp.aspp1.")) for key in state),
    lambda state: _vainf_convert(state) if _is_vainf(state) else _jfz_convert(state),
    {
        "DeepLabV3Plus (jfz)": _jfz,
        "DeepLabV3Plus (VainF)": network(
            DeepLabV3Plus,
            _VAINF,
            {"num_classes": "num_classes", "output_stride": "output_stride"},
            lineage="vainf",
        ),
    },
)

SYSTEMS: tuple[System, ...] = (_DEEPLAB_SYSTEM, _FCN_SYSTEM, _RESNET_SYSTEM, _MOBILENET_SYSTEM)
