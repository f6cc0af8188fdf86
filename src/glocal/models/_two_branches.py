"""What HiFuse and its form of June 2022 share: two pyramids side by side and a fusion path (arXiv 2209.10218)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.nn import LayerNorm2d, PatchMerging, WindowAttention, drop_path_rates

__all__ = ["Branches", "TwoBranches", "window_attentions"]


class Branches(NamedTuple):
    """The maps of all three branches, each finest first, ``(N, widths[s], ceil(H / stride), ceil(W / stride))``."""

    local_maps: list[Tensor]
    """Of the convolutions."""
    global_maps: list[Tensor]
    """Of the windowed attention; no norm behind it."""
    fused_maps: list[Tensor]
    """Of the fusion path: the feature pyramid."""


class TwoBranches(Network):
    """What HiFuse and its form of June 2022 share: two pyramids, a fusion path, the head.

    A global block is made from its stage, whether it is shifted, and its drop-path rate; a local block from its
    channels and drop-path rate; a fusion block from its channels and those of the previous map, if there is one. Levels
    above the ``fusion_levels`` deepest have none: there the two maps are added.
    """

    grid = 32
    padding = "zero"

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        depths: Sequence[int],
        local_depths: Sequence[int],
        *,
        global_block: Callable[[int, bool, float], nn.Module],
        local_block: Callable[[int, float], nn.Module],
        fusion_block: Callable[[int, int | None], nn.Module],
        dropout: float,
        drop_path: float,
        local_drop_path: float,
        conv_std: float,
        fusion_levels: int = 4,
    ) -> None:
        super().__init__()
        _check_stages(widths=widths, depths=depths, local_depths=local_depths)
        if not conv_std >= 0:
            raise ValueError(f"conv_std is {conv_std}; a standard deviation is at least 0")
        if fusion_levels not in range(5):
            raise ValueError(f"fusion_levels is {fusion_levels}; there are four levels, so it is 0 to 4")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it is a probability, at least 0 and below 1")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**s) for s, width in enumerate(widths))
        self.dropout = dropout
        steps = list(pairwise(widths))
        # Global branch
        self.embed = nn.Conv2d(in_channels, widths[0], 4, 4)
        self.embed_norm = nn.LayerNorm(widths[0])
        self.merging = nn.ModuleList(PatchMerging(*step) for step in steps)
        rates = drop_path_rates(drop_path, tuple(depths))
        self.global_stages = nn.ModuleList(
            nn.Sequential(*(global_block(s, j % 2 == 1, rate) for j, rate in enumerate(stage)))
            for s, stage in enumerate(rates)
        )
        # Local branch
        self.stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, 4), LayerNorm2d(widths[0]))
        self.downsample = nn.ModuleList(nn.Sequential(LayerNorm2d(step[0]), nn.Conv2d(*step, 2, 2)) for step in steps)
        rates = drop_path_rates(local_drop_path, tuple(local_depths))
        self.local_stages = nn.ModuleList(
            nn.Sequential(*(local_block(widths[s], rate) for rate in stage)) for s, stage in enumerate(rates)
        )
        # Fusion path; its convolutions keep PyTorch's initialisation
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], num_classes)
        self.apply(partial(_initialise, conv_std=conv_std))
        fused = widths[4 - fusion_levels :]
        self.fusion = nn.ModuleList(fusion_block(width, fused[s - 1] if s else None) for s, width in enumerate(fused))

    def _global_maps(self, x: Tensor) -> list[Tensor]:
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        x = F.dropout(x, self.dropout, self.training)
        maps = []
        for s, stage in enumerate(self.global_stages):
            x = stage(self.merging[s - 1](x) if s else x)
            maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _local_maps(self, x: Tensor) -> list[Tensor]:
        maps = []
        for s, stage in enumerate(self.local_stages):
            x = stage(self.downsample[s - 1](x) if s else self.stem(x))
            maps.append(x)
        return maps

    def fuse(self, local_maps: list[Tensor], global_maps: list[Tensor]) -> list[Tensor]:
        """The fused maps from those of the two branches, as :meth:`branches` gives them for an image on the grid."""
        plain = len(local_maps) - len(self.fusion)
        summed = [a + b for a, b in zip(local_maps[:plain], global_maps[:plain], strict=True)]
        fused: list[Tensor] = []
        for fuse, local_map, global_map in zip(self.fusion, local_maps[plain:], global_maps[plain:], strict=True):
            fused.append(fuse(local_map, global_map, fused[-1] if fused else None))
        return [*summed, *fused]

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the four fused maps, strides 4, 8, 16, 32."""
        return self.fuse(self._local_maps(x), self._global_maps(x))

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits ``(N, num_classes)`` from the last fused map: mean over its pixels, layer norm, linear."""
        logits: Tensor = self.head(self.norm(features[-1].mean((2, 3))))
        return logits

    def branches(self, x: Tensor) -> Branches:
        """``(N, in_channels, H, W)``, any H and W -> the local, the global and the fused maps.

        Raises:
            ValueError: ``x`` is not such an image.
        """
        height, width = x.shape[-2:]
        x = self.to_grid(x)
        local_maps, global_maps = self._local_maps(x), self._global_maps(x)
        sizes = [(-(-height // f.stride), -(-width // f.stride)) for f in self.feature_info]
        return Branches(
            *(
                [m[..., :h, :w] for m, (h, w) in zip(maps, sizes, strict=True)]
                for maps in (local_maps, global_maps, self.fuse(local_maps, global_maps))
            )
        )

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        head = nn.Linear(self.head.in_features, num_classes)
        _initialise(head, conv_std=0.0)
        self.head = head.to(self.head.weight)


def window_attentions(
    widths: Sequence[int], num_heads: Sequence[int], **options: Any
) -> Callable[[int, bool], WindowAttention]:
    """What makes the attention of a block from its stage and whether it is shifted."""
    _check_stages(widths=widths, num_heads=num_heads)
    return lambda stage, shifted: WindowAttention(widths[stage], num_heads[stage], shift=shifted, **options)


def _initialise(module: nn.Module, conv_std: float) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else conv_std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_stages(**options: Sequence[int]) -> None:
    for option, values in options.items():
        if len(values) != 4 or not all(isinstance(value, int) and value > 0 for value in values):
            raise ValueError(f"{option} is {list(values)}; give four whole numbers of at least 1, one a stage")
