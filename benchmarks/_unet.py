"""The yardstick of ``networks.py``: a plain U-Net of 31 million parameters (Ronneberger et al., 2015, padded)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["UNet"]

WIDTHS = (64, 128, 256, 512, 1024)


def _double(in_channels: int, channels: int) -> nn.Sequential:
    """Twice convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for inputs in (in_channels, channels):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """``(N, C, H, W)`` -> ``(N, K, H, W)``, H and W multiples of 16."""

    def __init__(self, in_channels: int = 3, num_classes: int = 2) -> None:
        super().__init__()
        pairs = list(zip((in_channels, *WIDTHS), WIDTHS, strict=False))
        self.down = nn.ModuleList(_double(*pair) for pair in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in WIDTHS[:-1])
        self.merge = nn.ModuleList(_double(2 * width, width) for width in WIDTHS[:-1])
        self.head = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        maps = []
        for level, stage in enumerate(self.down):
            x = stage(x if level == 0 else nn.functional.max_pool2d(x, 2))
            maps.append(x)
        for level in reversed(range(len(self.up))):
            x = self.merge[level](torch.cat([maps[level], self.up[level](x)], 1))
        logits: Tensor = self.head(x)
        return logits
