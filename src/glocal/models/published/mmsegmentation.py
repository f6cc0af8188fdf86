"""Whole checkpoints of mmsegmentation: a published backbone under Semantic FPN or UPerNet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from glocal.models.published import spm, swin
from glocal.models.published.dense_heads import FCN_HEAD, SEMANTIC_FPN_HEAD, UPERNET_HEAD, feature_pyramid_rules
from glocal.models.published.system import Converted, Rules, System, apply_rules, renamed, within
from glocal.models.registry import default_options

__all__ = ["SYSTEM"]

_BACKBONES = (spm.SYSTEM, swin.SYSTEM)
_POOL_SCALES = (1, 2, 3, 6)
"""Of UPerNet; no tensor tells."""


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _backbone_system(state: Mapping[str, Tensor]) -> System | None:
    tensors = _part(state, "backbone.")
    return next((system for system in _BACKBONES if system.recognises(tensors)), None)


def _recognises(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("decode_head.") for name in state) and _backbone_system(state) is not None


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The backbone by its own system; which head, and its widths, by names and shapes."""
    system = _backbone_system(state)
    assert system is not None
    backbone = system.convert(_part(state, "backbone."))
    upernet = any(name.startswith("decode_head.psp_modules.") for name in state)
    usual = default_options(backbone.name)
    implied = {k: v for k, v in backbone.arguments.items() if k not in ("in_channels", "num_classes")}
    classes, channels = state["decode_head.conv_seg.weight"].shape[:2]
    arguments: dict[str, Any] = {
        "in_channels": backbone.arguments["in_channels"],
        "num_classes": classes,
        "backbone": backbone.name,
        "backbone_args": {k: v for k, v in implied.items() if v != _plain(usual[k])} or None,
        "channels": channels,
    }
    rules: Rules
    if upernet:
        arguments |= _upernet_arguments(state)
        rules = [*within("decode_head", "head", UPERNET_HEAD), *within("auxiliary_head", "auxiliary", FCN_HEAD)]
    else:
        arguments["neck_channels"] = state["neck.lateral_convs.0.conv.weight"].shape[0]
        neck = feature_pyramid_rules(sum(name.startswith("neck.lateral_convs.") for name in state) // 2)
        rules = [*within("decode_head", "head", SEMANTIC_FPN_HEAD), *within("neck", "neck", neck)]
    others = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}
    ours, ignored, unexpected = renamed(others, partial(apply_rules, rules=rules))
    name = "upernet" if upernet else "semantic_fpn"
    return Converted(
        name,
        name,
        arguments,
        {**{f"backbone.network.{name}": tensor for name, tensor in backbone.state.items()}, **ours},
        (*(f"backbone.{name}" for name in backbone.ignored), *ignored),
        {**{f"backbone.{name}": tensor for name, tensor in backbone.unexpected.items()}, **unexpected},
        backbone.notes,
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _upernet_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    scales = sum(name.startswith("decode_head.psp_modules.") and name.endswith(".conv.weight") for name in state)
    if scales != len(_POOL_SCALES):
        raise ValueError(f"decode_head.psp_modules has {scales} branches, not {len(_POOL_SCALES)}")
    if not any(name.startswith("auxiliary_head.") for name in state):
        return {"auxiliary_weight": 0.0}
    return {"auxiliary_channels": state["auxiliary_head.conv_seg.weight"].shape[1]}


SYSTEM = System(family="mmsegmentation", recognises=_recognises, convert=_convert)
