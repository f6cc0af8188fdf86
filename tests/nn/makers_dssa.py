"""Blocks of DSSAU-Net and STAR-DSSA, small."""

from __future__ import annotations

from collections.abc import Callable

from block_makers import C, ChannelsLast
from torch import nn

import glocal.nn as blocks


def moved(block: nn.Module) -> nn.Module:
    """Away from the zeros that STAR-DSSA starts with, where some gradients are 0 by intention."""
    for parameter in block.parameters():
        if not parameter.any():
            nn.init.uniform_(parameter, -0.5, 0.5)
    return block


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "DualSparseSelectionAttention": lambda: ChannelsLast(blocks.DualSparseSelectionAttention(C, 3, 4)),
    "DualSparseSelectionAttention, usual": lambda: ChannelsLast(
        blocks.DualSparseSelectionAttention(C, 3, 2, n_win=3, scale="head", min_keep=1, mask_padding=True)
    ),
    "StarDSSA": lambda: ChannelsLast(moved(blocks.StarDSSA(C, 3, 2, n_win=3))),
    "LocallyEnhancedAttention": lambda: ChannelsLast(blocks.LocallyEnhancedAttention(C, 4)),
    "PositionedBlock": lambda: blocks.PositionedBlock(C, blocks.LocallyEnhancedAttention(C, 4)),
    "PyramidPooling": lambda: blocks.PyramidPooling(C, C),
    "PyramidPooling, average": lambda: blocks.PyramidPooling(C, C, pool="average"),
}
SELECTING = {name for name in MAKERS if "DSSA" in name or name.startswith("Dual")}
"""Their selections are hard: in reduced precision near ties fall the other way, and single values differ by much."""
