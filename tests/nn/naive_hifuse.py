"""HiFuse's forward pass as published: norms channels-first, biases and masks made anew at each call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from naive_hff import naive_hff, naive_layer_norm
from torch import Tensor

from glocal.models.hifuse import HiFuse
from glocal.nn import LevelFusion, LocalBlock, PatchMerging, WindowAttention, WindowBlock


def naive_hifuse(network: HiFuse, x: Tensor) -> Tensor:
    """Logits of ``network``; training or eval as it is, without dropout and drop path."""
    fused: Tensor | None = None
    local_map, tokens = x, x
    for s, block in enumerate(network.fusion):
        local_map = _local_stage(network, s, local_map)
        tokens = _global_stage(network, s, tokens)
        assert isinstance(block, LevelFusion)
        fused = naive_hff(block, local_map, tokens.permute(0, 3, 1, 2).contiguous(), fused)
    assert fused is not None
    logits: Tensor = network.head(network.norm(fused.mean((2, 3))))
    return logits


def _local_stage(network: HiFuse, s: int, x: Tensor) -> Tensor:
    if s == 0:
        x = naive_layer_norm(network.stem[0](x), network.stem[1])
    else:
        norm, conv = network.downsample[s - 1].children()
        x = conv(naive_layer_norm(x, norm))
    for block in network.local_stages[s].children():
        assert isinstance(block, LocalBlock)
        y = F.gelu(block.linear(block.norm(block.depthwise(x).permute(0, 2, 3, 1))))
        x = x + y.permute(0, 3, 1, 2)
    return x


def _global_stage(network: HiFuse, s: int, x: Tensor) -> Tensor:
    if s == 0:
        x = network.embed_norm(network.embed(x).permute(0, 2, 3, 1))
    else:
        merging = network.merging[s - 1]
        assert isinstance(merging, PatchMerging)
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        x = merging.reduction(merging.norm(torch.cat(parts, -1)))
    for block in network.global_stages[s].children():
        assert isinstance(block, WindowBlock)
        assert isinstance(block.attention, WindowAttention)
        x = x + F.gelu(block.linear(partitioned_window_attention(block.attention, block.norm(x))))
    return x


def partitioned_window_attention(block: WindowAttention, x: Tensor) -> Tensor:
    """``(N, H, W, C)`` -> the same: windows cut out, scores in memory, bias and mask gathered, windows put back."""
    batch, height, width, channels = x.shape
    w, shift = block.window_size, block.shift
    x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
    rows, columns = x.shape[1:3]
    x = torch.roll(x, (-shift, -shift), (1, 2))
    windows = _cut(x, w)
    qkv = block.qkv(windows).reshape(len(windows), w * w, 3, block.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = (qkv[0] * qkv.shape[-1] ** -0.5) @ qkv[1].transpose(-2, -1) + _bias(block)
    if shift:
        region = torch.zeros(1, rows, columns, 1)
        for i, down in enumerate((slice(0, -w), slice(-w, -shift), slice(-shift, None))):
            for j, right in enumerate((slice(0, -w), slice(-w, -shift), slice(-shift, None))):
                region[:, down, right] = 3 * i + j
        regions = _cut(region, w)[..., 0]
        mask = torch.zeros(len(regions), w * w, w * w).masked_fill(regions[:, None] != regions[:, :, None], -100.0)
        scores = (scores.unflatten(0, (batch, -1)) + mask[None, :, None].to(scores)).flatten(0, 1)
    out = block.proj((scores.softmax(-1) @ qkv[2]).transpose(1, 2).flatten(2))
    out = out.reshape(batch, rows // w, columns // w, w, w, channels).transpose(2, 3).reshape(batch, rows, columns, -1)
    return torch.roll(out, (shift, shift), (1, 2))[:, :height, :width].contiguous()


def _cut(x: Tensor, w: int) -> Tensor:
    batch, rows, columns, channels = x.shape
    x = x.reshape(batch, rows // w, w, columns // w, w, channels).transpose(2, 3)
    return x.reshape(-1, w * w, channels)


def _bias(block: WindowAttention) -> Tensor:
    w = block.window_size
    at = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")).flatten(1)
    away = at[:, :, None] - at[:, None] + w - 1
    rows = away[0] * (2 * w - 1) + away[1]
    return block.relative_position_bias_table[rows.flatten()].reshape(w * w, w * w, -1).permute(2, 0, 1).contiguous()
