"""A map cut into a grid of regions, and attention of every token to the best tokens of the regions it is routed to.

What DSSA and STAR-DSSA share (arXiv 2506.03684, and ``glocal.nn.star_dssa``). Nothing is gathered per query: keys and
values of the routed regions are fetched once a region, and selection leaves zeros in one matrix of weights.

Legend: N batch, H W map, C channels, h heads, d channels of a head, R regions, r tokens of a region, k routed regions.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RegionGrid", "affinity", "best_regions", "largest", "routed_attention"]


@dataclass(frozen=True)
class RegionGrid:
    """How a map is cut: regions of one size, numbered row by row, the last ones overhanging the map."""

    height: int
    """H of the map."""
    width: int
    region: tuple[int, int]
    """Rows and columns of a region, in tokens."""

    @classmethod
    def of(cls, height: int, width: int, n_win: int) -> RegionGrid:
        """The grid with ``n_win`` regions an axis; more where the sides are no multiples, fewer on smaller maps."""
        return cls(height, width, (max(1, height // n_win), max(1, width // n_win)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        return -(-self.height // self.region[0]), -(-self.width // self.region[1])

    @property
    def regions(self) -> int:
        """R."""
        return self.shape[0] * self.shape[1]

    @property
    def tokens(self) -> int:
        """R."""
        return self.region[0] * self.region[1]

    @property
    def overhang(self) -> tuple[int, int]:
        """Rows and columns by which the grid is larger than the map."""
        return self.shape[0] * self.region[0] - self.height, self.shape[1] * self.region[1] - self.width

    def cut(self, x: Tensor, value: float = 0.0) -> Tensor:
        """``(N, H, W, ...)`` -> a view ``(N, rows, columns, tokens down, tokens across, ...)``, padded with ``value``.

        The last two axes of the map's tokens are not yet joined, so that further axes can be permuted in one copy.
        """
        down, across = self.overhang
        if down or across:
            x = F.pad(x, (0, 0) * (x.ndim - 3) + (0, across, 0, down), value=value)
        x = torch.unflatten(x, 2, (self.shape[1], self.region[1]))
        return torch.unflatten(x, 1, (self.shape[0], self.region[0])).transpose(2, 3)

    def heads(self, x: Tensor, num_heads: int) -> Tensor:
        """``(N, H, W, C)`` -> a view ``(N, h, rows, columns, tokens down, tokens across, d)``, zero-padded."""
        return torch.unflatten(self.cut(x), -1, (num_heads, -1)).movedim(5, 1)

    def join(self, tokens: Tensor) -> Tensor:
        """``(N, h, R, r, d)`` -> ``(N, H, W, C)``, the padding cut off."""
        x = torch.unflatten(torch.unflatten(tokens, 3, self.region), 2, self.shape).permute(0, 2, 4, 3, 5, 1, 6)
        return x.flatten(5).flatten(3, 4).flatten(1, 2)[:, : self.height, : self.width]

    def real(self, device: torch.device | None = None) -> Tensor:
        """``(R, r)``, bool: which tokens lie in the map."""
        ones = torch.ones(1, self.height, self.width, device=device)
        return self.cut(ones).reshape(self.regions, self.tokens) > 0

    def means(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """``(R, r)``: weights of the tokens in the plain mean of their region; 0 for padding."""
        real = self.real(device).to(dtype or torch.get_default_dtype())
        return real / real.sum(1, keepdim=True)

    def distances(self, device: torch.device | None = None) -> Tensor:
        """``(R, R)``: Chebyshev distance of two regions, in regions."""
        row, column = (
            c.flatten() for c in torch.meshgrid(*(torch.arange(n, device=device) for n in self.shape), indexing="ij")
        )
        return torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())


def affinity(q: Tensor, k: Tensor, weights: Tensor) -> Tensor:
    """How well the mean key of every region answers the mean query of every other, heads together, unscaled.

    Args:
        q: Queries ``(N, h, R, r, d)``.
        k: Keys, of the same shape.
        weights: Of the tokens in the mean of their region, ``(R, r)`` or ``(N, R, r)``; 0 for padding.

    Returns:
        ``(N, R, R)``, in at least float32; under autocast too, for near ties decide the routing.
    """
    precise = torch.promote_types(q.dtype, torch.float32)
    weights = weights.reshape(-1, 1, *weights.shape[-2:], 1)
    with _full_precision(q.device):
        q_NRC, k_NRC = ((weights * t.to(precise)).sum(3).transpose(1, 2).flatten(2) for t in (q, k))
        return q_NRC @ k_NRC.transpose(1, 2)


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast switched off, where the device knows it."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def best_regions(scores: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest of each row, best first; of equal ones the first are chosen.

    Args:
        scores: ``(N, R, R)``.
        count: k.

    Returns:
        ``(N, R, k)``, without a gradient.
    """
    scores = scores.detach()
    return scores.masked_fill(~largest(scores, count), float("-inf")).topk(count, -1).indices


