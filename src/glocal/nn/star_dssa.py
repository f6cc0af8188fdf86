"""STAR-DSSA: DSSA with saliency-weighted, neighbourhood-biased routing that can be trained, and gated local context.

The idea is described in words only, in a blog article of September 2025; no code, formula or number is public. This is
Glocal's definition of it: what it leaves open is decided here. Nothing about its accuracy is known.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from glocal.nn.dssa import DualSparseSelectionAttention, Routes
from glocal.nn.regions import RegionGrid, affinity, best_regions

__all__ = ["StarDSSA"]


class StarDSSA(DualSparseSelectionAttention):
    """Saliency and topology aware routed DSSA. With every addition off it is DSSA, in output and gradient.

    - ``saliency``: salient tokens, as a small convolutional branch sees them, count more in the mean query and key of
      their region.
    - ``topology``: a region prefers its neighbours: ``exp(-d)`` of the Chebyshev distance in regions is mixed into the
      affinity by a learnable weight, both standardised over each row.
    - ``route_gate``: the values of a routed region are multiplied by ``2·sigmoid(gain · score)`` of its routing score.
      Without it nothing of the routing could be trained, since the selection is hard.
    - ``local_gate``: squeeze-excitation of the local context.

    All gates begin at 1 and saliency begins uniform: freshly initialised, with DSSA's weights, ``topology_init=0`` and
    the padding and ``min_keep`` of DSSA, it computes what DSSA computes. Because of these zeros all parameters train
    from the third step on, not from the first.

    Args:
        channels: Channels C of a token.
        num_heads: Heads; must divide ``channels``.
        topk: Regions each region is routed to; more than there are means all.
        n_win: Regions an axis.
        side_dwconv: Side of the depth-wise kernel of the local context, odd; 0: none, and no gate of it.
        scale: As in :class:`DualSparseSelectionAttention`.
        saliency: See above; needs ``route_gate``.
        topology: See above. Without ``route_gate`` its weight is a constant.
        route_gate: See above.
        local_gate: See above.
        pixel_topk: False: attend to all tokens of the routed regions.
        mask_padding: Where regions overhang the map: leave the padding out.
        min_keep: Tokens kept at least.
        keep_divisor: One in so many tokens is kept, rounded down.
        topology_init: Initial weight of the neighbourhood.
        gate_reduction: How much narrower the middle of the local gate is; at least 8 channels are left.

    Raises:
        ValueError: ``saliency`` without ``route_gate``, or what DSSA refuses.

    Example:
        >>> import torch
        >>> from glocal.nn import StarDSSA
        >>> attention = StarDSSA(96, num_heads=3, topk=4)
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
        saliency: bool = True,
        topology: bool = True,
        route_gate: bool = True,
        local_gate: bool = True,
        pixel_topk: bool = True,
        mask_padding: bool = True,
        min_keep: int = 1,
        keep_divisor: int = 8,
        topology_init: float = 0.25,
        gate_reduction: int = 4,
    ) -> None:
        if saliency and not route_gate:
            raise ValueError("saliency without route_gate could not be trained; switch both on, or saliency off too")
        if not isinstance(gate_reduction, int) or gate_reduction < 1:
            raise ValueError(f"gate_reduction is {gate_reduction!r}; it must be a whole number of at least 1")
        super().__init__(
            channels,
            num_heads,
            topk,
            n_win=n_win,
            side_dwconv=side_dwconv,
            scale=scale,
            pixel_topk=pixel_topk,
            keep_divisor=keep_divisor,
            min_keep=min_keep,
            mask_padding=mask_padding,
        )
        self.saliency = _saliency(channels) if saliency else None
        self.topology_weight: Tensor | None
        initial = torch.full((1,), float(topology_init)) if topology else None
        if initial is not None and route_gate:
            self.topology_weight = nn.Parameter(initial)
        else:
            self.register_buffer("topology_weight", initial)
        self.route_gain = nn.Parameter(torch.zeros(num_heads)) if route_gate else None
        self.local_gate = _gate(channels, gate_reduction) if local_gate and side_dwconv else None

    def route(self, x: Tensor, q: Tensor, k: Tensor, grid: RegionGrid) -> Routes:
        """Rank the regions: saliency-weighted means, their affinity, the neighbourhood; then the gain of each route.

        Args:
            x: The input, ``(N, H, W, C)``.
            q: Queries ``(N, h, R, r, d)``, padded with zeros and detached.
            k: Keys, likewise.
            grid: The regions.
        """
        precise = torch.promote_types(q.dtype, torch.float32)
        weights, saliency = grid.means(q.device, precise), None
        if self.saliency is not None:
            saliency = self.saliency(x.permute(0, 3, 1, 2)).squeeze(1)
            weights = _share(grid, saliency.to(precise))
        scores = ranked = affinity(q, k, weights)
        if self.topology_weight is not None or self.route_gain is not None:
            scores = _standardised(scores)
        if self.topology_weight is not None:
            near = _standardised(torch.exp(-grid.distances(q.device).to(precise)))
            scores = ranked = scores + self.topology_weight.to(precise) * near
        index = best_regions(ranked, min(self.topk, grid.regions))
        gain = None
        if self.route_gain is not None:
            routed = scores.gather(-1, index)[:, None]
            gain = 2 * torch.sigmoid(self.route_gain.to(precise)[:, None, None] * routed)
        return Routes(grid, index, scores, gain, saliency)

    def add_local(self, out: Tensor, v: Tensor) -> Tensor:
        """The attention's output plus the gated local context; all ``(N, H, W, C)``."""
        if self.lce is None or self.local_gate is None:
            return super().add_local(out, v)
        local = self.lce(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        gate = 2 * torch.sigmoid(self.local_gate(local.mean((1, 2))))
        enhanced: Tensor = out + gate[:, None, None] * local
        return enhanced

    def true_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds of DSSA, the saliency branch, the gates of routes and the gate of the local context."""
        batch, height, width, channels = output.shape
        grid = RegionGrid.of(height, width, self.n_win)
        macs = super().true_macs(inputs, output)
        if self.saliency is not None:
            macs += batch * height * width * 10 * channels
        if self.local_gate is not None:
            macs += batch * sum(p.numel() for p in self.local_gate.parameters() if p.ndim == 2)
        if self.route_gain is not None:
            macs += batch * grid.regions * min(self.topk, grid.regions) * self.num_heads
        return macs


def _saliency(channels: int) -> nn.Sequential:
    """A depth-wise 3×3, GELU, one logit: a token is salient against its neighbours. Starts at 0."""
    logit = nn.Conv2d(channels, 1, 1, bias=False)
    nn.init.zeros_(logit.weight)
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.GELU(), logit)


def _gate(channels: int, reduction: int) -> nn.Sequential:
    """Two layers from the mean of the local context to a logit a channel. Starts at 0."""
    middle = max(8, channels // reduction)
    logits = nn.Linear(middle, channels)
    nn.init.zeros_(logits.weight)
    nn.init.zeros_(logits.bias)
    return nn.Sequential(nn.Linear(channels, middle), nn.ReLU(), logits)


def _share(grid: RegionGrid, saliency: Tensor) -> Tensor:
    """Logits ``(N, H, W)`` -> weights ``(N, R, r)`` that sum to 1 over the real tokens of each region."""
    logits = grid.cut(saliency, float("-inf"))
    return logits.flatten(3, 4).flatten(1, 2).softmax(-1)


def _standardised(scores: Tensor) -> Tensor:
    """Each row to mean 0 and variance 1, where it varies."""
    centred = scores - scores.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-6)
