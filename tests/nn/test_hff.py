"""HiFuse's fusion block: its steps one by one, what merging keeps, what a wrong map is told."""

from __future__ import annotations

import copy

import pytest
import torch
from block_makers import maps
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_hff import naive_hff, naive_irmlp
from torch import Tensor, nn

from glocal.models.network import deploy
from glocal.nn import HFF, BottleneckHFF, ChannelGate, ConvNeXtBlock, ConvNorm, InvertedResidualMlp, SpatialGate


def trained(module: nn.Module) -> nn.Module:
    """In eval mode, with norms that have seen images."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low in (
                (part.weight, 0.5),
                (part.bias, -0.5),
                (part.running_mean, -0.5),
                (part.running_var, 0.5),
            ):
                tensor.data.uniform_(low, low + 1)
    return module.double().eval()


def three_maps(size: tuple[int, int], first: bool, batch: int = 2) -> tuple[Tensor, Tensor, Tensor | None]:
    finer = maps((2 * size[0], 2 * size[1] + 1), batch, 8, seed=2).double()
    return maps(size, batch, 12, 0).double(), maps(size, batch, 20, 1).double(), None if first else finer


def block(first: bool = False, **options) -> HFF:
    made = HFF(16, None if first else 8, local_channels=12, global_channels=20, reduction=4, **options)
    trained(made)
    return made


@settings(max_examples=10, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    first=st.booleans(),
    irmlp=st.sampled_from(["dense", "depthwise"]),
    channel_gate=st.sampled_from(["sigmoid", "double_sigmoid"]),
)
def test_it_is_its_steps(size, first: bool, irmlp, channel_gate) -> None:
    fusion, inputs = block(first, irmlp=irmlp, channel_gate=channel_gate), three_maps(size, first)
    expected = naive_hff(fusion, *inputs)
    torch.testing.assert_close(fusion(*inputs), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(deploy(fusion)(*inputs), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("first", [True, False])
def test_it_trains_like_its_steps(first: bool) -> None:
    fusion, inputs = block(first).train(), three_maps((5, 4), first)
    gradients = []
    for forward in (fusion, lambda *inputs: naive_hff(fusion, *inputs)):
        fusion.zero_grad()
        forward(*inputs).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in fusion.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_a_wide_block_on_a_small_map_is_the_same_by_its_product(pixels: int) -> None:
    wide = InvertedResidualMlp(96, 8)
    trained(wide)
    x = maps((pixels, 2), 1, 96).double()
    expected = naive_irmlp(wide, x)
    merged = copy.deepcopy(wide)
    for part in (merged, merged.project):
        part.merge()
    torch.testing.assert_close(merged(x), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(merged.float()(x.float()), expected.float(), atol=1e-5, rtol=1e-5)


def test_merging_leaves_no_norm_and_is_refused_while_training() -> None:
    merged = deploy(block())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in merged.modules())
    with pytest.raises(ValueError, match=r"call \.eval\(\) first"):
        block().train().transform[1].merge()


def test_a_block_of_a_first_level_has_no_part_for_what_it_does_not_take() -> None:
    first, later = block(first=True), block()
    assert first.previous_conv is None
    assert sum(p.numel() for p in later.parameters()) - sum(p.numel() for p in first.parameters()) == (
        (8 * 16 + 3 * 16)  # the convolution of the previous map and its norm
        + 16 * 16
        + 2 * 16  # a third more for the mixer
    )


def test_a_dropped_perceptron_leaves_the_previous_map() -> None:
    fusion, inputs = block(drop_path=0.999), three_maps((3, 3), first=False, batch=3)
    fusion.train()
    torch.manual_seed(0)
    out = fusion(*inputs)
    pooled = nn.functional.avg_pool2d(torch.relu(fusion.previous_conv(inputs[2])), 2)
    torch.testing.assert_close(out, pooled, atol=1e-12, rtol=0)


def test_the_gain_of_a_convnext_block_is_folded() -> None:
    local = ConvNeXtBlock(12, layer_scale=0.7).double().eval()
    nn.init.normal_(local.gamma)
    x = maps((6, 5)).double()
    fast = deploy(local)
    torch.testing.assert_close(fast(x), local(x), atol=1e-12, rtol=0)
    assert fast.gamma is None


def test_the_channel_gate_of_the_papers_revision_stays_between_half_and_073() -> None:
    x = torch.ones(2, 12, 3, 3)
    gate = ChannelGate(12, 2, "double_sigmoid")
    nn.init.normal_(gate.fc2.weight, std=50)
    out = gate(x)
    assert 0.5 <= out.min() < out.max() <= 1 / (1 + torch.e**-1) + 1e-6


def test_the_june_2022_block_merges_too() -> None:
    fusion = BottleneckHFF(12, 12, reduction=4)
    trained(fusion)
    x, finer = maps((5, 4)).double(), maps((10, 8)).double()
    merged = deploy(fusion)
    torch.testing.assert_close(merged(x, -x, finer), fusion(x, -x, finer), atol=1e-12, rtol=0)
    assert [part.norm for part in merged.modules() if isinstance(part, ConvNorm)] == [None] * 7


@pytest.mark.parametrize(
    ("act", "cure"),
    [
        (lambda: block()(*three_maps((4, 4), first=True)), "previous_channels=None"),
        (lambda: block(first=True)(*three_maps((4, 4), first=False)), "previous_channels="),
        (lambda: block()(*three_maps((4, 4), first=True)[:2], maps((4, 4), channels=8).double()), "twice as large"),
        (lambda: HFF(16, irmlp="sparse"), "'dense' or 'depthwise'"),
        (lambda: HFF(16, channel_gate="softmax"), "'sigmoid' or 'double_sigmoid'"),
        (lambda: SpatialGate(4), "odd"),
    ],
)
def test_what_is_wrong_is_told_with_the_cure(act, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        act()