def largest(scores: Tensor, count: int) -> Tensor:
    """Which entries are among the ``count`` largest of the last axis: exactly so many, of equal ones the first.

    Args:
        scores: ``(..., candidates)``.
        count: At least 1.

    Returns:
        ``(..., candidates)``, bool.
    """
    with torch.no_grad():
        threshold = scores.topk(count, -1, sorted=False).values.amin(-1, keepdim=True)
        above, level = scores > threshold, scores == threshold
        room = count - above.sum(-1, keepdim=True, dtype=torch.int32)
        return above | (level & (level.cumsum(-1, dtype=torch.int32) <= room))


def routed_attention(
    q: Tensor,
    kv: Tensor,
    index: Tensor,
    keep: int,
    scale: float,
    real: Tensor | None = None,
    gain: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Every token attends to the ``keep`` best tokens of the regions that its own region is routed to.

    Args:
        q: Queries ``(N, h, R, r, d)``.
        kv: Keys and values side by side, ``(N, h, R, r, 2d)``.
        index: Routed regions of each region, ``(N, R, k)``.
        keep: Candidates kept, of ``k·r``; 0: the output is 0.
        scale: Factor of the scores.
        real: ``(R, r)``: which tokens are candidates; None: all.
        gain: ``(N, h, R, k)``: factor of the values of each routed region; None: 1.

    Returns:
        Output ``(N, h, R, r, d)``, and scores of all candidates ``(N, h, R, r, k·r)`` before any was left out.
    """
    batch, heads, regions, tokens, width = q.shape
    routes = index.shape[-1]
    first = torch.arange(batch * heads, device=q.device).reshape(batch, heads, 1, 1) * regions
    rows = (index[:, None] + first).flatten()
    routed = kv.reshape(-1, tokens * 2 * width).index_select(0, rows).reshape(-1, routes * tokens, 2 * width)
    k_routed, v_routed = routed.chunk(2, -1)
    scores = (q.reshape(-1, tokens, width) * scale) @ k_routed.transpose(1, 2)
    shape = (batch, heads, regions, tokens, routes * tokens)
    if keep == 0:
        return torch.zeros_like(q), scores.reshape(shape)
    candidates = scores
    if real is not None:
        hidden = ~real[index].flatten(2)[:, None, :, None]
        candidates = scores.reshape(shape).masked_fill(hidden, float("-inf")).reshape(scores.shape)
    if keep < routes * tokens:
        candidates = candidates.masked_fill(~largest(candidates, keep), float("-inf"))
    weights = candidates.softmax(-1)
    if gain is not None:
        by_region = weights.reshape(batch, heads, regions, tokens, routes, tokens)
        weights = (by_region * gain.to(weights.dtype)[:, :, :, None, :, None]).reshape(scores.shape)
    out = weights @ v_routed
    return out.reshape(q.shape), scores.reshape(shape)
