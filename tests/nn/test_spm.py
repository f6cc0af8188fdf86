"""Stepwise patch merging and PVT's attention: equal to the published steps, and what they promise beside."""

from __future__ import annotations

import naive_spm as naive
import pytest
import torch
import torch.nn.functional as F
from block_makers import maps
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import glocal
from glocal import nn as blocks

WIDTHS = [(4, 8), (12, 24), (64, 40)]
EVEN = [(2, 2), (6, 10), (14, 4)]
each_width = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def shaken(block: nn.Module) -> nn.Module:
    """The block in eval mode with every parameter and statistic away from its initial value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in block.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand(value.shape, generator=generator)
    return block.eval()


def agree(ours: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * max(1.0, expected.abs().max().item()))


# The published steps


@each_width
@pytest.mark.parametrize("size", [(1, 1), (5, 9), *EVEN], ids=str)
def test_multi_scale_aggregation(widths: tuple[int, int], size: tuple[int, int]) -> None:
    block = shaken(blocks.MultiScaleAggregation(*widths))
    x = maps(size, channels=widths[0])
    agree(block(x), naive.multi_scale_aggregation(block, x))


@pytest.mark.parametrize("channels", [8, 40, 128])
@pytest.mark.parametrize("size", EVEN, ids=str)
def test_guided_local_enhancement(channels: int, size: tuple[int, int]) -> None:
    block = shaken(blocks.GuidedLocalEnhancement(channels))
    x = maps(size, channels=channels)
    agree(block(x), naive.guided_local_enhancement(block, x))


@each_width
def test_gradients_of_the_merging(widths: tuple[int, int]) -> None:
    block = shaken(blocks.StepwisePatchMerging(*widths)).double()
    x = maps((6, 4), channels=widths[0]).double().requires_grad_()
    leaves = [x, *block.parameters()]
    gradients = [
        torch.autograd.grad(form(x).pow(3).mean(), leaves)
        for form in (block, lambda x: naive.stepwise_patch_merging(block, x))
    ]
    for ours, expected in zip(*gradients, strict=True):
        agree(ours, expected, 1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (7, 5), (6, 9)], ids=str)
def test_an_odd_side_is_padded_with_zeros_before_the_merging(size: tuple[int, int]) -> None:
    block = shaken(blocks.StepwisePatchMerging(12, 24))
    x = maps(size)
    padded = F.pad(x, (0, size[1] % 2, 0, size[0] % 2))
    agree(block(x), naive.stepwise_patch_merging(block, padded))


def test_the_order_of_a_window_does_not_matter_and_keys_need_no_bias() -> None:
    qkv = nn.Linear(16, 48)
    tokens = torch.randn(7, 5, 16)
    out = blocks.guided_attention(tokens[:, 0], tokens, qkv, num_heads=4)
    shuffled = tokens[:, [3, 0, 4, 1, 2]]
    agree(blocks.guided_attention(tokens[:, 0], shuffled, qkv, num_heads=4), out)
    agree(naive.window_attention(tokens, qkv.weight, qkv.bias, 4)[:, 0], out)
    out.square().mean().backward()
    query, key, value = qkv.bias.grad.chunk(3)
    assert not key.any()
    assert query.any()
    assert value.any()


@pytest.mark.parametrize("reduction", [1, 2, 4])
@pytest.mark.parametrize("size", [(4, 4), (9, 6), (7, 11)], ids=str)
def test_spatial_reduction_attention(reduction: int, size: tuple[int, int]) -> None:
    block = shaken(blocks.SpatialReductionAttention(12, 3, reduction))
    x = maps(size).permute(0, 2, 3, 1)
    agree(block(x), naive.spatial_reduction_attention(block, x))


def test_pixels_that_fill_no_patch_are_no_keys() -> None:
    block = shaken(blocks.SpatialReductionAttention(12, 3, 4))
    x = maps((9, 6)).permute(0, 2, 3, 1)
    other = x.clone()
    other[:, 8:] += 1
    other[:, :, 4:] -= 1
    assert torch.equal(block(x)[:, :8, :4], block(other)[:, :8, :4])
    agree(
        block(x[:, :2, :3]),
        naive.spatial_reduction_attention(block, F.pad(x[:, :2, :3], (0, 0, 0, 1, 0, 2)))[:, :2, :3],
    )


def test_queries_may_be_few() -> None:
    block = shaken(blocks.SpatialReductionAttention(12, 3))
    tokens = torch.randn(2, 9, 12)
    agree(block(tokens[:, :1], tokens), block(tokens)[:, :1])


# Cost (specification, sections 2.3 and 5)


@pytest.mark.parametrize(
    ("widths", "side", "parameters", "published"),
    [
        ((64, 128), 56, (20_096, 56_704), 263.8),
        ((128, 320), 28, (89_408, 326_080), 376.4),
        ((320, 512), 14, (346_112, 816_640), 262.5),
    ],
)
def test_cost_of_the_transitions_of_pvt(widths, side, parameters, published) -> None:
    with torch.device("meta"):
        block = blocks.StepwisePatchMerging(*widths).eval()
        x = torch.empty(1, widths[0], side, side)
    assert tuple(sum(p.numel() for p in part.parameters()) for part in (block.msa, block.gle)) == parameters
    counts = []
    for form in (block, lambda x: naive.stepwise_patch_merging(block, x)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            form(x)
        counts.append(counter.get_total_flops() // 2)
    c, d = widths
    assert counts[1] == side**2 * (49 * c + 2 * c * d) + side**2 // 4 * (15 * d**2 + 99 * d)
    assert f"{counts[1] / 1e6:.1f}" == f"{published}"
    assert counts[0] == side**2 * (49 * c + 2 * c * d) + side**2 // 4 * (3 * d**2 + 129 * d)


# Norms, initial values, wrong arguments


def test_frozen_norms_stay_as_they_are_in_training() -> None:
    block = shaken(blocks.StepwisePatchMerging(12, 24, frozen_norm=True))
    before = {name: value.clone() for name, value in block.state_dict().items()}
    x = maps((6, 8))
    expected = block(x)
    block.train()
    out = block(x)
    assert torch.equal(out, expected)
    out.square().mean().backward()
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    assert block.msa.mix.norm.weight.grad.any()
    assert block.state_dict().keys() == blocks.StepwisePatchMerging(12, 24).state_dict().keys()


def test_norms_can_be_made_to_share_their_statistics() -> None:
    block = shaken(blocks.StepwisePatchMerging(12, 24))
    x = maps((6, 8))
    expected = block(x)
    shared = nn.SyncBatchNorm.convert_sync_batchnorm(block)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in shared.modules()) == 2
    agree(shared(x), expected)


def test_deploying_folds_the_norm_of_the_mixing() -> None:
    block = shaken(blocks.StepwisePatchMerging(12, 24))
    fast = glocal.deploy(block)
    x = maps((6, 8))
    agree(fast(x), block(x))
    assert fast.msa.mix.norm is None
    with pytest.raises(ValueError, match="training mode"):
        block.train().msa.mix.merge()


def test_initial_values() -> None:
    torch.manual_seed(0)
    block = blocks.StepwisePatchMerging(256, 512)
    expected = {
        **{f"msa.local.{i}.weight": 2**0.5 / k for i, k in enumerate((3, 5, 7, 9))},
        "msa.mix.conv.weight": 0.5,
        "msa.project.weight": (2 / 512) ** 0.5,
        "gle.qkv.weight": 0.02,
    }
    parameters = dict(block.named_parameters())
    for name, std in expected.items():
        assert parameters[name].std().item() == pytest.approx(std, rel=0.1), name
        assert not parameters[name.replace("weight", "bias")].any()
    assert parameters["gle.guide.weight"].abs().max() <= 1 / 7


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: blocks.MultiScaleAggregation(10, 16), "multiple of 4"),
        (lambda: blocks.GuidedLocalEnhancement(20), "multiple of 8"),
        (lambda: blocks.StepwisePatchMerging(12, 20), "out_channels is 20"),
        (lambda: blocks.StepwisePatchMerging(10, 24), "in_channels is 10"),
        (
            lambda: blocks.guided_attention(torch.rand(2, 16), torch.rand(2, 5, 16), nn.Linear(16, 48), 5),
            "num_heads may",
        ),
        (lambda: blocks.SpatialReductionAttention(12, 5), "num_heads may be 1, 2, 3"),
        (lambda: blocks.SpatialReductionAttention(12, 3, 0), "at least 1"),
        (lambda: blocks.SpatialReductionAttention(12, 3, dropout=1.0), "probability"),
    ],
)
def test_a_wrong_argument_names_the_cure(make, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        make()
