"""Blocks that several systems share, small."""

from __future__ import annotations

from collections.abc import Callable

from block_makers import C
from torch import nn

import glocal.nn as blocks

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "DropPath": lambda: nn.Sequential(nn.Conv2d(C, C, 1), blocks.DropPath(0.5)),
    "LayerNorm2d": lambda: blocks.LayerNorm2d(C),
}
