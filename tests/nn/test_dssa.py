"""DSSA and STAR-DSSA: the lean form against the published plain one, closed forms, ties, reductions, training."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from naive_dssa import naive
from torch import Tensor, nn

from glocal.nn import DualSparseSelectionAttention, LocallyEnhancedAttention, PyramidPooling, StarDSSA
from glocal.nn.regions import RegionGrid, best_regions, largest

OFF: dict[str, Any] = {
    "saliency": False,
    "topology": False,
    "route_gate": False,
    "local_gate": False,
    "mask_padding": False,
    "min_keep": 0,
}
"""What makes STAR-DSSA DSSA."""
SIZES = [(1, 1), (5, 3), (33, 7), (16, 16), (18, 14), (8, 24)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def image(size: tuple[int, int], channels: int = 12, batch: int = 2, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed + sum(size))
    return torch.randn(batch, *size, channels, generator=random, dtype=torch.float64)


def made(kind: type[nn.Module], *arguments: Any, seed: int = 0, **options: Any) -> Any:
    """In float64, with numbers in place of the zeros that gates start with."""
    torch.manual_seed(seed)
    block = kind(*arguments, **options).double()
    with torch.no_grad():
        for parameter in block.parameters():
            if not parameter.any():
                parameter.uniform_(-1, 1)
    return block


def gradients(block: nn.Module, out: Tensor, x: Tensor) -> dict[str, Tensor]:
    leaves = {"x": x, **dict(block.named_parameters())}
    found = torch.autograd.grad(out.square().mean(), list(leaves.values()), allow_unused=True)
    return {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)}


def close(one: Tensor, other: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def assert_same_function(block: nn.Module, other: Any, x: Tensor) -> None:
    """Equal outputs and gradients of two functions of the parameters of ``block``."""
    x = x.requires_grad_()
    one, two = block(x), other(x)
    close(one, two)
    for (name, a), b in zip(gradients(block, one, x).items(), gradients(block, two, x).values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


DSSA_OPTIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "one region": {"topk": 1},
    "all regions": {"topk": 1000, "n_win": 3},
    "no convolution": {"side_dwconv": 0, "topk": 8},
    "usual": {"scale": "head", "mask_padding": True, "min_keep": 1, "side_dwconv": 3},
    "half kept": {"keep_divisor": 2, "n_win": 5, "scale": 0.7},
    "bi-level": {"pixel_topk": False, "mask_padding": True},
}
STAR_OPTIONS: dict[str, dict[str, Any]] = {
    "whole": {},
    "one region": {"topk": 1},
    "no saliency": {"saliency": False, "n_win": 3},
    "no topology": {"topology": False},
    "constant topology": {"route_gate": False, "saliency": False},
    "no local gate": {"local_gate": False, "topk": 8},
    "unmasked": {"mask_padding": False, "keep_divisor": 3},
    "bi-level": {"pixel_topk": False},
    "nothing": OFF,
}


@sizes
@pytest.mark.parametrize("options", DSSA_OPTIONS.values(), ids=DSSA_OPTIONS)
def test_dssa_is_its_published_plain_form(options: dict[str, Any], size: tuple[int, int]) -> None:
    block = made(DualSparseSelectionAttention, 12, 3, **{"n_win": 4, **options})
    assert_same_function(block, lambda x: naive(block, x), image(size))


@sizes
@pytest.mark.parametrize("options", STAR_OPTIONS.values(), ids=STAR_OPTIONS)
def test_star_dssa_is_its_plain_form(options: dict[str, Any], size: tuple[int, int]) -> None:
    block = made(StarDSSA, 12, 3, **{"n_win": 4, **options})
    assert_same_function(block, lambda x: naive(block, x), image(size))


# Ties


def test_exactly_so_many_are_kept_and_of_equal_ones_the_first() -> None:
    scores = torch.tensor([[0.0, 2.0, 0.0, 0.0, 1.0, 0.0], [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]])
    assert largest(scores, 3).tolist() == [
        [True, True, False, False, True, False],
        [True, True, True, False, False, False],
    ]
    hidden = torch.tensor([[-torch.inf, 1.0, -torch.inf, -torch.inf]])
    assert largest(hidden, 2).tolist() == [[True, True, False, False]]
    assert best_regions(torch.tensor([[[1.0, 5.0, 5.0, 5.0, 7.0]]]), 3).tolist()[0][0][0] == 4
    assert sorted(best_regions(torch.tensor([[[1.0, 5.0, 5.0, 5.0, 7.0]]]), 3).tolist()[0][0]) == [1, 2, 4]


@pytest.mark.parametrize("masked", [False, True])
def test_equal_scores_at_the_border_of_selection_keep_no_more_than_they_should(masked: bool) -> None:
    """A padded grid where the last kept place is contested by padding: keeping all equals would be wrong."""
    block = made(DualSparseSelectionAttention, 8, 1, 9, n_win=3, side_dwconv=0, mask_padding=masked, keep_divisor=2)
    x = image((7, 7), 8, batch=1)  # regions 2x2, grid 4x4 on 8x8: the last row and column are padding
    out, scores = block.with_scores(x)
    close(out, naive(block, x))
    grid = RegionGrid.of(7, 7, 3)
    keep = block.kept(grid)
    routes = block.explain(x).index
    candidates = scores.masked_fill(~grid.real()[routes].flatten(2)[:, None, :, None], -torch.inf) if masked else scores
    threshold = candidates.topk(keep).values[..., -1:]
    level = (candidates >= threshold).sum(-1)
    assert (level > keep).any() or masked, "the case is to contest the last place"
    if not masked:
        weights = candidates.masked_fill(candidates < threshold, -torch.inf).softmax(-1)
        exact = candidates.masked_fill(~largest(candidates, keep), -torch.inf).softmax(-1)
        assert (weights - exact).abs().max() > 1e-3, "keeping all equals would be seen"


def test_equal_tokens_in_reduced_precision_are_chosen_in_order() -> None:
    """Constant maps: all candidates tie, and the result is that of any of them."""
    block = DualSparseSelectionAttention(8, 2, 2, n_win=2, side_dwconv=0).bfloat16()
    x = torch.ones(1, 8, 8, 8, dtype=torch.bfloat16)
    out = block(x)
    assert torch.equal(out, out[:, :1, :1].expand_as(out))


# Geometry


@pytest.mark.parametrize(
    ("side", "region", "grid"), [(32, 4, 8), (40, 5, 8), (20, 2, 10), (28, 3, 10), (24, 3, 8), (5, 1, 5), (1, 1, 1)]
)
def test_the_grid_of_the_specification(side: int, region: int, grid: int) -> None:
    made_grid = RegionGrid.of(side, side, 8)
    assert (made_grid.region, made_grid.shape) == ((region, region), (grid, grid))
    assert made_grid.real().sum() == side * side


def test_regions_are_numbered_row_by_row_and_come_back_as_they_were() -> None:
    grid = RegionGrid.of(18, 14, 4)
    x = torch.arange(18 * 14, dtype=torch.float64).reshape(1, 18, 14, 1)
    tokens = grid.heads(x, 1).flatten(4, 5).flatten(2, 3)
    assert tokens.shape == (1, 1, 25, 12, 1)
    assert tokens[0, 0, 6, :, 0].tolist() == [x[0, 4 + i, 3 + j, 0] for i, j in itertools.product(range(4), range(3))]
    assert torch.equal(grid.join(tokens), x)
    assert grid.distances()[0, 6] == 1
    assert grid.distances()[0, 14] == 4


def test_the_scores_are_those_of_the_routed_regions_best_first() -> None:
    block = made(DualSparseSelectionAttention, 8, 2, 3, n_win=4)
    x = image((16, 12), 8)
    _, scores = block.with_scores(x)
    routes = block.explain(x)
    assert scores.shape == (2, 2, 16, 12, 36)
    chosen = routes.scores.gather(-1, routes.index)
    assert (chosen.diff(dim=-1) <= 0).all()
    q, k, _ = block.qkv(x).split(8, -1)
    region = routes.index[1, 5, 0].item()
    query = q[1, 4, 3, 4:]  # the first token of region 5, second head
    key = k[1, 4 * (region // 4) + 1, 3 * (region % 4) + 2, 4:]  # row 1, column 2 of its best region
    close(scores[1, 1, 5, 0, 1 * 3 + 2], query @ key / 8**0.5)


def test_nothing_kept_leaves_the_local_context() -> None:
    block = made(DualSparseSelectionAttention, 8, 2, 1, n_win=8)
    x = image((16, 16), 8)
    v = block.qkv(x)[..., 16:]
    close(block(x), block.proj(block.lce(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))


@pytest.mark.parametrize("kind", [DualSparseSelectionAttention, StarDSSA])
def test_all_regions_and_tokens_are_ordinary_attention(kind: type[nn.Module]) -> None:
    gates = {} if kind is DualSparseSelectionAttention else OFF
    block = made(kind, 12, 3, 1000, **{**gates, "pixel_topk": False, "mask_padding": True, "n_win": 3, "scale": "head"})
    x = image((10, 7))
    q, k, v = (t.unflatten(-1, (3, 4)).flatten(1, 2).transpose(1, 2) for t in block.qkv(x).split(12, -1))
    out = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
    local = block.lce(block.qkv(x)[..., 24:].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    close(block(x), block.proj(out + local))


# Reductions of STAR-DSSA (its specification, section 4)


def paired(star: dict[str, Any], **options: Any) -> tuple[StarDSSA, DualSparseSelectionAttention]:
    dssa = made(DualSparseSelectionAttention, 12, 3, **options)
    torch.manual_seed(7)
    block = StarDSSA(12, 3, **{**options, **star}).double()
    missing, unexpected = block.load_state_dict(dssa.state_dict(), strict=False)
    assert unexpected == []
    assert {name.partition(".")[0] for name in missing} <= {"saliency", "topology_weight", "route_gain", "local_gate"}
    return block, dssa


@sizes
@pytest.mark.parametrize("pixel_topk", [True, False])
@pytest.mark.parametrize("topk", [1, 4])
def test_with_everything_off_it_is_dssa_in_output_and_gradient(
    size: tuple[int, int], topk: int, pixel_topk: bool
) -> None:
    block, dssa = paired(OFF, topk=topk, n_win=4, pixel_topk=pixel_topk)
    assert block.state_dict().keys() == dssa.state_dict().keys()
    one, two = image(size).requires_grad_(), image(size).requires_grad_()
    out, expected = block(one), dssa(two)
    close(out, expected)
    for a, b in zip(gradients(block, out, one).values(), gradients(dssa, expected, two).values(), strict=True):
        close(a, b)


@sizes
def test_warm_start_from_dssa_is_dssa(size: tuple[int, int]) -> None:
    block, dssa = paired({"mask_padding": False, "min_keep": 0, "topology_init": 0.0}, topk=4, n_win=4)
    close(block(image(size)), dssa(image(size)))


@pytest.mark.parametrize("topk", [1, 4])
def test_every_parameter_trains_from_the_third_step_on(topk: int) -> None:
    torch.manual_seed(0)
    block = StarDSSA(12, 3, topk, n_win=4).double()
    optimiser = torch.optim.SGD(block.parameters(), lr=1e-3)
    idle = []
    for step in range(3):
        optimiser.zero_grad()
        block(image((16, 18), seed=step)).square().sum().backward()
        idle.append({name for name, p in block.named_parameters() if not p.grad.any()})
        optimiser.step()
    waiting = {"topology_weight", "local_gate.0.weight", "local_gate.0.bias"}
    assert idle[0] == {*waiting, "saliency.0.weight", "saliency.0.bias", "saliency.2.weight"}
    assert idle[1] == {"saliency.0.weight", "saliency.0.bias"}
    assert idle[2] == set()


def test_a_neighbourhood_that_outweighs_all_routes_to_neighbours() -> None:
    block = made(StarDSSA, 12, 3, 9, n_win=5, topology_init=1e6)
    routes = block.explain(image((20, 25)))
    middle = 2 * 5 + 2
    near = {(2 + i) * 5 + 2 + j for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert all(set(index.tolist()) == near for index in routes.index[:, middle])
    assert routes.index[0, middle, 0] == middle


def test_salient_tokens_decide_the_routing() -> None:
    """With one token of each region far more salient, the affinity is that of these tokens."""
    block = made(StarDSSA, 12, 3, 2, n_win=4, topology=False)
    x = image((8, 8), batch=1)
    with torch.no_grad():
        block.saliency[0].weight.zero_()
        block.saliency[0].weight[:, :, 1, 1] = 1
        block.saliency[0].bias.zero_()
        block.saliency[2].weight.zero_()
        block.saliency[2].weight[:, 0] = 1e4
    x[..., 0] = -5
    x[:, ::2, ::2, 0] = 1
    q, k, _ = block.qkv(x[:, ::2, ::2]).flatten(1, 2).split(12, -1)
    affinity = q @ k.transpose(1, 2)
    centred = affinity - affinity.mean(-1, keepdim=True)
    routes = block.explain(x)
    close(routes.scores, centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt())
    assert routes.saliency.shape == (1, 8, 8)
    assert (routes.saliency[0, ::2, ::2] > routes.saliency[0, 1::2, 1::2]).all()


TABLE = [(96, 3, 39_744, 45_532), (192, 6, 153_216, 174_007), (384, 12, 601_344, 679_789)]


@pytest.mark.parametrize(("channels", "heads", "dssa", "star"), TABLE)
def test_parameters_are_those_of_the_table(channels: int, heads: int, dssa: int, star: int) -> None:
    with torch.device("meta"):
        blocks = DualSparseSelectionAttention(channels, heads), StarDSSA(channels, heads)
    assert [sum(p.numel() for p in block.parameters()) for block in blocks] == [dssa, star]


def test_switched_off_additions_have_no_parameters() -> None:
    names = {
        "saliency": "saliency",
        "topology": "topology_weight",
        "route_gate": "route_gain",
        "local_gate": "local_gate",
    }
    for switch, name in names.items():
        also = {"saliency": False} if switch == "route_gate" else {}
        block = StarDSSA(12, 3, **{switch: False, **also})
        assert not any(n.startswith(name) for n, _ in block.named_parameters())
    constant = StarDSSA(12, 3, saliency=False, route_gate=False)
    assert "topology_weight" in constant.state_dict()
    assert "topology_weight" not in dict(constant.named_parameters())


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: StarDSSA(12, 3, route_gate=False), "saliency off"),
        (lambda: StarDSSA(12, 3, gate_reduction=0), "gate_reduction"),
        (lambda: DualSparseSelectionAttention(12, 5), "num_heads may be 1, 2, 3"),
        (lambda: DualSparseSelectionAttention(12, 3, 0), "topk is 0"),
        (lambda: DualSparseSelectionAttention(12, 3, side_dwconv=4), "odd side"),
        (lambda: DualSparseSelectionAttention(12, 3, scale="width"), "channels, head"),
        (lambda: LocallyEnhancedAttention(12, 3, 2), "odd side"),
        (lambda: PyramidPooling(12, 3, pool="median"), "max or average"),
    ],
)
def test_a_wrong_option_names_the_cure(make: Any, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        make()


def test_pyramid_pooling_pools_as_pytorch_does() -> None:
    for pool, reference in (("max", nn.functional.adaptive_max_pool2d), ("average", nn.functional.adaptive_avg_pool2d)):
        module = PyramidPooling(4, 3, pool=pool).double().eval()
        x = image((4, 7)).permute(0, 3, 1, 2)[:, :4]
        up = [
            nn.functional.interpolate(branch(reference(x, size)), (4, 7), mode="bilinear", align_corners=True)
            for branch, size in zip(module.branches, (1, 2, 3, 6), strict=True)
        ]
        close(module(x), torch.relu(module.fuse(torch.cat([*up, x], 1))))


def test_copies_route_alike() -> None:
    block = made(StarDSSA, 12, 3, 2, n_win=4)
    x = image((16, 16))
    assert torch.equal(copy.deepcopy(block).explain(x).index, block.explain(x).index)
