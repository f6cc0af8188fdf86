"""Branches that merge into one convolution: the same function, in every shape."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from glocal.models import deploy
from glocal.nn import ConvNorm, MultiBranchBlock, ReparamConv2d

TABLE_6 = [
    ("square",),
    ("large",),
    ("hor", "ver"),
    ("square", "large"),
    ("square", "hor", "ver"),
    ("large", "hor", "ver"),
    ("large", "square", "ver", "hor"),
    ("large", "square", "ver", "hor", "dilation"),
    ("large", "square", "ver", "hor", "dilation", "big_large"),
]
MERGED_SIZES = [(3, 3), (5, 5), (3, 3), (5, 5), (3, 3), (5, 5), (5, 5), (9, 9), (9, 9)]


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """Norms as after some training: no statistic at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low in (
                (part.weight, 0.5),
                (part.bias, -1.0),
                (part.running_mean, -1.0),
                (part.running_var, 0.3),
            ):
                tensor.data.uniform_(low, low + 1.5, generator=generator)
    return module.eval()


@pytest.mark.parametrize(("branches", "size"), list(zip(TABLE_6, MERGED_SIZES, strict=True)))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_merging_keeps_the_function(branches, size, dtype, tolerance: float) -> None:
    conv = trained(ReparamConv2d(6, branches)).to(dtype)
    x = torch.randn(2, 6, 11, 8, dtype=dtype)
    before = conv(x)
    conv.merge()
    torch.testing.assert_close(conv(x), before, atol=tolerance, rtol=0)
    assert {name: tuple(p.shape) for name, p in conv.named_parameters()} == {
        "fused.weight": (6, 1, *size),
        "fused.bias": (6,),
    }


kernels = st.builds(
    lambda h, w, d: f"{2 * h + 1}x{2 * w + 1}d{d}", st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)
)


@settings(max_examples=30, deadline=None)
@given(
    branches=st.lists(kernels, min_size=1, max_size=4, unique=True),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_any_odd_kernels_with_any_dilation_merge_on_any_map(branches, size) -> None:
    conv = trained(ReparamConv2d(3, branches)).double()
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    before = conv(x)
    conv.merge()
    torch.testing.assert_close(conv(x), before, atol=1e-12, rtol=0)


def test_merging_twice_changes_nothing() -> None:
    conv = trained(ReparamConv2d(4))
    conv.merge()
    state = copy.deepcopy(conv.state_dict())
    conv.merge()
    assert all(torch.equal(state[name], tensor) for name, tensor in conv.state_dict().items())


@pytest.mark.parametrize("module", [ReparamConv2d(4), ConvNorm(nn.Conv2d(4, 4, 3))])
def test_merging_is_refused_while_training(module) -> None:
    with pytest.raises(ValueError, match=r"call \.eval\(\) first"):
        module.train().merge()
    assert any(isinstance(part, nn.BatchNorm2d) for part in module.modules()), "it is as it was"


def test_a_merged_state_fits_a_network_built_merged() -> None:
    conv = trained(ReparamConv2d(4, ("large", "dilation")))
    conv.merge()
    twin = ReparamConv2d(4, ("large", "dilation"), merged=True)
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(1, 4, 7, 7)
    assert torch.equal(twin(x), conv(x))


@pytest.mark.parametrize("bias", [True, False])
def test_deploying_a_block_folds_its_expansion_too(bias: bool) -> None:
    block = trained(MultiBranchBlock(5, 12, 7, bias=bias))
    x = torch.randn(2, 5, 9, 6)
    fast = deploy(block)
    torch.testing.assert_close(fast(x), block(x), atol=1e-5, rtol=0)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in block.modules()), "deploy works on a copy"


def test_the_branches_see_the_batch_while_training_and_all_learn() -> None:
    block = MultiBranchBlock(3, 8, 4).train()
    block(torch.randn(4, 3, 8, 8)).square().mean().backward()
    silent = [name for name, p in block.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []


@pytest.mark.parametrize(
    ("branches", "cure"),
    [
        ((), "name at least one"),
        (("large", "large"), "twice"),
        (("4x4",), "odd"),
        (("huge",), "use large, square"),
        ({"a.b": "3x3"}, "plain word"),
        ({"keys": "3x3"}, "plain word"),
        ((3,), "plain word"),
    ],
)
def test_a_wrong_set_of_branches_names_the_cure(branches, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        ReparamConv2d(4, branches)
