"""U-shaped convolutional networks: U-Net, U-Net++, Attention U-Net, ResUNet, ResUNet++."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from glocal.models.attention_unet import AttentionUNet
from glocal.models.network import Network
from glocal.models.published.baselines.names import CONV_NORM_PAIRS, conv_norm, family, network
from glocal.models.published.system import Component, Record, Rules, System, apply_rules, within
from glocal.models.resunet import ResUNet
from glocal.models.resunetpp import ResUNetPlusPlus
from glocal.models.unet import UNet
from glocal.models.unetpp import UNetPlusPlus

__all__ = ["SYSTEMS"]


def _sizes(stem: Tensor, head: Tensor, width: int) -> dict[str, Any]:
    """Arguments that first and last convolution tell; the usual width is left out."""
    return {
        "in_channels": stem.shape[1],
        "num_classes": head.shape[0],
        **({} if stem.shape[0] == width else {"width": stem.shape[0]}),
    }


# U-Net (milesial)

_UNET: Rules = [
    *within("inc.double_conv", "encoder.0", CONV_NORM_PAIRS),
    *(r for i in range(1, 5) for r in within(f"down{i}.maxpool_conv.1.double_conv", f"encoder.{i}", CONV_NORM_PAIRS)),
    *(r for i in range(4) for r in within(f"up{i + 1}.conv.double_conv", f"decoder.{i}.conv", CONV_NORM_PAIRS)),
    *((rf"up{i + 1}\.up\.(.+)", rf"decoder.{i}.up.\1") for i in range(4)),
    (r"outc\.conv\.(.+)", r"head.\1"),
]


def _unet_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    bilinear = {} if "up1.up.weight" in state else {"bilinear": True}
    return {**_sizes(state["inc.double_conv.0.weight"], state["outc.conv.weight"], 64), **bilinear}


_UNET_SYSTEM = family(
    "unet",
    _UNET,
    r"down\d\.maxpool_conv\.",
    _unet_arguments,
    {"UNet": network(UNet, _UNET, {"n_channels": "in_channels", "n_classes": "num_classes", "bilinear": "bilinear"})},
    lambda told: "unet_bilinear" if told.get("bilinear") else "unet",
)

# Attention U-Net (LeeJunHyun)

_GATE: Rules = [
    *conv_norm("W_g.0", "W_g.1", "decoder"),
    *conv_norm("W_x.0", "W_x.1", "skip"),
    *conv_norm("psi.0", "psi.1", "gate"),
]
_ATTENTION_UNET: Rules = [
    *(r for i in range(5) for r in within(f"Conv{i + 1}.conv", f"encoder.{i}", CONV_NORM_PAIRS)),
    *(
        rule
        for i in range(4)
        for rule in (
            *within(f"Up{5 - i}.up", f"decoder.{i}.up", conv_norm("1", "2", "layer")),
            *within(f"Att{5 - i}", f"decoder.{i}.gate", _GATE),
            *within(f"Up_conv{5 - i}.conv", f"decoder.{i}.conv", CONV_NORM_PAIRS),
        )
    ),
    (r"Conv_1x1\.(.+)", r"head.\1"),
]

_ATTENTION_UNET_SYSTEM = family(
    "attention_unet",
    _ATTENTION_UNET,
    r"Att\d\.W_[gx]\.",
    lambda state: _sizes(state["Conv1.conv.0.weight"], state["Conv_1x1.weight"], 64),
    {"AttentionUNet": network(AttentionUNet, _ATTENTION_UNET, {"img_ch": "in_channels", "output_ch": "num_classes"})},
)

# U-Net++ (4uiiurz1)

_NODE: Rules = [*conv_norm("conv1", "bn1", "first"), *conv_norm("conv2", "bn2", "second")]


_UNETPP: Rules = [
    *(r for i in range(5) for r in within(f"conv{i}_0", f"encoder.{i}", _NODE)),
    *(r for j in range(1, 5) for i in range(5 - j) for r in within(f"conv{i}_{j}", f"nested.{j - 1}.{i}", _NODE)),
    (r"final\.(.+)", r"heads.convs.0.\1"),
    *((rf"final{i + 1}\.(.+)", rf"heads.convs.{i}.\1") for i in range(4)),
]


def _unetpp_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    deep = "final1.weight" in state
    head = state["final4.weight" if deep else "final.weight"]
    return {**_sizes(state["conv0_0.conv1.weight"], head, 32), **({"deep_supervision": True} if deep else {})}


class _EveryHead(nn.Module):
    """What the published network gives with deep supervision: the logits of every head."""

    def __init__(self, network: UNetPlusPlus) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        return [logits for logits, _ in self.network.training_outputs(x)]


def _unetpp(record: Record) -> Component:
    given = record["arguments"]
    network = UNetPlusPlus(given["input_channels"], given["num_classes"], deep_supervision=given["deep_supervision"])
    return Component(_EveryHead(network), lambda name: f"network.{apply_rules(name, _UNETPP)}")


_UNETPP_SYSTEM = family(
    "unetpp",
    _UNETPP,
    r"conv\d_\d\.conv1\.",
    _unetpp_arguments,
    {"UNetPlusPlus": _unetpp},
    lambda told: "unetpp_ds" if told.get("deep_supervision") else "unetpp",
)

# ResUNet and ResUNet++ (rishikksh20)

_STEM: Rules = [
    *conv_norm("input_layer.0", "input_layer.1", "first"),
    (r"input_layer\.3\.(.+)", r"second.\1"),
    (r"input_skip\.0\.(.+)", r"shortcut.\1"),
]
_BLOCK: Rules = [
    (r"conv_block\.0\.(.+)", r"norm.\1"),
    *conv_norm("conv_block.2", "conv_block.3", "first"),
    (r"conv_block\.5\.(.+)", r"second.\1"),
    *conv_norm("conv_skip.0", "conv_skip.1", "shortcut"),
]
_HEAD: Rules = [(r"output_layer\.0\.(.+)", r"head.\1")]
_RESUNET: Rules = [
    *((theirs, f"encoder.0.{ours}") for theirs, ours in _STEM),
    *within("residual_conv_1", "encoder.1", _BLOCK),
    *within("residual_conv_2", "encoder.2", _BLOCK),
    *within("bridge", "encoder.3", _BLOCK),
    *(r for i in range(3) for r in within(f"up_residual_conv{i + 1}", f"decoder.{i}.block", _BLOCK)),
    *((rf"upsample_{i + 1}\.upsample\.(.+)", rf"decoder.{i}.up.\1") for i in range(3)),
    *_HEAD,
]
_ASPP: Rules = [
    *((rf"aspp_block{i + 1}\.([02])\.(.+)", rf"branches.{i}.\1.\2") for i in range(3)),
    (r"output\.(.+)", r"fuse.\1"),
]
_LINEAR_GATE: Rules = [
    (rf"{theirs}\.{place}\.(.+)", rf"{ours}.\1")
    for theirs, (norm, conv) in {
        "conv_encoder": ("skip_norm", "skip"),
        "conv_decoder": ("map_norm", "map"),
        "conv_attn": ("gate_norm", "gate"),
    }.items()
    for place, ours in ((0, norm), (2, conv))
]
_RESUNETPP: Rules = [
    *((theirs, f"stem.{ours}") for theirs, ours in _STEM),
    *(
        rule
        for i in range(3)
        for rule in (
            (rf"squeeze_excite{i + 1}\.fc\.0\.(.+)", rf"encoder.{i}.squeeze.fc1.\1"),
            (rf"squeeze_excite{i + 1}\.fc\.2\.(.+)", rf"encoder.{i}.squeeze.fc2.\1"),
            *within(f"residual_conv{i + 1}", f"encoder.{i}.block", _BLOCK),
            *within(f"attn{i + 1}", f"decoder.{i}.gate", _LINEAR_GATE),
            *within(f"up_residual_conv{i + 1}", f"decoder.{i}.block", _BLOCK),
        )
    ),
    *within("aspp_bridge", "bridge", _ASPP),
    *within("aspp_out", "pyramid", _ASPP),
    *_HEAD,
]


def _with_sigmoid(make: Callable[..., Network], rules: Rules) -> Callable[[Record], Component]:
    """The network with the published head: a sigmoid behind one class, unless the record asks for logits."""

    def build(record: Record) -> Component:
        given = record["arguments"]
        classes = given.get("num_classes")
        network = make(given["channel"], classes or 1, width=given["filters"][0])
        end = nn.Identity() if classes else nn.Sigmoid()
        return Component(nn.Sequential(network, end), lambda name: f"0.{apply_rules(name, rules)}")

    return build


_RESUNET_SYSTEM = family(
    "resunet",
    _RESUNET,
    r"residual_conv_\d\.conv_block\.",
    lambda state: _sizes(state["input_layer.0.weight"], state["output_layer.0.weight"], 64),
    {"ResUNet": _with_sigmoid(ResUNet, _RESUNET)},
)
_RESUNETPP_SYSTEM = family(
    "resunetpp",
    _RESUNETPP,
    r"aspp_bridge\.aspp_block\d\.",
    lambda state: _sizes(state["input_layer.0.weight"], state["output_layer.0.weight"], 32),
    {"ResUNetPlusPlus": _with_sigmoid(ResUNetPlusPlus, _RESUNETPP)},
)

SYSTEMS: tuple[System, ...] = (
    _UNET_SYSTEM,
    _ATTENTION_UNET_SYSTEM,
    _UNETPP_SYSTEM,
    _RESUNET_SYSTEM,
    _RESUNETPP_SYSTEM,
)
