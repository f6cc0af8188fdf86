"""One level of a fusion path: a local map, a global map and the fused map of the finer level become one.

What HiFuse's HFF block (arXiv 2209.10218) and HiPerformer's LGFF block (arXiv 2509.20280) share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.drop_path import DropPath
from glocal.nn.inverted_residual import InvertedResidualMlp
from glocal.nn.layer_norm import LayerNorm2d
from glocal.nn.pointwise import PointwiseConv2d

__all__ = ["LevelFusion"]


class LevelFusion(nn.Module):
    """Two attentions, one on each map, and a mixture of all maps, through an inverted residual perceptron.

    With l, g and f the local, global and previous map, and ``conv`` a 1×1 convolution with batch norm:

    - ``u = average pool 2×2 (ReLU(conv(f)))``, where there is a previous map;
    - ``x = GELU(conv(layer norm([u, conv(l), conv(g)])))``;
    - result ``= u + IRMLP(layer norm([global attention(g), local attention(l), x]))``.

    A block without a previous map has none of the parts that would take it.

    Args:
        channels: C of the mixture and of the result.
        local_attention: Maps l to the same shape.
        global_attention: Maps g to the same shape.
        previous_channels: Channels of f; None: the block of the first level, which takes none.
        local_channels: Channels of l; default: C.
        global_channels: Channels of g; default: C.
        irmlp: Form of the perceptron's 3×3 convolution, ``"dense"`` as published or ``"depthwise"`` as in the papers;
            ``"none"``: a 1×1 convolution and batch norm in place of the perceptron (an ablation).
        drop_path: Probability that a sample skips the perceptron, in training; without a previous map nothing is left
            of it then but zeros.
        mixer: Makes the module that gives x, from its channels in and out; default: the one above.
        transform: Makes the last module likewise; default: layer norm and IRMLP.
        shortcut: Whether u is added to the result.

    Raises:
        ValueError: An unknown ``irmlp``.

    Example:
        >>> import torch
        >>> from glocal.nn import LevelFusion
        >>> fusion = LevelFusion(24, torch.nn.Identity(), torch.nn.Identity(), previous_channels=12)
        >>> local_map, global_map, finer = torch.rand(2, 24, 7, 9), torch.rand(2, 24, 7, 9), torch.rand(2, 12, 14, 18)
        >>> fusion(local_map, global_map, finer).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        local_attention: nn.Module,
        global_attention: nn.Module,
        *,
        previous_channels: int | None = None,
        local_channels: int | None = None,
        global_channels: int | None = None,
        irmlp: Literal["dense", "depthwise", "none"] = "dense",
        drop_path: float = 0.0,
        mixer: Callable[[int, int], nn.Module] | None = None,
        transform: Callable[[int, int], nn.Module] | None = None,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        local_channels = channels if local_channels is None else local_channels
        global_channels = channels if global_channels is None else global_channels
        self.local_conv = ConvNorm(PointwiseConv2d(local_channels, channels))
        self.global_conv = ConvNorm(PointwiseConv2d(global_channels, channels))
        self.previous_conv = None
        if previous_channels is not None:
            self.previous_conv = ConvNorm(PointwiseConv2d(previous_channels, channels))
        self.mixer = (mixer or _pointwise_mixer)((2 if previous_channels is None else 3) * channels, channels)
        self.local_attention = local_attention
        self.global_attention = global_attention
        transform = transform or partial(_normed_perceptron, form=irmlp)
        self.transform = transform(global_channels + local_channels + channels, channels)
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut

    def forward(self, local_map: Tensor, global_map: Tensor, previous: Tensor | None = None) -> Tensor:
        """Fuse one level.

        Args:
            local_map: ``(N, local_channels, H, W)``.
            global_map: ``(N, global_channels, H, W)``.
            previous: ``(N, previous_channels, 2H, 2W)``, the fused map of the finer level; an odd last row or column
                is not seen.

        Returns:
            ``(N, channels, H, W)``.

        Raises:
            ValueError: ``previous`` is missing, not taken, or not twice the size.
        """
        pooled = self._pooled(previous, (local_map.shape[2], local_map.shape[3]))
        parts = [self.local_conv(local_map), self.global_conv(global_map)]
        mixed = self.mixer(torch.cat(parts if pooled is None else [pooled, *parts], 1))
        attended = [self.global_attention(global_map), self.local_attention(local_map)]
        out: Tensor = self.drop_path(self.transform(torch.cat([*attended, mixed], 1)))
        return out if pooled is None or not self.shortcut else pooled + out

    def _pooled(self, previous: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        if (previous is None) != (self.previous_conv is None):
            raise ValueError(
                "this fusion block takes no previous map; make it with previous_channels="
                if self.previous_conv is None
                else "this fusion block takes the fused map of the finer level too; for a first level, make it with "
                "previous_channels=None"
            )
        if previous is None or self.previous_conv is None:
            return None
        if (previous.shape[2] // 2, previous.shape[3] // 2) != size:
            raise ValueError(
                f"the previous map is {tuple(previous.shape[2:])}; to a local map of {size} it must be twice as large"
            )
        return F.avg_pool2d(F.relu(self.previous_conv(previous)), 2)


def _pointwise_mixer(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(LayerNorm2d(in_channels), ConvNorm(PointwiseConv2d(in_channels, channels)), nn.GELU())


def _normed_perceptron(in_channels: int, channels: int, form: Literal["dense", "depthwise", "none"]) -> nn.Sequential:
    if form == "none":
        return nn.Sequential(LayerNorm2d(in_channels), ConvNorm(PointwiseConv2d(in_channels, channels, bias=False)))
    return nn.Sequential(LayerNorm2d(in_channels), InvertedResidualMlp(in_channels, channels, form))
