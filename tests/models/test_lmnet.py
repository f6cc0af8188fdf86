"""LM-Net: the figures of the paper's tables, its options, and what every user of a network relies on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import glocal
from glocal.models.complexity import complexity, papers_count
from glocal.models.lmnet import LMNet
from glocal.nn import ReparamConv2d, SqueezeExcitation

FOUR = ("large", "square", "ver", "hor")

# Options; parameters and the papers' G of `published`; the same of `paper`.
ROWS: dict[str, tuple[dict[str, Any], int, str, int, str]] = {
    "full: T8 row 4, T9 row 4, T10 row 5": ({}, 3_965_366, "5.474", 5_446_346, "5.145"),
    "merged: T7 row 2": ({"merged": True}, 3_933_686, "5.108", 5_404_106, "4.657"),
    "T8 baseline, T10 row 3": ({"gft": "none"}, 1_536_758, "4.853", 1_130_890, "4.040"),
    "T8 ASPP": ({"gft": "aspp"}, 3_088_502, "5.241", 3_888_010, "4.730"),
    "T8 single-scale": ({"gft": "single"}, 4_037_162, "5.492", 5_573_818, "5.177"),
    "T9 row 1, T10 row 4": ({"skip": "single", "lft": False}, 3_288_890, "2.958", 4_980_346, "3.579"),
    "T9 row 2": ({"skip": "single"}, 3_499_130, "3.612", 5_353_146, "4.735"),
    "T9 row 3": ({"lft": False}, 3_755_126, "4.820", 5_073_546, "3.988"),
    "T10 row 2": ({"skip": "single", "lft": False, "gft": "none"}, 860_282, "2.337", 664_890, "2.474"),
    "T6 row 1": ({"branches": ("square",)}, 3_912_086, "4.967", 5_375_306, "4.468"),
    "T6 row 2": ({"branches": ("large",)}, 3_935_126, "5.155", 5_406_026, "4.720"),
    "T6 row 3": ({"branches": ("hor", "ver")}, 3_910_646, "4.978", 5_373_386, "4.484"),
    "T6 row 4": ({"branches": ("square", "large")}, 3_950_966, "5.309", 5_427_146, "4.924"),
    "T6 row 5": ({"branches": ("square", "hor", "ver")}, 3_926_486, "5.132", 5_394_506, "4.688"),
    "T6 row 6": ({"branches": ("large", "hor", "ver")}, 3_949_526, "5.321", 5_425_226, "4.940"),
    "T6 row 8": ({"branches": (*FOUR, "dilation")}, 4_004_246, "5.816", 5_498_186, "5.601"),
    "T6 row 9": ({"branches": (*FOUR, "dilation", "big_large")}, 4_077_686, "6.441", 5_596_106, "6.434"),
}
for row, published, published_g, paper, paper_g in (
    ("T6 row 1", 3_910_646, "4.919", 5_373_386, "4.405"),
    ("T6 row 2", 3_933_686, "5.108", 5_404_106, "4.657"),
    ("T6 row 3", 3_910_646, "4.919", 5_373_386, "4.405"),
    ("T6 row 4", 3_933_686, "5.108", 5_404_106, "4.657"),
    ("T6 row 5", 3_910_646, "4.919", 5_373_386, "4.405"),
    ("T6 row 6", 3_933_686, "5.108", 5_404_106, "4.657"),
    ("T6 row 8", 4_014_326, "5.769", 5_511_626, "5.538"),
    ("T6 row 9", 4_014_326, "5.769", 5_511_626, "5.538"),
):
    ROWS[f"{row}, merged"] = ({**ROWS[row][0], "merged": True}, published, published_g, paper, paper_g)


def on_meta(**options: Any) -> LMNet:
    with torch.device("meta"):
        return LMNet(**options)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("preset", ["published", "paper"])
def test_parameters_and_multiply_adds_of_every_row_of_the_tables(row: str, preset: str) -> None:
    options, *figures = ROWS[row]
    parameters, giga = figures[:2] if preset == "published" else figures[2:]
    network = on_meta(preset=preset, **options)
    assert count(network) == parameters
    assert f"{papers_count(network, (256, 256)).multiply_adds / 1e9:.3f}" == giga


@pytest.mark.parametrize(("lft", "more"), [(True, 1200), (False, 0)])
def test_relative_position_bias_adds_300_parameters_a_level(lft: bool, more: int) -> None:
    assert count(on_meta(lft=lft, rel_pos_bias=True)) - count(on_meta(lft=lft)) == more


def test_parameters_of_the_parts_of_the_published_preset() -> None:
    network = on_meta()
    parts = {
        "encoder": [4_248, 13_176, 42_480, 149_472],
        "decoder": [4_572, 13_176, 42_480, 149_472],
        "down": [2_616, 10_416, 41_568, 166_080],
        "up": [2_604, 10_392, 41_520, 165_984],
        "skips": [6_540, 33_840, 135_072, 290_784],
        "local": [2_592, 10_080, 39_744, 157_824],
    }
    assert {name: [count(level) for level in getattr(network, name)] for name in parts} == parts
    assert (count(network.context), count(network.head)) == (2_428_608, 26)


@pytest.mark.parametrize("name", glocal.list_models(family="lmnet"))
def test_the_facts_in_the_registry(name: str) -> None:
    info = glocal.model_info(name)
    with torch.device("meta"):
        network = glocal.create_model(name)
    cost = complexity(network, info.input_size)
    assert (info.parameters, info.multiply_adds) == (cost.parameters, cost.multiply_adds)
    assert info.feature_channels == tuple(f.channels for f in network.feature_info)
    assert info.feature_strides == tuple(f.stride for f in network.feature_info)


def test_the_tiny_variant_is_much_cheaper() -> None:
    tiny, full = glocal.model_info("lmnet_tiny"), glocal.model_info("lmnet")
    assert tiny.multiply_adds < full.multiply_adds / 5
    assert tiny.parameters < full.parameters / 5


TINY = {"filters": (4, 8, 16, 32, 64), "num_heads": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "paper": {"preset": "paper", "filters": (4, 16, 16, 32, 64)},
    "single skip": {"skip": "single"},
    "no lft": {"lft": False, "gft": "single"},
    "aspp": {"gft": "aspp"},
    "none": {"gft": "none", "skip": "single", "lft": False},
    "six branches": {"branches": (*FOUR, "dilation", "big_large")},
    "own kernels": {"branches": ("7x7", "1x9", "3x3d3"), "window_size": 5, "rel_pos_bias": True},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def trained(**options: Any) -> LMNet:
    """A small network whose norms have seen images."""
    torch.manual_seed(0)
    network = LMNet(**{**TINY, **options})
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                for tensor in (part.weight, part.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (part.bias, part.running_mean):
                    tensor.uniform_(-0.5, 0.5)
    return network.eval()


@every_option
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_deployed_it_is_the_same_function(options: dict[str, Any], dtype: torch.dtype, tolerance: float) -> None:
    network = trained(**options).to(dtype)
    x = torch.randn(2, 3, 40, 56, dtype=dtype)
    fast = glocal.deploy(network)
    with torch.no_grad():
        expected = network(x)
        assert (fast(x) - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())
        assert torch.equal(glocal.deploy(fast)(x), fast(x)), "deploying twice changes nothing"
    assert not any(len(part.branches) for part in fast.modules() if isinstance(part, ReparamConv2d))


@every_option
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31), (5, 80), (48, 32)])
def test_any_size_gives_logits_of_that_size(options: dict[str, Any], size: tuple[int, int]) -> None:
    with torch.no_grad():
        logits = trained(in_channels=1, num_classes=5, **options)(torch.randn(2, 1, *size))
    assert logits.shape == (2, 5, *size)
    assert torch.isfinite(logits).all()


@every_option
def test_every_parameter_learns_and_no_image_sees_another(options: dict[str, Any]) -> None:
    network = trained(**options)
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=1e-4)
    for part in network.modules():
        if isinstance(part, SqueezeExcitation):  # with one or two units in its middle, a ReLU may be shut by chance
            nn.init.constant_(part.fc1.bias, 4.0)
    network.train()(x).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_image_off_the_grid_is_the_padded_image_cropped() -> None:
    network = trained()
    x = torch.randn(1, 3, 21, 30)
    padded = nn.functional.pad(x, (0, 2, 0, 11), mode="replicate")
    with torch.no_grad():
        assert torch.equal(network(x), network(padded)[..., :21, :30])


def test_the_feature_pyramid_has_the_channels_and_strides_it_says() -> None:
    features = glocal.create_model("lmnet_tiny", features_only=True).eval()
    with torch.no_grad():
        maps: list[Tensor] = features(torch.randn(2, 3, 50, 33))
    assert [tuple(m.shape) for m in maps] == [
        (2, f.channels, -(-50 // f.stride), -(-33 // f.stride)) for f in features.feature_info
    ]


def test_a_new_head_has_the_new_classes_and_keeps_the_rest() -> None:
    network = trained()
    before = {name: p.clone() for name, p in network.named_parameters() if not name.startswith("head")}
    network.reset_head(7)
    assert network(torch.randn(1, 3, 16, 16)).shape[1] == network.num_classes == 7
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters() if name in before)


def test_the_published_initialisation() -> None:
    torch.manual_seed(0)
    network = LMNet(rel_pos_bias=True)
    qkv = network.context.block.attention.qkv
    assert not qkv.bias.any()
    assert qkv.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert network.local[0].block.attention.rpb.std().item() == pytest.approx(0.02, rel=0.1)
    squeeze = network.encoder[3][0].se.fc1  # Kaiming-normal, fan in: sqrt(2 / 192)
    assert squeeze.weight.std().item() == pytest.approx((2 / 192) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"preset": "papers"}, "published, paper"),
        ({"skip": "double"}, "multi, single"),
        ({"gft": "both"}, "multi, single, aspp, none"),
        ({"filters": (12, 24, 48)}, "give five widths"),
        ({"filters": (10, 20, 40, 80, 160)}, "num_heads may be 1, 2, 5, 10"),
        ({"num_heads": 7}, "num_heads may be 1, 2, 3, 4, 6, 12"),
        ({"window_size": 4}, "odd"),
        ({"branches": ("square", "bog_large")}, "use large, square, ver"),
        ({"dropout": 1.5}, "probability"),
        ({"filters": (2, 2, 2, 2, 2), "num_heads": 1}, "at least 4 channels"),
    ],
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        LMNet(**options)


def test_an_image_with_other_channels_names_the_cure() -> None:
    with pytest.raises(ValueError, match="in_channels=1"):
        trained()(torch.randn(1, 1, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("deployed", [False, True])
def test_it_compiles_without_a_break_and_exports_with_any_batch(deployed: bool) -> None:
    network = glocal.deploy(trained()) if deployed else trained()
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = network(x)
        torch._dynamo.reset()
        torch.testing.assert_close(torch.compile(network, fullgraph=True, backend="eager")(x), expected)
        exported = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
        torch.testing.assert_close(
            exported.module()(x[:1].repeat(5, 1, 1, 1))[:1], network(x[:1]), atol=1e-5, rtol=1e-4
        )
