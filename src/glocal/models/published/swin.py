"""Published Swin classifiers and backbones: official tensor names, and those of libraries that copied them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from glocal.models.published.swin_names import SWIN_ENCODER
from glocal.models.published.system import Converted, Rules, System, apply_rules, renamed

__all__ = ["SWIN_NETWORK", "SYSTEM"]

_CLASSIFIER: Rules = [(r"(norm\..+)", r"\1"), (r"head\.(?:fc\.)?(weight|bias)", r"head.\1")]
SWIN_NETWORK: Rules = [
    *_CLASSIFIER,
    *((theirs, None if ours is None else f"encoder.{ours}") for theirs, ours in SWIN_ENCODER),
]
"""Of a classifier, and of a backbone with norms on its maps."""

_AT_THE_START: Rules = [(rf"layers\.{i + 1}\.downsample\.(.+)", rf"encoder.merging.{i}.\1") for i in range(3)]
"""Where a library puts patch merging into the stage that follows it."""

_VARIANTS: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "tiny",
    (96, (2, 2, 18, 2)): "small",
    (128, (2, 2, 18, 2)): "base",
}
_TABLE = r"layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table"


def _recognises(state: Mapping[str, Tensor]) -> bool:
    return any(re.fullmatch(_TABLE, name) for name in state)


def _convert(state: Mapping[str, Tensor]) -> Converted:
    """The tensors under our names. Every option is told by what is there and its shape."""
    places = [(int(m[1]), int(m[2])) for m in (re.fullmatch(_TABLE, name) for name in state) if m is not None]
    depths = [1 + max((block for i, block in places if i == stage), default=-1) for stage in range(4)]
    if 0 in depths:
        raise KeyError(f"layers.{depths.index(0)}.blocks.0.attn.relative_position_bias_table")
    tables = [state[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"].shape for stage in range(4)]
    stem, hidden = state["patch_embed.proj.weight"].shape, state["layers.0.blocks.0.mlp.fc1.weight"].shape
    variant = _VARIANTS.get((stem[0], tuple(depths)))
    ratio = hidden[0] / hidden[1]
    arguments: dict[str, Any] = {
        "in_channels": stem[1],
        "embed_dim": stem[0],
        "depths": depths,
        "num_heads": [shape[1] for shape in tables],
        "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
        "mlp_ratio": int(ratio) if ratio == int(ratio) else ratio,
    }
    notes = []
    if any(name.startswith("norm0.") for name in state):
        arguments |= {"stage_norms": True, "shift_single_window": True}
        notes.append("a backbone for dense prediction, with a norm on each map and without head")
    for name in ("head.weight", "head.fc.weight"):
        if name in state:
            arguments["num_classes"] = state[name].shape[0]
    rules = [*_AT_THE_START, *SWIN_NETWORK] if "layers.3.downsample.norm.weight" in state else SWIN_NETWORK
    ours, ignored, unexpected = renamed(state, partial(apply_rules, rules=rules))
    return Converted("swin", f"swin_{variant or 'tiny'}", arguments, ours, ignored, unexpected, tuple(notes))


SYSTEM = System(family="swin", recognises=_recognises, convert=_convert)
