"""DSSA and STAR-DSSA in their published, plain form: one copy of keys and values a query region, kept tokens gathered.

Independent of ``glocal.nn`` but for the parameters it is given: the slow reference of the tests and of the benchmark.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def naive(block: nn.Module, x: Tensor) -> Tensor:
    """What ``block`` computes on ``x``, ``(N, H, W, C)``, with its parameters and options."""
    batch, height, width, channels = x.shape
    heads = block.num_heads
    depth = channels // heads
    rows, columns = max(1, height // block.n_win), max(1, width // block.n_win)
    down, across = -(-height // rows), -(-width // columns)
    tokens, regions = rows * columns, down * across
    routed = min(block.topk, regions)

    q, k, v = F.linear(x, block.qkv.weight, block.qkv.bias).split(channels, -1)
    saliency = getattr(block, "saliency", None)
    s = x.new_zeros(batch, height, width)
    if saliency is not None:
        s = saliency(x.permute(0, 3, 1, 2))[:, 0]

    def windows(t: Tensor, fill: float = 0.0) -> Tensor:  # (N, R, r, ...)
        padded = t.new_full((batch, down * rows, across * columns, *t.shape[3:]), fill)
        padded[:, :height, :width] = t
        parts = padded.reshape(batch, down, rows, across, columns, *t.shape[3:]).transpose(2, 3)
        return parts.reshape(batch, regions, tokens, *t.shape[3:])

    share = windows(s, float("-inf")).softmax(-1)[..., None]  # over the real tokens of each region
    q_NRrC, k_NRrC, v_NRrC = windows(q), windows(k), windows(v)
    q_mean, k_mean = ((share * t.detach()).sum(2) for t in (q_NRrC, k_NRrC))
    ranked = scores = q_mean @ k_mean.transpose(1, 2)
    gain_of_head = getattr(block, "route_gain", None)
    topology = getattr(block, "topology_weight", None)
    if topology is not None or gain_of_head is not None:
        scores = standardised(scores)
    if topology is not None:
        place = torch.stack([torch.arange(regions) // across, torch.arange(regions) % across], 1).to(x)
        near = torch.exp(-torch.cdist(place, place, p=float("inf")))
        ranked = scores = scores + topology * standardised(near)
    index = ranked.detach().topk(routed, -1).indices  # (N, R, k)

    def fetched(t: Tensor) -> Tensor:  # (N, h, R, k·r, d)
        every = t[:, None].expand(batch, regions, *t.shape[1:])
        chosen = every.gather(2, index[..., None, None].expand(-1, -1, -1, tokens, channels))
        return chosen.reshape(batch, regions, routed * tokens, heads, depth).permute(0, 3, 1, 2, 4)

    q_NhRrd = q_NRrC.reshape(batch, regions, tokens, heads, depth).permute(0, 3, 1, 2, 4)
    k_NhRcd, v_NhRcd = fetched(k_NRrC), fetched(v_NRrC)
    logits = block.scale * (q_NhRrd @ k_NhRcd.transpose(3, 4))
    if block.mask_padding:
        real = windows(torch.ones_like(s))[:, None].expand(-1, regions, -1, -1)
        real = real.gather(2, index[..., None].expand(-1, -1, -1, tokens)).reshape(batch, 1, regions, 1, -1)
        logits = logits.masked_fill(real == 0, float("-inf"))
    keep = routed * tokens
    if block.pixel_topk:
        keep = min(keep, max(block.min_keep, keep // block.keep_divisor))
    chosen = logits.detach().topk(keep, -1).indices
    values = v_NhRcd[..., None, :, :].expand(-1, -1, -1, tokens, -1, -1)
    kept = values.gather(4, chosen[..., None].expand(-1, -1, -1, -1, -1, depth))
    weights = logits.gather(-1, chosen).softmax(-1)
    if gain_of_head is not None:
        gain = 2 * torch.sigmoid(gain_of_head[:, None, None] * scores.gather(-1, index)[:, None])
        gain = gain[:, :, :, None].expand(-1, -1, -1, tokens, -1)
        weights = weights * gain.gather(-1, chosen // tokens)
    out = (weights[..., None] * kept).sum(-2)  # (N, h, R, r, d)
    out = out.permute(0, 2, 3, 1, 4).reshape(batch, down, across, rows, columns, channels)
    out = out.transpose(2, 3).reshape(batch, down * rows, across * columns, channels)[:, :height, :width]
    return F.linear(out + local_context(block, v), block.proj.weight, block.proj.bias)


def local_context(block: Any, v: Tensor) -> Tensor | float:
    if block.lce is None:
        return 0.0
    local = block.lce(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    gate = getattr(block, "local_gate", None)
    return local if gate is None else local * 2 * torch.sigmoid(gate(local.mean((1, 2), keepdim=True)))


def standardised(t: Tensor) -> Tensor:
    return (t - t.mean(-1, keepdim=True)) / torch.sqrt(t.var(-1, correction=0, keepdim=True) + 1e-6)
