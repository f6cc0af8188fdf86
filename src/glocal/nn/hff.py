"""Hierarchical feature fusion, HiFuse's fusion block (arXiv 2209.10218), and its form of June 2022."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.gates import ChannelGate, SpatialGate
from glocal.nn.level_fusion import LevelFusion

__all__ = ["HFF", "BottleneckHFF"]


class HFF(LevelFusion):
    """Fuses a local map, a global map and the fused map of the finer level: :class:`LevelFusion` with two gates.

    The local map gets a gate a pixel, the global map a gate a channel. Parts can be left out, for ablations.

    Args:
        channels: Channels of the result.
        previous_channels: Channels of the previous map; None: the block of the first level, which takes none.
        local_channels: Channels of the local map; default: ``channels``.
        global_channels: Channels of the global map; default: ``channels``.
        irmlp: As in :class:`LevelFusion`: ``"dense"`` as published, ``"depthwise"`` as in the paper, or ``"none"``.
        spatial_gate: Whether the local map is gated; else it is taken as it is.
        channel_gate: ``"sigmoid"``, or ``"double_sigmoid"`` as in the paper's revision of the code; ``"none"``: the
            global map is taken as it is.
        reduction: Of the channel gate's perceptron.
        drop_path: Probability that a sample skips the perceptron, in training.
        shortcut: Whether the previous map is also added to the result.

    Raises:
        ValueError: An unknown ``irmlp`` or ``channel_gate``.

    Example:
        >>> import torch
        >>> from glocal.nn import HFF
        >>> fuse = HFF(32, previous_channels=16, local_channels=24)
        >>> cnn, transformer, finer = torch.rand(2, 24, 7, 9), torch.rand(2, 32, 7, 9), torch.rand(2, 16, 14, 18)
        >>> fuse(cnn, transformer, finer).shape
        torch.Size([2, 32, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        previous_channels: int | None = None,
        *,
        local_channels: int | None = None,
        global_channels: int | None = None,
        irmlp: Literal["dense", "depthwise", "none"] = "dense",
        spatial_gate: bool = True,
        channel_gate: Literal["sigmoid", "double_sigmoid", "none"] = "sigmoid",
        reduction: int = 16,
        drop_path: float = 0.0,
        shortcut: bool = True,
    ) -> None:
        width = channels if global_channels is None else global_channels
        super().__init__(
            channels,
            SpatialGate() if spatial_gate else nn.Identity(),
            nn.Identity() if channel_gate == "none" else ChannelGate(width, reduction, channel_gate),
            previous_channels=previous_channels,
            local_channels=local_channels,
            global_channels=global_channels,
            irmlp=irmlp,
            drop_path=drop_path,
            shortcut=shortcut,
        )


class BottleneckHFF(LevelFusion):
    """The fusion block of HiFuse's code of June 2022: 3×3 mixer, no layer norms, bottleneck at the end, no shortcut.

    Args:
        channels: Channels of all maps and of the result.
        previous_channels: Channels of the previous map; None: the block of the first level, which takes none.
        reduction: Of the channel gate's perceptron; the gate is a double sigmoid.

    Example:
        >>> import torch
        >>> from glocal.nn import BottleneckHFF
        >>> fuse = BottleneckHFF(32, previous_channels=16)
        >>> fuse(torch.rand(2, 32, 7, 9), torch.rand(2, 32, 7, 9), torch.rand(2, 16, 14, 18)).shape
        torch.Size([2, 32, 7, 9])
    """

    def __init__(self, channels: int, previous_channels: int | None = None, *, reduction: int = 16) -> None:
        super().__init__(
            channels,
            SpatialGate(),
            ChannelGate(channels, reduction, "double_sigmoid"),
            previous_channels=previous_channels,
            mixer=_mixer,
            transform=_Bottleneck,
            shortcut=False,
        )


def _mixer(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(nn.Conv2d(in_channels, channels, 3, padding=1)), nn.ReLU())


class _Bottleneck(nn.Module):
    """Pre-activation bottleneck: 1×1 to half the width, 3×3, 1×1, each behind batch norm and ReLU; plus a 1×1 skip."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.reduce = ConvNorm(nn.Conv2d(in_channels, channels // 2, 1))
        self.conv = ConvNorm(nn.Conv2d(channels // 2, channels // 2, 3, padding=1))
        self.expand = nn.Conv2d(channels // 2, channels, 1)
        self.skip = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv(F.relu(self.reduce(F.relu(self.norm(x)))))
        out: Tensor = self.skip(x) + self.expand(F.relu(main))
        return out
