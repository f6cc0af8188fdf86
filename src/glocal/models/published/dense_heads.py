"""Necks and heads of mmsegmentation 1.2: their tensor names, and their modules as golden cases name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glocal.models.published.system import Component, Record, Rules, apply_rules
from glocal.nn import FCNHead, FeaturePyramid, SemanticFPNHead, UPerNetHead

__all__ = ["COMPONENTS", "FCN_HEAD", "SEMANTIC_FPN_HEAD", "UPERNET_HEAD", "feature_pyramid_rules"]


def _with_norms(*parts: tuple[str, str]) -> list[tuple[str, str]]:
    """Rules for convolutions with a batch norm, by their published name and ours."""
    kinds = (("conv", "conv"), ("bn", "norm"))
    return [
        (rf"{theirs}\.{kind}\.(?P<tensor>.+)", rf"{ours}.{our_kind}.\g<tensor>")
        for theirs, ours in parts
        for kind, our_kind in kinds
    ]


_DEEPEST = 8
"""More levels than any pyramid has."""

_CLASSIFIER: Rules = [(r"conv_seg\.(.+)", r"classifier.conv.\1")]
SEMANTIC_FPN_HEAD: Rules = [
    *_CLASSIFIER,
    *_with_norms(*((rf"scale_heads\.(\d)\.{2 * j}", rf"levels.\1.{j}") for j in range(_DEEPEST))),
]
UPERNET_HEAD: Rules = [
    *_CLASSIFIER,
    *_with_norms(
        (r"psp_modules\.(\d)\.1", r"pooled.\1"),
        (r"bottleneck", r"bottleneck"),
        (r"lateral_convs\.(\d)", r"laterals.\1"),
        (r"fpn_convs\.(\d)", r"outputs.\1"),
        (r"fpn_bottleneck", r"fuse"),
    ),
]
FCN_HEAD: Rules = [*_CLASSIFIER, *_with_norms((r"convs\.0", "conv"))]


def feature_pyramid_rules(levels: int) -> Rules:
    """Of a neck on so many maps: its 3×3 convolutions beyond them make the extra levels."""
    return [
        (r"lateral_convs\.(\d)\.conv\.(.+)", r"laterals.\1.\2"),
        *((rf"fpn_convs\.{i}\.conv\.(.+)", rf"outputs.{i}.\1") for i in range(levels)),
        *((rf"fpn_convs\.{levels + i}\.conv\.(.+)", rf"coarser.{i}.\1") for i in range(2)),
    ]


# Components of golden cases. Each takes the arguments of the published constructor, by their published names.


def _rename(rules: Rules) -> Callable[[str], str | None]:
    return partial(apply_rules, rules=rules)


def _cut(record: Record, start: int = 0) -> Callable[[Tensor], tuple[list[Tensor]]]:
    """Cut the maps out of one array: a level takes the next channels, averaged by its stride over the finest."""
    widths: Sequence[int] = record["arguments"]["in_channels"]
    strides: Sequence[int] = record["feature_strides"]

    def cut(x: Tensor) -> tuple[list[Tensor]]:
        parts = torch.split(x, list(widths), 1)
        return ([F.avg_pool2d(p, s // strides[0]) for p, s in zip(parts, strides, strict=True)][start:],)

    return cut


def _feature_pyramid(record: Record) -> Component:
    def make(
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        add_extra_convs: str | bool = False,
    ) -> FeaturePyramid:
        widths = in_channels[start_level:]
        more = num_outs > len(widths)
        return FeaturePyramid(widths, out_channels, extra="none" if not more else "conv" if add_extra_convs else "pool")

    neck = make(**record["arguments"])
    start = record["arguments"].get("start_level", 0)
    return Component(neck, _rename(feature_pyramid_rules(len(neck.laterals))), _cut(record, start))


def _without_mmcv(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are not about how mmsegmentation puts a head together."""
    fixed: dict[str, Any] = {"align_corners": False, "norm_cfg": "BatchNorm2d", "concat_input": False, "num_convs": 1}
    for name, value in fixed.items():
        if arguments.get(name, value) != value:
            raise TypeError(f"{name}={arguments[name]!r} is not built here, only {value!r}")
    ours = {k: v for k, v in arguments.items() if k not in fixed and k not in ("in_index", "dropout_ratio")}
    return {**ours, "dropout": arguments.get("dropout_ratio", 0.1)}


def _semantic_fpn_head(record: Record) -> Component:
    arguments = _without_mmcv(record["arguments"])
    widths = arguments.pop("in_channels")
    head = SemanticFPNHead(widths[0], levels=len(widths), **arguments)
    return Component(head, _rename(SEMANTIC_FPN_HEAD), _cut(record))


def _upernet_head(record: Record) -> Component:
    return Component(UPerNetHead(**_without_mmcv(record["arguments"])), _rename(UPERNET_HEAD), _cut(record))


def _fcn_head(record: Record) -> Component:
    return Component(FCNHead(**_without_mmcv(record["arguments"])), _rename(FCN_HEAD))


COMPONENTS: Mapping[str, Callable[[Record], Component]] = {
    "FPN": _feature_pyramid,
    "FPNHead": _semantic_fpn_head,
    "UPerHead": _upernet_head,
    "FCNHead": _fcn_head,
}
