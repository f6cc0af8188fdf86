"""Blocks of Stepwise Patch Merging and PVT, small."""

from __future__ import annotations

from collections.abc import Callable

from block_makers import C, ChannelsLast, Tokens
from torch import nn

import glocal.nn as blocks


def halved(size: tuple[int, int], channels: int) -> tuple[int, int, int]:
    return (channels, -(-size[0] // 2), -(-size[1] // 2))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "GuidedLocalEnhancement": lambda: nn.Sequential(nn.Conv2d(C, 16, 1), blocks.GuidedLocalEnhancement(16)),
    "MultiScaleAggregation": lambda: blocks.MultiScaleAggregation(C, C),
    "SpatialReductionAttention": lambda: ChannelsLast(blocks.SpatialReductionAttention(C, 4, reduction=4)),
    "SpatialReductionAttention, of tokens": lambda: Tokens(blocks.SpatialReductionAttention(C, 4)),
    "StepwisePatchMerging": lambda: blocks.StepwisePatchMerging(C, 24),
    "StepwisePatchMerging, frozen norms": lambda: blocks.StepwisePatchMerging(C, 24, frozen_norm=True),
}
SHAPES = {
    "GuidedLocalEnhancement": lambda size: halved(size, 16),
    "StepwisePatchMerging": lambda size: halved(size, 24),
    "StepwisePatchMerging, frozen norms": lambda size: halved(size, 24),
}
