"""Counts against closed forms, on single layers and on small networks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import glocal
from glocal.models.complexity import complexity, count_parameters, multiply_adds, papers_count

H, W = 12, 10


class Attention(nn.Module):
    """(N, C, H, W) as H·W tokens that attend to each other in 2 heads, without projections."""

    def forward(self, x):
        q = x.flatten(2).unflatten(1, (2, -1)).transpose(-1, -2)
        return F.scaled_dot_product_attention(q, q, q)


class Bilinear(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")


PIXELS = H * W
LAYERS = {
    "conv": (nn.Conv2d(8, 6, 3, padding=1), PIXELS * 8 * 6 * 9),
    "conv without padding": (nn.Conv2d(8, 6, 3), (H - 2) * (W - 2) * 8 * 6 * 9),
    "strided conv": (nn.Conv2d(8, 6, 3, stride=2, padding=1), PIXELS // 4 * 8 * 6 * 9),
    "grouped conv": (nn.Conv2d(8, 4, 3, padding=1, groups=4), PIXELS * 4 * 2 * 9),
    "depth-wise conv": (nn.Conv2d(8, 8, 5, padding=2, groups=8), PIXELS * 8 * 25),
    "dilated conv": (nn.Conv2d(8, 6, 3, padding=2, dilation=2), PIXELS * 8 * 6 * 9),
    "transposed conv": (nn.ConvTranspose2d(8, 6, 2, stride=2), PIXELS * 8 * 6 * 4),
    "grouped transposed conv": (nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2), PIXELS * 4 * 6 * 4),
    "linear": (nn.Linear(W, 5), 8 * H * W * 5),
    "attention": (Attention(), 2 * 2 * PIXELS * PIXELS * 4),
    "interpolation": (Bilinear(), 0),
    "norm": (nn.BatchNorm2d(8), 0),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_true_count_has_the_closed_form(name, batch):
    layer, expected = LAYERS[name]
    assert multiply_adds(layer, (H, W), in_channels=8, batch=batch) == batch * expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(8, 6, 3, padding=1), PIXELS * 8 * 6 * 9),
        (nn.ConvTranspose2d(8, 6, 2, stride=2), 4 * PIXELS * 8 * 6 * 4),  # four times too high
        (nn.BatchNorm2d(8), 4 * 8 * PIXELS),
        (nn.BatchNorm2d(8, affine=False), 2 * 8 * PIXELS),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 11 * 4 * 8 * PIXELS),
        (nn.Upsample(scale_factor=2, mode="nearest"), 4 * 8 * PIXELS),  # as Attention U-Net's row shows
        (nn.AdaptiveAvgPool2d(1), 8 * (PIXELS + 1)),
        (nn.AvgPool2d(2), 8 * PIXELS // 4),
        (nn.Softmax(dim=1), PIXELS * (3 * 8 - 1)),
        (Attention(), 0),  # not seen
        (Bilinear(), 0),  # not seen
    ],
    ids=lambda value: type(value).__name__,
)
def test_papers_count_follows_the_rules_of_its_counter(layer, expected):
    assert papers_count(layer, (H, W), in_channels=8).multiply_adds == expected


class Own(nn.Conv2d):
    """A layer type that the papers' counter does not know."""


class Aliased(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.low = nn.Sequential(self.whole[0])

    def forward(self, x):
        return self.low(x)


def test_papers_count_misses_layer_types_it_does_not_know():
    counted = papers_count(nn.Sequential(nn.Conv2d(8, 8, 1), Own(8, 8, 1)), (H, W), in_channels=8)
    assert counted.parameters == 8 * 8 + 8
    assert counted.multiply_adds == PIXELS * 64


def test_papers_count_misses_layers_that_never_run():
    network = Aliased()
    network.unused = nn.Conv2d(8, 8, 1)
    alone = papers_count(Aliased(), (H, W), in_channels=8)
    assert papers_count(network, (H, W), in_channels=8) == alone


def test_papers_count_takes_a_layer_in_two_places_for_two_and_its_products_for_four():
    layer = nn.Conv2d(8, 8, 3, padding=1)
    counted = papers_count(Aliased(), (H, W), in_channels=8)
    assert counted.parameters == 2 * count_parameters(layer)
    assert counted.multiply_adds == 4 * PIXELS * 64 * 9
    true = complexity(Aliased(), (H, W), in_channels=8)
    assert true.parameters == count_parameters(layer)
    assert true.multiply_adds == PIXELS * 64 * 9


class Speaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.inner(x)

    def true_macs(self, inputs, output):
        return inputs[0].numel() + 1

    def published_macs(self, inputs, output):
        return output.numel() + 2


def test_a_module_may_speak_for_itself():
    network = nn.Sequential(Speaks(), nn.Conv2d(8, 8, 1))
    cost = complexity(network, (H, W), in_channels=8)
    assert cost.multiply_adds == (8 * PIXELS + 1) + 64 * PIXELS
    assert cost.papers.multiply_adds == (8 * PIXELS + 2) + 64 * PIXELS
    assert [stage.multiply_adds for stage in cost.stages] == [8 * PIXELS + 1, 64 * PIXELS]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(8, 8, 1)
        self.scale = nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return self.body(self.body(x)) + torch.einsum("nchw,dc->ndhw", x, self.scale)


def test_stages_sum_to_the_whole_with_what_is_outside_the_children():
    cost = complexity(Residual(), (H, W), in_channels=8)
    assert [(s.name, s.parameters, s.multiply_adds) for s in cost.stages] == [
        ("body", 72, 2 * 64 * PIXELS),
        ("(other)", 64, 64 * PIXELS),
    ]
    assert cost.multiply_adds == 3 * 64 * PIXELS
    assert cost.parameters == 136


class Levels(nn.Module):
    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)])

    def forward(self, x):
        return self.levels[1](self.levels[0](x))


def test_a_list_of_modules_gives_a_stage_for_each():
    cost = complexity(Levels(), (H, W), in_channels=8)
    assert [(s.name, s.multiply_adds) for s in cost.stages] == [("levels.0", 64 * PIXELS), ("levels.1", 576 * PIXELS)]


def test_lmnet_has_the_products_that_its_spec_counts_and_those_of_the_neighbourhoods():
    """PyTorch's counter gives 5.194 G for the published code; the local attention adds 2·9·C·H·W a level."""
    neighbourhoods = sum(2 * 9 * channels * (256 // s) ** 2 for channels, s in ((12, 1), (24, 2), (48, 4), (96, 8)))
    cost = complexity(glocal.create_model("lmnet"), (256, 256))
    assert neighbourhoods == 26_542_080
    assert round((cost.multiply_adds - neighbourhoods) / 1e9, 3) == 5.194


def test_the_papers_counter_does_not_see_tables_outside_stock_layers():
    plain, biased = (complexity(glocal.create_model("lmnet", rel_pos_bias=b), (32, 32)) for b in (False, True))
    assert biased.parameters - plain.parameters == 1200
    assert biased.papers == plain.papers


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(network.state_dict())
    complexity(network, (H, W))
    assert network.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_frozen_numbers_are_not_parameters():
    network = nn.Linear(3, 4)
    network.bias.requires_grad_(False)
    assert count_parameters(network) == 12
