"""Blocks of HiFuse, small."""

from __future__ import annotations

from collections.abc import Callable

from block_makers import C, ChannelsLast
from torch import nn

import glocal.nn as blocks

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "WindowAttention": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4)),
    "WindowAttention, shifted": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4, shift=True)),
}
