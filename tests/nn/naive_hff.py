"""HiFuse's fusion block step by step, as the paper lists them, channels-first throughout, one library call a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn import HFF, ChannelGate, ConvNorm, InvertedResidualMlp, LayerNorm2d, LevelFusion, SpatialGate


def naive_hff(block: LevelFusion, local_map: Tensor, global_map: Tensor, finer: Tensor | None) -> Tensor:
    """``HFF.forward`` with the parameters of ``block``; training or eval as ``block`` is."""
    assert isinstance(block, HFF)
    assert isinstance(block.mixer, nn.Sequential)
    assert isinstance(block.transform, nn.Sequential)
    mixed = [_conv_norm(local_map, block.local_conv), _conv_norm(global_map, block.global_conv)]
    pooled = None
    if finer is not None:
        assert block.previous_conv is not None
        pooled = F.avg_pool2d(F.relu(_conv_norm(finer, block.previous_conv)), 2)
        mixed = [pooled, *mixed]
    norm, conv, _ = block.mixer
    x = F.gelu(_conv_norm(naive_layer_norm(torch.cat(mixed, 1), norm), conv))
    z = torch.cat([_channel_gate(global_map, block.global_attention), _spatial_gate(local_map, block), x], 1)
    norm, perceptron = block.transform
    out = naive_irmlp(perceptron, naive_layer_norm(z, norm))
    return out if pooled is None else out + pooled


def naive_irmlp(block: nn.Module, x: Tensor) -> Tensor:
    """``InvertedResidualMlp.forward`` likewise; of a block that is not merged."""
    assert isinstance(block, InvertedResidualMlp)
    assert block.norm is not None
    y = F.gelu(F.conv2d(x, block.conv.weight, padding=1, groups=block.conv.groups)) + x
    y = F.gelu(F.conv2d(_batch_norm(y, block.norm), block.expand.weight))
    return _conv_norm(y, block.project)


def naive_layer_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """``LayerNorm2d.forward`` likewise."""
    assert isinstance(norm, LayerNorm2d)
    centred = x - x.mean(1, keepdim=True)
    x = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return x * norm.weight[:, None, None] + norm.bias[:, None, None]


def _channel_gate(x: Tensor, gate: nn.Module) -> Tensor:
    assert isinstance(gate, ChannelGate)
    total = torch.zeros(())
    for pooled in (F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)):
        total = total + F.conv2d(F.relu(F.conv2d(pooled, gate.fc1.weight)), gate.fc2.weight)
    weights = total.sigmoid()
    return x * (weights.sigmoid() if gate.gate == "double_sigmoid" else weights)


def _spatial_gate(x: Tensor, block: HFF) -> Tensor:
    gate = block.local_attention
    assert isinstance(gate, SpatialGate)
    statistics = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
    return x * _conv_norm(statistics, gate.conv).sigmoid()


def _conv_norm(x: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, ConvNorm)
    assert layer.norm is not None
    conv = layer.conv
    return _batch_norm(F.conv2d(x, conv.weight, conv.bias, padding=conv.padding), layer.norm)


def _batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum or 0.0, norm.eps
    )
