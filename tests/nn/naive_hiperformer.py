"""HiPerformer as its published code computes it, channels-first, one library call a step.

The functions take blocks of the package for their weights, not merged, and share nothing else with them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from naive_hff import naive_irmlp, naive_layer_norm
from naive_hifuse import partitioned_window_attention
from torch import Tensor, nn

import glocal.nn as blocks
from glocal.models.hiperformer import HiPerformer


def naive_hiperformer(network: HiPerformer, x: Tensor) -> Tensor:
    """Logits of the default options for an image on the grid; training or eval as it is, without drop path."""
    local_maps, global_maps = _local_branch(network, x), global_branch(network.global_branch, x)
    fused: list[Tensor] = []
    for block, local_map, global_map in zip(network.fusion, local_maps, global_maps, strict=True):
        fused.append(level_fusion(block, local_map, global_map, fused[-1] if fused else None))
    maps = multiplicative_pyramid(network.pyramid, fused)
    x = pyramid_squeeze(network.bottom, maps[3])
    scores = [(network.heads[3](x), 32)]
    for i in (2, 1, 0):
        decode = network.decoder[i][0]
        x = F.leaky_relu(conv_norm(decode, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)), 0.01)
        gated = attention_gate(network.skips[i].gate, x, maps[i])
        x = pyramid_squeeze(network.skips[i].attention, torch.cat([gated, x], 1))
        x = F.leaky_relu(conv_norm(decode, x), 0.01)
        scores.append((network.heads[i](x), 4 * 2**i))
    logits = [F.interpolate(s, scale_factor=times, mode="bilinear", align_corners=False) for s, times in scores]
    return logits[3] + logits[2] + logits[1] + logits[0]


def _local_branch(network: HiPerformer, x: Tensor) -> list[Tensor]:
    x, maps = F.relu(conv_norm(network.local_branch.stem, x)), []
    for stage in network.local_branch.stages:
        x = F.max_pool2d(x, 2, 2)
        paths = [_residual_path(path, x) for path in (stage.plain, stage.dilated)]
        x = F.relu(conv_norm(stage.fuse, torch.cat(paths, 1)))
        maps.append(x)
    return maps


def _residual_path(path: nn.Module, x: Tensor) -> Tensor:
    y = conv_norm(path.conv2, F.relu(conv_norm(path.conv1, x)))
    return F.relu(y + (x if path.shortcut is None else conv_norm(path.shortcut, x)))


def global_branch(branch: blocks.SwinEncoder, x: Tensor) -> list[Tensor]:
    """Swin with norms on its maps."""
    x, maps = branch.embed_norm(branch.embed(x).flatten(2).transpose(1, 2).unflatten(1, (x.shape[2] // 4, -1))), []
    for i, stage in enumerate(branch.stages):
        x = patch_merging(branch.merging[i - 1], x) if i else x
        for block in stage:
            x = x + partitioned_window_attention(block.attention, block.norm1(x))
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        maps.append(branch.norms[i](x).permute(0, 3, 1, 2).contiguous())
    return maps


def level_fusion(block: blocks.LevelFusion, local_map: Tensor, global_map: Tensor, finer: Tensor | None) -> Tensor:
    """LGFF."""
    parts = [conv_norm(block.local_conv, local_map), conv_norm(block.global_conv, global_map)]
    pooled = None
    if finer is not None:
        pooled = F.avg_pool2d(F.relu(conv_norm(block.previous_conv, finer)), 2)
        parts = [pooled, *parts]
    norm, conv, _ = block.mixer
    mixed = F.gelu(conv_norm(conv, naive_layer_norm(torch.cat(parts, 1), norm)))
    local_gate = block.local_attention
    gate = torch.sigmoid(conv_norm(local_gate.expand, F.relu(conv_norm(local_gate.reduce, local_map))))
    attended = [channel_affinity(block.global_attention, global_map), local_map * gate]
    norm, perceptron = block.transform
    out = naive_irmlp(perceptron, naive_layer_norm(torch.cat([*attended, mixed], 1), norm))
    return out if pooled is None else pooled + out


def channel_affinity(block: blocks.ChannelAffinity, x: Tensor) -> Tensor:
    """ACI, with the pass for the largest product of each row."""
    query, key = x.flatten(2), x.flatten(2).permute(0, 2, 1)
    energy = torch.bmm(query, key)
    energy = energy.max(-1, keepdim=True)[0].expand_as(energy) - energy
    return block.gamma * torch.bmm(energy.softmax(-1), query).view_as(x) + x


def multiplicative_pyramid(pyramid: blocks.MultiplicativePyramid, maps: list[Tensor]) -> list[Tensor]:
    """PMI of levels that halve."""
    out = [maps[3]]
    for i in (2, 1, 0):
        below = F.interpolate(out[0], scale_factor=2, mode="bilinear", align_corners=True)
        out.insert(0, _branch(pyramid.up[i], below) * _branch(pyramid.own[i], maps[i]))
    return out


def _branch(branch: nn.Module, x: Tensor) -> Tensor:
    return F.relu(conv_norm(branch[2], F.relu(conv_norm(branch[0], x))))


def pyramid_squeeze(block: blocks.PyramidSqueezeAttention, x: Tensor) -> Tensor:
    """PSA: 1×1 convolutions for each scale, a softmax over the scales, the scales then in reverse."""
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
    """EAG, with the ReLU of the sum, which changes nothing."""
    a, b = F.relu(conv_norm(block.decoder, decoder)), F.relu(conv_norm(block.skip, skip))
    p = torch.sigmoid(conv_norm(block.gate, F.relu(a + b)))
    return skip * p + skip


def patch_merging(block: blocks.PatchMerging, x: Tensor) -> Tensor:
    """Four strided slices, concatenated in the official order."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    slices = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
    return F.linear(block.norm(torch.cat(slices, -1)), block.reduction.weight)


def conv_norm(layer: nn.Module, x: Tensor) -> Tensor:
    """A convolution and its batch norm, as two steps."""
    conv, norm = layer.conv, layer.norm
    x = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum or 0.0, norm.eps
    )
