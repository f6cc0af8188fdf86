"""Dual sparse selection attention: regions are routed to regions, then tokens to tokens (DSSAU-Net, arXiv 2506.03684).

Without the second selection it is the bi-level routing attention of BiFormer (Zhu et al., CVPR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from glocal.nn.global_attention import head_width
from glocal.nn.regions import RegionGrid, affinity, best_regions, routed_attention

__all__ = ["DualSparseSelectionAttention", "Routes"]


@dataclass(frozen=True)
class Routes:
    """Where the regions of a map look."""

    grid: RegionGrid
    index: Tensor
    """``(N, R, k)``: regions each region is routed to, best first."""
    scores: Tensor
    """``(N, R, R)``: what was ranked; row i belongs to the queries of region i."""
    gain: Tensor | None = None
    """``(N, h, R, k)``: factor of the values of each routed region; None: 1."""
    saliency: Tensor | None = None
    """``(N, H, W)``: logit of each token in the mean of its region; None: all count the same."""


class DualSparseSelectionAttention(nn.Module):
    """DSSA: the regions of a map attend to the best regions, their tokens to the best tokens there, plus a convolution.

    The map is cut into ``n_win`` × ``n_win`` regions. The mean query of a region ranks the mean keys of all; its tokens
    then attend, per head, to the best ``1/keep_divisor`` of the tokens in the ``topk`` best regions. Both selections
    are hard and carry no gradient. A depth-wise convolution of the values (local context enhancement) is added.

    Args:
        channels: Channels C of a token.
        num_heads: Heads; must divide ``channels``.
        topk: Regions each region is routed to; more than there are means all.
        n_win: Regions an axis.
        side_dwconv: Side of the depth-wise kernel, odd; 0: no convolution is added.
        scale: Factor of the scores: ``"channels"`` is C^-1/2 as the published code has it, ``"head"`` is
            head_dim^-1/2 as is usual; or a number.
        pixel_topk: False: attend to all tokens of the routed regions (bi-level routing attention).
        keep_divisor: One in so many tokens is kept, rounded down.
        min_keep: Tokens kept at least. Published: 0; with few tokens a region then nothing is kept, and only the
            convolution remains.
        mask_padding: Where regions overhang the map: leave the padding out. Published: it competes as zeros.

    Raises:
        ValueError: Heads that do not divide the channels, or a number out of its range.

    Example:
        >>> import torch
        >>> from glocal.nn import DualSparseSelectionAttention
        >>> attention = DualSparseSelectionAttention(96, num_heads=3, topk=4)
        >>> attention(torch.rand(2, 32, 24, 96)).shape
        torch.Size([2, 32, 24, 96])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        topk: int = 4,
        *,
        n_win: int = 8,
        side_dwconv: int = 5,
        scale: Literal["channels", "head"] | float = "channels",
        pixel_topk: bool = True,
        keep_divisor: int = 8,
        min_keep: int = 0,
        mask_padding: bool = False,
    ) -> None:
        super().__init__()
        width = head_width(channels, num_heads)
        for name, value, least in (
            ("topk", topk, 1),
            ("n_win", n_win, 1),
            ("keep_divisor", keep_divisor, 1),
            ("min_keep", min_keep, 0),
            ("side_dwconv", side_dwconv, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
        if side_dwconv and side_dwconv % 2 == 0:
            raise ValueError(f"side_dwconv is {side_dwconv}; a kernel with a centre needs an odd side, such as 5")
        if isinstance(scale, str) and scale not in ("channels", "head"):
            raise ValueError(f"scale is {scale!r}; use channels, head or a number")
        if not isinstance(scale, str) and not 0 < scale < float("inf"):
            raise ValueError(f"scale is {scale!r}; a number must be above 0")
        self.num_heads, self.topk, self.n_win = num_heads, topk, n_win
        self.scale = scale if not isinstance(scale, str) else (channels if scale == "channels" else width) ** -0.5
        self.pixel_topk, self.keep_divisor, self.min_keep = pixel_topk, keep_divisor, min_keep
        self.mask_padding = mask_padding
        self.qkv = nn.Linear(channels, 3 * channels)
        self.lce: nn.Conv2d | None = None
        if side_dwconv:
            self.lce = nn.Conv2d(channels, channels, side_dwconv, padding=side_dwconv // 2, groups=channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``, any H and W."""
        return self.with_scores(x)[0]

    def with_scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output ``(N, H, W, C)``, and the scaled scores before the second selection.

        Returns:
            Output, and scores ``(N, h, R, r, k·r)``: candidates in the order of the routed regions, best first, row by
            row inside a region.
        """
        q, k, v = self.qkv(x).split(x.shape[-1], -1)
        grid = RegionGrid.of(x.shape[1], x.shape[2], self.n_win)
        q_NhRrd = _tokens(grid.heads(q, self.num_heads))
        kv_NhRre = _tokens(torch.cat([grid.heads(k, self.num_heads), grid.heads(v, self.num_heads)], -1))
        routes = self.route(x, q_NhRrd.detach(), kv_NhRre[..., : q_NhRrd.shape[-1]].detach(), grid)
        keep = self.kept(grid)
        real = grid.real(x.device) if self.mask_padding and any(grid.overhang) else None
        out, scores = routed_attention(q_NhRrd, kv_NhRre, routes.index, keep, self.scale, real, routes.gain)
        y: Tensor = self.proj(self.add_local(grid.join(out), v))
        return y, scores

    def kept(self, grid: RegionGrid) -> int:
        """Tokens each token attends to."""
        candidates = min(self.topk, grid.regions) * grid.tokens
        if not self.pixel_topk:
            return candidates
        return min(candidates, max(self.min_keep, candidates // self.keep_divisor))

    def route(self, x: Tensor, q: Tensor, k: Tensor, grid: RegionGrid) -> Routes:
        """Rank the regions for each region: the first selection.

        Args:
            x: The input, ``(N, H, W, C)``.
            q: Queries ``(N, h, R, r, d)``, padded with zeros and detached: routing leaves no trace in them.
            k: Keys, likewise.
            grid: The regions.
        """
        scores = affinity(q, k, grid.means(q.device, torch.promote_types(q.dtype, torch.float32)))
        return Routes(grid, best_regions(scores, min(self.topk, grid.regions)), scores)

    def add_local(self, out: Tensor, v: Tensor) -> Tensor:
        """The attention's output plus local context enhancement of the values; all ``(N, H, W, C)``."""
        return out if self.lce is None else out + self.lce(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    @torch.no_grad()
    def explain(self, x: Tensor) -> Routes:
        """Where the regions of ``x``, ``(N, H, W, C)``, look; without a gradient."""
        q, k, _ = self.qkv(x).split(x.shape[-1], -1)
        grid = RegionGrid.of(x.shape[1], x.shape[2], self.n_win)
        q, k = (_tokens(grid.heads(t, self.num_heads)) for t in (q, k))
        return self.route(x, q, k, grid)

    def true_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds: projections, affinity, scores of all candidates, values of those kept, the convolution."""
        batch, height, width, channels = output.shape
        grid = RegionGrid.of(height, width, self.n_win)
        candidates, tokens = min(self.topk, grid.regions) * grid.tokens, height * width
        local = 0 if self.lce is None else self.lce.weight[0].numel()
        padded = grid.regions * grid.tokens
        attention = padded * (candidates + self.kept(grid)) + grid.regions**2
        return batch * channels * (tokens * (4 * channels + local) + attention)


def _tokens(regions: Tensor) -> Tensor:
    """``(N, h, rows, columns, tokens down, tokens across, d)`` -> ``(N, h, R, r, d)``, one copy."""
    return regions.flatten(4, 5).flatten(2, 3)
