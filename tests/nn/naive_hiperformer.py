"""The blocks of HiPerformer as their published code computes them: step by step, one tensor for each sentence.

They take the blocks of the package for their weights and share nothing else with them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import glocal.nn as blocks


def layer_norm_2d(norm: blocks.LayerNorm2d, x: Tensor) -> Tensor:
    """Mean, difference, square, mean, quotient, scale: seven passes over the map."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + norm.eps)
    return norm.weight[:, None, None] * x + norm.bias[:, None, None]


def channel_affinity(block: blocks.ChannelAffinity, x: Tensor) -> Tensor:
    """With the pass for the largest product of each row."""
    query, key = x.flatten(2), x.flatten(2).permute(0, 2, 1)
    energy = torch.bmm(query, key)
    energy = energy.max(-1, keepdim=True)[0].expand_as(energy) - energy
    return block.gamma * torch.bmm(energy.softmax(-1), query).view_as(x) + x


def pyramid_squeeze(block: blocks.PyramidSqueezeAttention, x: Tensor) -> Tensor:
    """A squeeze-excitation of 1×1 convolutions for each scale, a softmax over the scales, then the largest first."""
    maps, vectors = [], []
    for conv in block.convs:
        y = F.conv2d(x.contiguous(), conv.weight.contiguous(), conv.bias, padding=conv.padding, groups=conv.groups)
        pooled = F.adaptive_avg_pool2d(y, 1)
        hidden = F.relu(F.conv2d(pooled, block.squeeze.weight[:, :, None, None], block.squeeze.bias))
        vectors.append(torch.sigmoid(F.conv2d(hidden, block.excite.weight[:, :, None, None], block.excite.bias)))
        maps.append(y)
    weights = torch.softmax(torch.stack(vectors, 0), 0)
    return torch.cat([y * w for y, w in zip(maps[::-1], weights.flip(0), strict=True)], 1)


def attention_gate(block: blocks.GroupedAttentionGate, decoder: Tensor, skip: Tensor) -> Tensor:
    """With the ReLU of the sum, which changes nothing."""
    a = F.relu(block.decoder.norm(block.decoder.conv(decoder)))
    b = F.relu(block.skip.norm(block.skip.conv(skip)))
    p = torch.sigmoid(block.gate.norm(block.gate.conv(F.relu(a + b))))
    return skip * p + skip


def patch_merging(block: blocks.PatchMerging, x: Tensor) -> Tensor:
    """Four strided slices, concatenated in the official order."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    slices = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
    return F.linear(block.norm(torch.cat(slices, -1)), block.reduction.weight)
