"""Networks with transformers: TransUNet (official and mkara44's), UCTransNet, Swin-Unet; ViT for TransUNet."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from glocal.models.published.baselines.names import conv_norm
from glocal.models.published.swin_names import SWIN_ENCODER
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within
from glocal.models.swinunet import SwinUNet
from glocal.models.transunet import TransUNet
from glocal.models.transunet_mk import TransUNetMK
from glocal.models.uctransnet import UCTransNet

__all__ = ["SYSTEMS"]


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many modules of a list there are; ``pattern`` matches the beginning of a name, its group the number."""
    return 1 + max((int(m[1]) for name in state if (m := re.match(pattern, name))), default=-1)


def _side(tokens: int) -> int:
    """Side of the square images whose position table has so many rows.

    Raises:
        ValueError: The rows are of no square.
    """
    side = math.isqrt(tokens)
    if tokens < 1 or side * side != tokens:
        raise ValueError(f"{tokens} positions, which are no square")
    return 16 * side


def _told(usual: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What a state dict tells beyond the usual options."""
    return {key: value for key, value in found.items() if usual.get(key) != value}


# TransUNet (Beckschen)

_UNIT: Rules = [
    (r"conv([123])\.weight", r"conv\1.weight"),
    (r"gn([123])\.(.+)", r"norm\1.\2"),
    (r"downsample\.weight", "shortcut.weight"),
    (r"gn_proj\.(.+)", r"shortcut_norm.\1"),
]
_EMBEDDINGS, _LAYER = r"transformer\.embeddings\.", r"transformer\.encoder\.layer\.(\d+)\."
_UNIT_PLACE = _EMBEDDINGS + r"hybrid_model\.body\.block(\d)\.unit(\d+)\."
_TRANSUNET: Rules = [
    (_EMBEDDINGS + r"position_embeddings", "position.table"),
    (_EMBEDDINGS + r"patch_embeddings\.(.+)", r"embed.\1"),
    (_EMBEDDINGS + r"hybrid_model\.root\.conv\.weight", "trunk.stem.weight"),
    (_EMBEDDINGS + r"hybrid_model\.root\.gn\.(.+)", r"trunk.stem_norm.\1"),
    (_LAYER + r"attention_norm\.(.+)", r"blocks.\1.norm1.\2"),
    (_LAYER + r"ffn_norm\.(.+)", r"blocks.\1.norm2.\2"),
    (_LAYER + r"ffn\.(fc[12]\..+)", r"blocks.\1.mlp.\2"),
    (_LAYER + r"attn\.out\.(.+)", r"blocks.\1.attention.proj.\2"),
    *(
        (_LAYER + rf"attn\.{part}\.(.+)", rf"blocks.\1.attention.qkv.\2[{i}/3]")
        for i, part in enumerate(("query", "key", "value"))
    ),
    (r"transformer\.encoder\.encoder_norm\.(.+)", r"norm.\1"),
    *within("decoder.conv_more", "bridge.0", [(r"0\.(.+)", r"conv.\1"), (r"1\.(.+)", r"norm.\1")]),
    *(
        rule
        for i in range(4)
        for place, ours in (("conv1", "first"), ("conv2", "second"))
        for rule in conv_norm(
            f"decoder.blocks.{i}.{place}.0", f"decoder.blocks.{i}.{place}.1", f"decoder.{i}.conv.{ours}"
        )
    ),
    (r"segmentation_head\.0\.(.+)", r"head.\1"),
]


def _transunet_name(name: str) -> str | None:
    """The trunk's blocks and units are counted from 1."""
    unit = re.match(_UNIT_PLACE, name)
    if unit is None:
        return apply_rules(name, _TRANSUNET)
    return f"trunk.blocks.{int(unit[1]) - 1}.{int(unit[2]) - 1}.{apply_rules(name[unit.end() :], _UNIT)}"


_TRANSUNET_USUAL: Mapping[str, Any] = {
    "image_size": 256,
    "skips": 3,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4,
    "trunk_width": 64,
    "trunk_depths": [3, 4, 9],
    "decoder_widths": [512, 256, 128, 64, 16],
}


def _transunet_convert(state: Mapping[str, Tensor]) -> Converted:
    embed = state["transformer.embeddings.patch_embeddings.weight"]
    stem = state.get("transformer.embeddings.hybrid_model.root.conv.weight")
    steps = [state[f"decoder.blocks.{i}.conv1.0.weight"].shape for i in range(4)]
    widths = [state["decoder.conv_more.0.weight"].shape[0], *(shape[0] for shape in steps)]
    skips = sum(shape[1] > width for shape, width in zip(steps, widths, strict=False))
    hidden = state["transformer.encoder.layer.0.ffn.fc1.weight"].shape[0] / embed.shape[0]
    unit = _EMBEDDINGS + r"hybrid_model\.body\.block{}\.unit(\d+)\."
    found: dict[str, Any] = {
        "in_channels": (embed if stem is None else stem).shape[1],
        "num_classes": state["segmentation_head.0.weight"].shape[0],
        "image_size": _side(state["transformer.embeddings.position_embeddings"].shape[1]),
        "embed_dim": embed.shape[0],
        "depth": _count(state, _LAYER),
        "num_heads": embed.shape[0] // 64,
        "mlp_ratio": hidden,
        "decoder_widths": widths,
    }
    if stem is not None:
        found |= {"skips": skips, "trunk_width": stem.shape[0]}
        found["trunk_depths"] = [_count(state, unit.format(i)) - 1 for i in (1, 2, 3)]
    ours, ignored, unexpected = renamed(state, _transunet_name)
    name = "transunet_vit" if stem is None else "transunet_r50"
    repeated = ("embed.weight",) if stem is None else ()  # the sum of standardised kernels is not standardised
    return Converted(
        "transunet", name, _told(_TRANSUNET_USUAL, found), ours, ignored, unexpected, repeats_grey=repeated
    )


def _transunet(record: Record) -> Component:
    given = record["arguments"]
    hybrid = given["config"] == "R50-ViT-B_16"
    network = TransUNet(
        3,
        given["n_classes"],
        trunk=hybrid,
        image_size=given["img_size"],
        skips=given["n_skip"] if hybrid else None,
    )
    return Component(network, _transunet_name, lambda x: (x.expand(-1, 3, -1, -1),))


_TRANSUNET_SYSTEM = System(
    "transunet",
    lambda state: any(re.match(_LAYER + "attention_norm", name) for name in state),
    _transunet_convert,
    {"TransUNet": _transunet},
)

# ViT-B/16 and R50+ViT-B/16 from ImageNet, as libraries name them: the encoder of a TransUNet

_VIT: Rules = [
    ("pos_embed", "position.table"),
    (r"patch_embed\.proj\.(.+)", r"embed.\1"),
    (r"patch_embed\.backbone\.stem\.conv\.weight", "trunk.stem.weight"),
    (r"patch_embed\.backbone\.stem\.norm\.(.+)", r"trunk.stem_norm.\1"),
    *(
        (r"patch_embed\.backbone\.stages\.(\d)\.blocks\.(\d+)\." + theirs, r"trunk.blocks.\1.\2." + ours)
        for theirs, ours in (
            (r"(conv[123]\.weight|norm[123]\..+)", r"\3"),
            (r"downsample\.conv\.weight", "shortcut.weight"),
            (r"downsample\.norm\.(.+)", r"shortcut_norm.\3"),
        )
    ),
    (r"blocks\.(\d+)\.(norm[12]\..+|mlp\.fc[12]\..+)", r"blocks.\1.\2"),
    (r"blocks\.(\d+)\.attn\.((?:qkv|proj)\..+)", r"blocks.\1.attention.\2"),
    (r"norm\.(.+)", r"norm.\1"),
]
_CLASSIFIER = re.compile(r"cls_token|(pre_logits|fc|head)\..+")


def _vit_convert(state: Mapping[str, Tensor]) -> Converted:
    embed, table = state["patch_embed.proj.weight"], state["pos_embed"]
    stem = state.get("patch_embed.backbone.stem.conv.weight")
    if embed.shape[2] != (16 if stem is None else 1):
        raise ValueError(
            f"patches of {embed.shape[2]} pixels; TransUNet takes ViT of 16, and hybrids of 1 at stride 16"
        )
    if "cls_token" in state:
        table = table[:, 1:]
    found: dict[str, Any] = {
        "in_channels": (embed if stem is None else stem).shape[1],
        "image_size": _side(table.shape[1]),
        "embed_dim": embed.shape[0],
        "depth": _count(state, r"blocks\.(\d+)\."),
        "num_heads": embed.shape[0] // 64,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / embed.shape[0],
    }
    if stem is not None:
        stage = r"patch_embed\.backbone\.stages\.{}\.blocks\.(\d+)\."
        found |= {"trunk_width": stem.shape[0], "trunk_depths": [_count(state, stage.format(i)) for i in range(3)]}
    encoder = {name: tensor for name, tensor in state.items() if not _CLASSIFIER.fullmatch(name)}
    ours, ignored, unexpected = renamed({**encoder, "pos_embed": table}, _rename(_VIT))
    name = "transunet_vit" if stem is None else "transunet_r50"
    notes = ("an ImageNet classifier, for the encoder; left out its class token and head",)
    return Converted("transunet", name, _told(_TRANSUNET_USUAL, found), ours, ignored, unexpected, notes)


_VIT_SYSTEM = System(
    "vit", lambda state: {"pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= {*state}, _vit_convert
)

# TransUNet (mkara44)

_PAIRS: Rules = [*conv_norm("0", "1", "first"), *conv_norm("3", "4", "second")]
_BOTTLENECK: Rules = [
    *conv_norm("downsample.0", "downsample.1", "shortcut"),
    *conv_norm("conv1", "norm1", "first"),
    *conv_norm("conv2", "norm2", "second"),
    *conv_norm("conv3", "norm3", "third"),
]
_MK_BLOCK = r"encoder\.vit\.transformer\.layer_blocks\.(\d+)\."
_MK_OURS = r"transformer.blocks.\1."
_TRANSUNET_MK: Rules = [
    *conv_norm("encoder.conv1", "encoder.norm1", "stem"),
    *(rule for i in range(3) for rule in within(f"encoder.encoder{i + 1}", f"encoder.{i}", _BOTTLENECK)),
    (r"encoder\.vit\.embedding", "transformer.position.table"),
    (r"encoder\.vit\.cls_token", "transformer.class_token"),
    (r"encoder\.vit\.projection\.(.+)", r"transformer.projection.\1"),
    (_MK_BLOCK + r"multi_head_attention\.qkv_layer\.(.+)", _MK_OURS + r"attention.qkv.\2"),
    (_MK_BLOCK + r"multi_head_attention\.out_attention\.(.+)", _MK_OURS + r"attention.proj.\2"),
    (_MK_BLOCK + r"mlp\.mlp_layers\.0\.(.+)", _MK_OURS + r"mlp.fc1.\2"),
    (_MK_BLOCK + r"mlp\.mlp_layers\.3\.(.+)", _MK_OURS + r"mlp.fc2.\2"),
    (_MK_BLOCK + r"layer_norm([12])\.(.+)", _MK_OURS + r"norm\2.\3"),
    *conv_norm("encoder.conv2", "encoder.norm2", "bridge.0"),
    *(rule for i in range(4) for rule in within(f"decoder.decoder{i + 1}.layer", f"decoder.{i}.conv", _PAIRS)),
    (r"decoder\.conv1\.(.+)", r"head.\1"),
]


def _transunet_mk_convert(state: Mapping[str, Tensor]) -> Converted:
    stem, hidden = (
        state[name]
        for name in ("encoder.conv1.weight", "encoder.vit.transformer.layer_blocks.0.mlp.mlp_layers.0.weight")
    )
    found = {
        "in_channels": stem.shape[1],
        "num_classes": state["decoder.conv1.weight"].shape[0],
        "width": stem.shape[0],
        "image_size": _side(state["encoder.vit.embedding"].shape[0] - 1),
        "depth": _count(state, _MK_BLOCK),
        "mlp_width": hidden.shape[0],
    }
    ours, ignored, unexpected = renamed(state, _rename(_TRANSUNET_MK))
    table = "transformer.position.table"
    ours[table] = ours[table][None]
    usual = {"width": 128, "image_size": 256, "depth": 12, "mlp_width": 512}
    notes = ("assumed 4 heads, the published default; the tensors do not tell (num_heads)",)
    return Converted("transunet_mk", "transunet_mk", _told(usual, found), ours, ignored, unexpected, notes)


def _transunet_mk(record: Record) -> Component:
    given = record["arguments"]
    network = TransUNetMK(
        given["in_channels"],
        given["class_num"],
        width=given["out_channels"],
        image_size=given["img_dim"],
        depth=given["block_num"],
        num_heads=given["head_num"],
        mlp_width=given["mlp_dim"],
    )
    return Component(network, _rename(_TRANSUNET_MK))


_TRANSUNET_MK_SYSTEM = System(
    "transunet_mk",
    lambda state: any(re.match(_MK_BLOCK, name) for name in state),
    _transunet_mk_convert,
    {"TransUNet (mkara44)": _transunet_mk},
)

# UCTransNet

_CBR: Rules = [
    *conv_norm("nConvs.0.conv", "nConvs.0.norm", "first"),
    *conv_norm("nConvs.1.conv", "nConvs.1.norm", "second"),
]


def _uctransnet_rules(heads: int) -> Rules:
    layer, block = r"mtc\.encoder\.layer\.(\d+)\.", r"transformer.blocks.\1."
    return [
        *conv_norm("inc.conv", "inc.norm", "encoder.0.0"),
        *(rule for i in range(1, 5) for rule in within(f"down{i}", f"encoder.{i}", _CBR)),
        *(
            rule
            for i in range(4)
            for n in (i + 1,)
            for rule in (
                (rf"mtc\.embeddings_{n}\.position_embeddings", f"transformer.positions.{i}.table"),
                (rf"mtc\.embeddings_{n}\.patch_embeddings\.(.+)", rf"transformer.embed.{i}.\1"),
                *(
                    (layer + rf"channel_attn\.query{n}\.{h}\.weight", block + f"attention.q.{i}.weight[{h}/{heads}]")
                    for h in range(heads)
                ),
                (layer + rf"channel_attn\.out{n}\.weight", block + f"attention.proj.{i}.weight"),
                (layer + rf"attn_norm{n}\.(.+)", block + rf"norms1.{i}.\2"),
                (layer + rf"ffn_norm{n}\.(.+)", block + rf"norms2.{i}.\2"),
                (layer + rf"ffn{n}\.(fc[12]\..+)", block + rf"mlps.{i}.\2"),
                (rf"mtc\.encoder\.encoder_norm{n}\.(.+)", rf"transformer.norms.{i}.\1"),
                *within(f"mtc.reconstruct_{n}", f"transformer.reconstruct.{i}.layer", conv_norm("conv", "norm", "")),
                (rf"up{4 - i}\.coatt\.mlp_x\.1\.(.+)", rf"decoder.{i}.gate.skip.\1"),
                (rf"up{4 - i}\.coatt\.mlp_g\.1\.(.+)", rf"decoder.{i}.gate.map.\1"),
                *within(f"up{4 - i}", f"decoder.{i}.conv", _CBR),
            )
        ),
        (layer + r"attn_norm\.(.+)", block + r"norm.\2"),
        *(
            (layer + rf"channel_attn\.{part}\.{h}\.weight", block + f"attention.{part[0]}.weight[{h}/{heads}]")
            for part in ("key", "value")
            for h in range(heads)
        ),
        (r"outc\.(.+)", r"head.\1"),
    ]


_UCT_LAYER = r"mtc\.encoder\.layer\.(\d+)\."


def _uctransnet_convert(state: Mapping[str, Tensor]) -> Converted:
    heads = _count(state, r"mtc\.encoder\.layer\.0\.channel_attn\.key\.(\d+)\.")
    stem, hidden = state["inc.conv.weight"], state["mtc.encoder.layer.0.ffn1.fc1.weight"]
    ratio = hidden.shape[0] / hidden.shape[1]
    found = {
        "in_channels": stem.shape[1],
        "num_classes": state["outc.weight"].shape[0],
        "width": stem.shape[0],
        "image_size": _side(state["mtc.embeddings_1.position_embeddings"].shape[1]),
        "depth": _count(state, _UCT_LAYER),
        "num_heads": heads,
        "mlp_ratio": ratio,
    }
    ours, ignored, unexpected = renamed(state, _rename(_uctransnet_rules(heads)))
    usual = {"width": 64, "image_size": 256, "depth": 4, "num_heads": 4, "mlp_ratio": 4}
    notes = (
        ("the published network gives probabilities for one class; logits here",) if found["num_classes"] == 1 else ()
    )
    return Converted("uctransnet", "uctransnet", _told(usual, found), ours, ignored, unexpected, notes)


def _uctransnet(record: Record) -> Component:
    given = record["arguments"]
    network = UCTransNet(
        given["n_channels"],
        given["n_classes"],
        width=given["base_channel"],
        image_size=given["img_size"],
        depth=given["num_layers"],
        num_heads=given["num_heads"],
        mlp_ratio=given["expand_ratio"],
    )
    rules = _uctransnet_rules(given["num_heads"])
    end = nn.Sigmoid() if given["n_classes"] == 1 else nn.Identity()
    return Component(nn.Sequential(network, end), lambda name: f"0.{apply_rules(name, rules)}")


_UCTRANSNET_SYSTEM = System(
    "uctransnet",
    lambda state: any(re.match(_UCT_LAYER + "channel_attn", name) for name in state),
    _uctransnet_convert,
    {"UCTransNet": _uctransnet},
)

# Swin-Unet

_SWINUNET: Rules = [
    *((theirs, None if ours is None else f"encoder.{ours}") for theirs, ours in SWIN_ENCODER),
    (r"norm\.(.+)", r"norm.\1"),
    (r"layers_up\.0\.(.+)", r"expand.0.\1"),
    *((rf"layers_up\.{k}\.upsample\.(.+)", rf"expand.{k}.\1") for k in (1, 2)),
    *((rf"concat_back_dim\.{k}\.(.+)", rf"fuse.{k - 1}.\1") for k in (1, 2, 3)),
    (r"norm_up\.(.+)", r"decoder_norm.\1"),
    (r"up\.(.+)", r"enlarge.\1"),
    (r"output\.weight", "head.weight"),
]
_PREFIX = "swin_unet."
_UP = r"layers_up\.([123])\.(blocks\..+)"


def _swinunet_name(name: str) -> str | None:
    """The blocks on the way up are named as those of the encoder's stages."""
    bare = name.removeprefix(_PREFIX)
    block = re.fullmatch(_UP, bare)
    if block is None:
        return apply_rules(bare, _SWINUNET)
    ours = apply_rules(f"layers.{int(block[1]) - 1}.{block[2]}", SWIN_ENCODER)
    return None if ours is None else "decoder" + ours.removeprefix("stages")


def _swinunet_convert(state: Mapping[str, Tensor]) -> Converted:
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    tables = [bare[f"layers.{i}.blocks.0.attn.relative_position_bias_table"].shape for i in range(4)]
    stem, hidden = bare["patch_embed.proj.weight"].shape, bare["layers.0.blocks.0.mlp.fc1.weight"].shape
    found: dict[str, Any] = {
        "in_channels": stem[1],
        "num_classes": bare["output.weight"].shape[0],
        "embed_dim": stem[0],
        "depths": [_count(bare, rf"layers\.{i}\.blocks\.(\d+)\.") for i in range(4)],
        "num_heads": [table[1] for table in tables],
        "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
        "mlp_ratio": hidden[0] / hidden[1],
    }
    named = (found["depths"], found["window_size"]) == ([2, 2, 6, 2], 8)
    name = "swinunet_2262" if named else "swinunet"
    usual: dict[str, Any] = {"embed_dim": 96, "num_heads": [3, 6, 12, 24], "mlp_ratio": 4}
    usual |= {"depths": [2, 2, 6, 2], "window_size": 8} if named else {"depths": [2, 2, 2, 2], "window_size": 7}
    ours, ignored, unexpected = renamed(bare, _swinunet_name)
    ours["head.weight"] = ours["head.weight"].flatten(1)
    told = {"in_channels": found["in_channels"], "num_classes": found["num_classes"], **_told(usual, found)}
    return Converted("swinunet", name, told, ours, ignored, unexpected, repeats_grey=("encoder.embed.weight",))


def _swinunet(record: Record) -> Component:
    given = record["arguments"]
    options = {key: given[key] for key in ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio")}
    return Component(SwinUNet(given["in_chans"], given["num_classes"], **options), _swinunet_name)


_SWINUNET_SYSTEM = System(
    "swinunet",
    lambda state: any(re.fullmatch(_UP, name.removeprefix(_PREFIX)) for name in state),
    _swinunet_convert,
    {"SwinUNet": _swinunet},
)

SYSTEMS: tuple[System, ...] = (
    _TRANSUNET_SYSTEM,
    _VIT_SYSTEM,
    _TRANSUNET_MK_SYSTEM,
    _UCTRANSNET_SYSTEM,
    _SWINUNET_SYSTEM,
)
