"""Stepwise patch merging and PVT's attention step by step, as published: five tokens a window, all of them attended."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn import GuidedLocalEnhancement, MultiScaleAggregation, SpatialReductionAttention, StepwisePatchMerging


def _normed(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def multi_scale_aggregation(block: MultiScaleAggregation, x: Tensor) -> Tensor:
    """``(N, C, H, W)`` -> ``(N, D, H, W)``, norms by their running statistics."""
    width = x.shape[1] // 4
    groups = [conv(part) for conv, part in zip(block.local, torch.split(x, width, 1), strict=True)]
    interleaved = torch.cat([groups[i][:, j : j + 1] for j in range(width) for i in range(4)], 1)
    mixed = F.conv2d(interleaved, block.mix.conv.weight, block.mix.conv.bias, groups=width)
    mixed = F.gelu(_normed(block.mix.norm, mixed))
    return F.conv2d(mixed, block.project.weight[:, :, None, None], block.project.bias)


def window_attention(tokens: Tensor, weight: Tensor, bias: Tensor, num_heads: int = 8) -> Tensor:
    """``(M, tokens, D)`` -> the same: queries, keys and values of every token, no projection behind."""
    q, k, v = F.linear(tokens, weight, bias).unflatten(2, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def guided_local_enhancement(block: GuidedLocalEnhancement, x: Tensor) -> Tensor:
    """``(N, D, H, W)`` with even sides -> ``(N, D, H / 2, W / 2)``, norms by their running statistics."""
    guide = block.guide(F.gelu(_normed(block.guide_norm, x)))
    pixels = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    tokens = torch.stack([guide, *pixels], -1).permute(0, 2, 3, 4, 1)
    size = tokens.shape[:3]
    attended = window_attention(block.norm0(tokens.flatten(0, 2)), block.qkv.weight, block.qkv.bias)
    return block.norm1(attended)[:, 0].unflatten(0, size).permute(0, 3, 1, 2)


def stepwise_patch_merging(block: StepwisePatchMerging, x: Tensor) -> Tensor:
    """``(N, C, H, W)`` with even sides -> ``(N, D, H / 2, W / 2)``."""
    return guided_local_enhancement(block.gle, multi_scale_aggregation(block.msa, x))


def spatial_reduction_attention(block: SpatialReductionAttention, x: Tensor) -> Tensor:
    """``(N, H, W, C)`` -> the same, head by head."""
    source = x
    if block.sr is not None:
        source = block.norm(block.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    q, source = block.q(x).flatten(1, 2), source.flatten(1, 2)
    keys, values = block.kv(source).chunk(2, -1)
    heads = []
    for qh, kh, vh in zip(*(t.chunk(block.num_heads, -1) for t in (q, keys, values)), strict=True):
        heads.append((qh @ kh.transpose(1, 2) * qh.shape[-1] ** -0.5).softmax(-1) @ vh)
    return block.proj(torch.cat(heads, -1)).view(x.shape)
