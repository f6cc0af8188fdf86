"""What the files that make blocks for the tests share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

C = 12
"""Channels of every block that is tested."""


def maps(size: tuple[int, int], batch: int = 2, channels: int = C, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


class ChannelsLast(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Tokens(ChannelsLast):
    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
