"""Blocks of HiPerformer against their published form, written step by step, and where they are taken alone."""

from __future__ import annotations

import naive_hiperformer as naive
import pytest
import torch
from block_makers import maps
from torch import nn

import glocal
import glocal.nn as blocks

SIZES = [(1, 1), (5, 9), (8, 6), (13, 2)]
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def shaken(block: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its initial value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in block.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand(value.shape, generator=generator)
    return block.eval()


def agree(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@each_size
def test_channel_affinity(size: tuple[int, int]) -> None:
    block = shaken(blocks.ChannelAffinity())
    x = maps(size, channels=20)
    agree(block(x), naive.channel_affinity(block, x))


@each_size
@pytest.mark.parametrize("channels", [(8, 16), (64, 128), (12, 20)], ids=str)
def test_pyramid_squeeze_attention(size: tuple[int, int], channels: tuple[int, int]) -> None:
    block = shaken(blocks.PyramidSqueezeAttention(*channels, reduction=2))
    x = maps(size, channels=channels[0])
    agree(block(x), naive.pyramid_squeeze(block, x))


@each_size
def test_attention_gate(size: tuple[int, int]) -> None:
    block = shaken(blocks.GroupedAttentionGate(24, 12, groups=8))
    decoder, skip = maps(size, channels=24), maps(size, channels=24, seed=1)
    agree(block(decoder, skip), naive.attention_gate(block, decoder, skip))


@each_size
def test_patch_merging(size: tuple[int, int]) -> None:
    block = shaken(blocks.PatchMerging(12, 20))
    x = maps(size).permute(0, 2, 3, 1)
    agree(block(x), naive.patch_merging(block, x))


@pytest.mark.parametrize("size", [(32, 32), (64, 96)], ids=str)
def test_the_whole_network(size: tuple[int, int]) -> None:
    network = shaken(glocal.create_model("hiperformer_tiny", drop_path=0.0).double())
    x = maps(size, channels=3).double()
    with torch.no_grad():
        expected = naive.naive_hiperformer(network, x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(network(x), expected, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(glocal.deploy(network)(x), expected, atol=1e-10, rtol=1e-10)
        network.train()
        torch.testing.assert_close(network(x), naive.naive_hiperformer(network, x), atol=1e-10, rtol=1e-10)


# Channel affinity


def test_the_published_affinity_takes_the_least_similar_channels_and_equation_8_the_most() -> None:
    """Channel 0 and 1 are equal, channel 2 is their opposite."""
    x = torch.tensor([3.0, 3.0, -3.0])[None, :, None, None].expand(1, 3, 4, 4)
    inverted, direct = blocks.ChannelAffinity(gain=False), blocks.ChannelAffinity("direct", gain=False)
    agree(inverted(x) - x, -x)
    agree(direct(x) - x, x)


def test_affinity_starts_as_the_identity() -> None:
    x = maps((5, 4))
    assert torch.equal(blocks.ChannelAffinity()(x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_products_beyond_half_precision_stay_finite_under_autocast(dtype: torch.dtype) -> None:
    """Sums over 128×128 pixels exceed 65504, the largest float16."""
    x = 3 * maps((128, 128), batch=1, channels=4)
    block = shaken(blocks.ChannelAffinity())
    assert (x.flatten(2) @ x.flatten(2).mT).max() > 65504
    with torch.autocast("cpu", dtype):
        half = block(x)
    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), block(x), atol=0.05, rtol=0.05)


# Multiplicative pyramid


def test_a_level_of_zeros_silences_the_finer_ones_but_not_the_deeper_one() -> None:
    pyramid = blocks.MultiplicativePyramid([4, 8, 16]).eval()
    levels = [maps((12, 8), channels=4), maps((6, 4), channels=8), maps((3, 2), channels=16)]
    before = pyramid(levels)
    for norm in (pyramid.own[1][2].norm, pyramid.own[1][0].norm):
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    after = pyramid(levels)
    assert torch.equal(after[2], levels[2])
    assert not after[1].any()
    assert before[1].any()


def test_levels_need_not_halve() -> None:
    pyramid = blocks.MultiplicativePyramid([4, 8]).eval()
    assert pyramid([maps((7, 9), channels=4), maps((2, 5), channels=8)])[0].shape == (2, 4, 7, 9)


# Gates and paths


def test_what_is_gated_is_what_is_scaled() -> None:
    """The gate is one number a pixel between 1 and 2."""
    decoder, skip = maps((5, 4), channels=32), maps((5, 4), channels=32, seed=1)
    for gated, z in (("skip", skip), ("decoder", decoder)):
        block = shaken(blocks.GroupedAttentionGate(32, 16, gated=gated))
        ratio = block(decoder, skip) / z
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-4, rtol=1e-4)
        assert ratio.min() > 1
        assert ratio.max() < 2


def test_the_weights_of_the_scales_share_one_between_them() -> None:
    """With the same kernel at every scale but its padding, the scales would each give a quarter."""
    block = blocks.PyramidSqueezeAttention(8, 16, kernel_sizes=(1, 1, 1, 1), groups=(1, 1, 1, 1)).eval()
    for conv in block.convs:
        conv.load_state_dict(block.convs[0].state_dict())
    x = maps((5, 4), channels=8)
    agree(block(x), (block.convs[0](x) / 4).repeat(1, 4, 1, 1))


def test_the_dilated_path_sees_further() -> None:
    """Two 3×3 convolutions reach 2 pixels, with dilation 2 they reach 4; what is fused reaches as far."""
    block = shaken(blocks.TwoPathBlock(3, 5))
    x = torch.zeros(1, 3, 11, 11)
    y = x.clone()
    y[..., 5, 5] = 1
    changed = {
        name: (path(x) != path(y)).any(1)[0].nonzero().abs().sub(5).abs().max().item()
        for name, path in (("plain", block.plain), ("dilated", block.dilated), ("whole", block))
    }
    assert changed == {"plain": 2, "dilated": 4, "whole": 4}


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: blocks.ChannelAffinity("both"), "use inverted or direct"),
        (lambda: blocks.GroupedAttentionGate(8, 4, gated="none"), "use skip or decoder"),
        (lambda: blocks.MultiplicativePyramid([8]), "at least two levels"),
        (lambda: blocks.PyramidSqueezeAttention(8, 10), "multiple of 4"),
        (lambda: blocks.PyramidSqueezeAttention(8, 8, groups=(1, 2)), "give one a scale"),
        (lambda: blocks.SpatialBottleneckGate(8, 16), "use 1 to 8"),
        (lambda: blocks.SpatialBottleneckGate(8, kernel_size=4), "must be odd"),
        (lambda: blocks.SwinEncoder(num_heads=(3, 6)), "give one a stage"),
        (lambda: blocks.TwoPathBlock(8, 8, dilation=0), "at least 1"),
    ],
)
def test_a_wrong_argument_names_the_cure(make, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        make()


# Swin


def test_a_merging_of_ones_own_takes_the_place_of_patch_merging() -> None:
    class Pool(nn.Module):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()
            self.linear = nn.Linear(in_channels, out_channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 2, ceil_mode=True)
            return self.linear(x.permute(0, 2, 3, 1))

    encoder = blocks.SwinEncoder(3, 8, [1, 1, 1], [1, 2, 4], 4, merging=Pool)
    assert [m.linear.in_features for m in encoder.merging] == [8, 16]
    assert [tuple(m.shape) for m in encoder(maps((30, 41), channels=3))] == [
        (2, 8, 8, 11),
        (2, 16, 4, 6),
        (2, 32, 2, 3),
    ]


def test_norms_of_the_maps_do_not_feed_the_next_stage() -> None:
    torch.manual_seed(0)
    encoder = blocks.SwinEncoder(3, 8, [1, 1], [1, 2], 4).eval()
    x = maps((16, 16), channels=3)
    before = encoder(x)
    nn.init.zeros_(encoder.norms[0].weight)
    after = encoder(x)
    assert not after[0].any()
    assert torch.equal(after[1], before[1])


def test_drop_path_rises_over_all_blocks() -> None:
    encoder = blocks.SwinEncoder(3, 8, [1, 3], [1, 2], drop_path=0.3)
    rates = [block.drop_path.rate for stage in encoder.stages for block in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
