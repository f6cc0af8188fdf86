"""The fast forms of the convolutional comparison networks against their published forms."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glocal.nn import ASPP, DilatedConv2d, InvertedResidual, MobileNetV2Encoder, NearestUpsampleConv, ResNetEncoder


def busy(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.eval()


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (2, 9)])
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_upsampling_before_the_convolution_is_the_same(size: tuple[int, int], channels: int) -> None:
    """Both ways that the block takes, values and gradients."""
    block = busy(NearestUpsampleConv(channels, 4)).double()
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    conv, norm = block.layer.conv, block.layer.norm
    expected = F.relu(norm(conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))))
    torch.testing.assert_close(block(x), expected)
    seed = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad((block(x) * seed).sum(), [x, conv.weight, conv.bias]),
        torch.autograd.grad((expected * seed).sum(), [x, conv.weight, conv.bias]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (9, 4), (5, 5), (6, 6), (12, 13)])
@pytest.mark.parametrize("groups", [1, 6])
def test_taps_beyond_the_map_are_not_missed(size: tuple[int, int], groups: int) -> None:
    conv = DilatedConv2d(6, 12, 5, groups=groups).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    plain = F.conv2d(x, conv.weight, conv.bias, padding=5, dilation=5, groups=groups)
    torch.testing.assert_close(conv(x), plain)


@pytest.mark.parametrize("pooled", [False, True])
def test_norms_of_an_aspp_fold_into_what_follows(pooled: bool) -> None:
    block = busy(ASPP(6, 5, (1, 4, 9), pooled=pooled)).double()
    merged = copy.deepcopy(block)
    for _ in range(2):
        merged.merge()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in merged.branches.modules())
    x = torch.randn(2, 6, 11, 8, dtype=torch.float64)
    torch.testing.assert_close(merged(x), block(x))
    with pytest.raises(ValueError, match="training mode"):
        ASPP(6, 5).merge()


def test_beyond_the_border_an_expansion_of_zero_is_seen() -> None:
    """The published order: pad, expand, convolve without padding."""
    block = busy(InvertedResidual(4, 4, dilation=2, pad_before_expansion=True))
    x = torch.randn(2, 4, 7, 8)
    padded = F.relu6(block.expand(F.pad(x, (2, 2, 2, 2))))
    depthwise = block.depthwise.conv
    y = F.relu6(block.depthwise.norm(F.conv2d(padded, depthwise.weight, dilation=2, groups=24)))
    torch.testing.assert_close(block(x), x + block.project(y))
    usual = busy(InvertedResidual(4, 4, dilation=2))
    usual.load_state_dict(block.state_dict())
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(usual(x)[inside], block(x)[inside])
    assert (usual(x) - block(x)).abs().max() > 1e-3


def dilations(encoder: nn.Module) -> list[int]:
    """Of every 3×3 convolution behind the stem, in order."""
    return [m.dilation[0] for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


@pytest.mark.parametrize(
    ("output_stride", "expected"), [(32, [1] * 16), (16, [1] * 14 + [2] * 2), (8, [1] * 8 + [2] * 6 + [4] * 2)]
)
def test_dilation_of_resnet(output_stride: int, expected: list[int]) -> None:
    """The first block of a stage that dilates keeps the dilation of the stage before."""
    assert dilations(ResNetEncoder(3, 4, output_stride=output_stride)) == expected


@pytest.mark.parametrize(
    ("output_stride", "early", "expected"),
    [
        (8, False, [1] * 10 + [2] * 6 + [4]),
        (16, False, [1] * 16 + [2]),
        (8, True, [1] * 7 + [2] * 7 + [4] * 3),
        (16, True, [1] * 14 + [2] * 3),
    ],
)
def test_dilation_of_mobilenet(output_stride: int, early: bool, expected: list[int]) -> None:
    """The tables of the two lineages of DeepLabv3+."""
    encoder = MobileNetV2Encoder(3, output_stride, dilate_early=early, pad_before_expansion=True)
    assert dilations(encoder.blocks) == expected


def test_impossible_strides_are_told() -> None:
    for encoder in (ResNetEncoder, MobileNetV2Encoder):
        with pytest.raises(ValueError, match="use 8, 16 or 32"):
            encoder(3, output_stride=4)
