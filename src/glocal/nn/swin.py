"""The Swin transformer as a feature pyramid (arXiv 2103.14030, §3.1), with patch merging exchangeable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.drop_path import drop_path_rates
from glocal.nn.transformer import TransformerBlock
from glocal.nn.window_attention import WindowAttention

__all__ = ["PatchMerging", "SwinEncoder", "swin_stage"]


class PatchMerging(nn.Module):
    """Half the size: the four pixels of each 2×2 patch side by side, layer norm, linear without bias.

    An odd side is padded by a row or column of zeros first. The order of the four in the channels is that of the
    official code and of HiFuse: (row 0, column 0), (1, 0), (0, 1), (1, 1).

    Args:
        in_channels: C.
        out_channels: C'; default: 2C.

    Example:
        >>> import torch
        >>> from glocal.nn import PatchMerging
        >>> merge = PatchMerging(24)
        >>> merge(torch.rand(2, 7, 9, 24)).shape
        torch.Size([2, 4, 5, 48])
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels)
        out_channels = 2 * in_channels if out_channels is None else out_channels
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, ceil(H / 2), ceil(W / 2), C')``."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5).flatten(3)
        out: Tensor = self.reduction(self.norm(x))
        return out


def swin_stage(
    channels: int,
    num_heads: int,
    window_size: int = 7,
    *,
    drop_path: Sequence[float],
    mlp_ratio: float = 4,
    shift_single_window: bool = False,
) -> nn.Sequential:
    """Transformer blocks with windowed attention, every second one with shifted windows.

    Args:
        channels: C.
        num_heads: Heads of each block.
        window_size: Side of a window.
        drop_path: Drop-path rate of each block; as many as there are blocks.
        mlp_ratio: Width of the perceptrons' middle, in multiples of ``channels``.
        shift_single_window: As in :class:`WindowAttention`.

    Returns:
        Maps ``(N, H, W, C)`` to the same shape.

    Example:
        >>> import torch
        >>> from glocal.nn import swin_stage
        >>> stage = swin_stage(24, num_heads=3, drop_path=[0.0, 0.1])
        >>> stage(torch.rand(2, 10, 15, 24)).shape
        torch.Size([2, 10, 15, 24])
    """
    return nn.Sequential(
        *(
            TransformerBlock(
                channels,
                WindowAttention(
                    channels, num_heads, window_size, shift=i % 2 == 1, shift_single_window=shift_single_window
                ),
                mlp_ratio=mlp_ratio,
                dropout=0.0,
                drop_path=rate,
            )
            for i, rate in enumerate(drop_path)
        )
    )


class SwinEncoder(nn.Module):
    """Patch embedding, then stages of windowed attention, each but the last followed by patch merging.

    Tensors: ``embed`` (the 4×4 convolution), ``embed_norm``, ``stages.{i}.{block}`` (``norm1``, ``attention.qkv``,
    ``attention.proj``, ``attention.relative_position_bias_table``, ``norm2``, ``mlp.fc1``, ``mlp.fc2``),
    ``merging.{i}`` (``norm``, ``reduction``) behind stage i, and with ``stage_norms`` also ``norms.{i}``. The eps of
    every norm is 1e-5.

    Args:
        in_channels: Channels of the image.
        embed_dim: C of the first stage; each next one has twice as many.
        depths: Blocks of each stage.
        num_heads: Heads of each stage.
        window_size: Side of a window.
        mlp_ratio: Width of the perceptrons' middle, in multiples of C.
        drop_path: Rate of the last block; the rates rise linearly from 0, over all blocks.
        stage_norms: Whether each map that is given out has a layer norm of its own, as a backbone of dense prediction
            has. The next stage is fed without it.
        shift_single_window: Whether windows are shifted also where the map is not larger than one. The official
            classification code does not; its detection code and HiPerformer do.
        merging: Makes what halves a map: ``merging(in_channels, out_channels)`` gives a module
            ``(N, H, W, in_channels)`` -> ``(N, ceil(H / 2), ceil(W / 2), out_channels)``.

    Raises:
        ValueError: Not as many heads as stages, or heads that do not divide the channels.

    Example:
        >>> import torch
        >>> from glocal.nn import SwinEncoder
        >>> encoder = SwinEncoder(3, embed_dim=24, depths=[2, 2], num_heads=[3, 6])
        >>> [tuple(m.shape) for m in encoder(torch.rand(1, 3, 64, 90))]
        [(1, 24, 16, 23), (1, 48, 8, 12)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        *,
        mlp_ratio: float = 4,
        drop_path: float = 0.2,
        stage_norms: bool = True,
        shift_single_window: bool = False,
        merging: Callable[[int, int], nn.Module] = PatchMerging,
    ) -> None:
        super().__init__()
        if len(num_heads) != len(depths):
            raise ValueError(f"num_heads is {list(num_heads)} for {len(depths)} stages; give one a stage")
        self.channels = tuple(embed_dim * 2**i for i in range(len(depths)))
        """Of each map."""
        self.embed = nn.Conv2d(in_channels, embed_dim, 4, 4)
        self.embed_norm = nn.LayerNorm(embed_dim)
        self.stages = nn.ModuleList(
            swin_stage(
                channels,
                heads,
                window_size,
                drop_path=rates,
                mlp_ratio=mlp_ratio,
                shift_single_window=shift_single_window,
            )
            for channels, heads, rates in zip(
                self.channels, num_heads, drop_path_rates(drop_path, tuple(depths)), strict=True
            )
        )
        self.merging = nn.ModuleList(merging(c, 2 * c) for c in self.channels[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels if stage_norms)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, in, H, W)`` -> a map of each stage ``(N, C·2^i, ceil(H / 4·2^i), ceil(W / 4·2^i))``, finest first.

        The maps are channels-last in memory.
        """
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4))
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(self.merging[i - 1](x) if i else x)
            out: Tensor = self.norms[i](x) if self.norms else x
            maps.append(out.permute(0, 3, 1, 2))
        return maps
