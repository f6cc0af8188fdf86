"""HiFuse: published counts, options, branches, initialisation, and published checkpoints of both revisions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import glocal
from glocal.errors import UserError
from glocal.models.complexity import complexity
from glocal.models.conversion import convert_checkpoint
from glocal.models.hifuse import HiFuse, HiFuse2022
from glocal.models.published import convert_state_dict, recognise

SMALL: dict[str, Any] = {"widths": (32, 64, 96, 128), "num_heads": (1, 2, 3, 4)}
OLD: dict[str, Any] = {**SMALL, "depths": (1, 1, 2, 1), "local_depths": (1, 2, 1, 1), "num_classes": 5}


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return glocal.create_model(name, **options)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def small(kind: type[HiFuse | HiFuse2022] = HiFuse, **options: Any) -> HiFuse | HiFuse2022:
    """A narrow network whose norms have seen images."""
    torch.manual_seed(0)
    network = kind(**{**(SMALL if kind is HiFuse else OLD), **options})
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                for tensor in (part.weight, part.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (part.bias, part.running_mean):
                    tensor.uniform_(-0.5, 0.5)
    return network.eval()


# Counts: the published parameters, less those that the published code never uses


@pytest.mark.parametrize(
    ("name", "irmlp", "published", "never_used", "giga"),
    [
        ("hifuse_tiny", "dense", 119_690_280, 1_603_783, "17.546"),
        ("hifuse_small", "dense", 123_271_128, 1_606_855, "18.275"),
        ("hifuse_base", "dense", 134_013_672, 1_616_071, "20.461"),
        ("hifuse_tiny", "depthwise", 56_277_000, 1_603_783, "8.197"),
        ("hifuse_small", "depthwise", 59_857_848, 1_606_855, "8.926"),
        ("hifuse_base", "depthwise", 70_600_392, 1_616_071, "11.113"),
    ],
)
def test_counts_are_the_published_ones(name: str, irmlp: str, published: int, never_used: int, giga: str) -> None:
    network = on_meta(name, irmlp=irmlp)
    assert count(network) == published - never_used
    norms = float(giga) - complexity(network, (224, 224)).multiply_adds / 1e9  # the papers' counter charges them too
    assert 0.025 < norms < 0.039


def test_parameters_of_the_fusion_blocks_with_and_without_what_is_never_used() -> None:
    published = [1_262_980, 5_044_132, 20_161_252, 80_614_756]
    never_used = [33_408, 75_072, 297_600, 1_185_024]
    found = [count(block) for block in on_meta("hifuse_tiny").fusion]
    assert found == [whole - unused for whole, unused in zip(published, never_used, strict=True)]


def test_a_pair_of_blocks_and_a_class_cost_what_they_should() -> None:
    tiny = count(on_meta("hifuse_tiny"))
    pair = count(on_meta("hifuse_tiny", depths=(2, 2, 3, 2), local_depths=(2, 2, 3, 2))) - tiny
    assert pair == 895_212 - 2 * 384, "less the published block's second norm, which it never uses"
    assert count(on_meta("hifuse_tiny", num_classes=8)) - tiny == 769


def test_counts_of_the_network_of_june_2022() -> None:
    def mixer(width: int, parts: int) -> int:
        return 9 * parts * width * width + 3 * width  # 3×3 with bias, and its norm

    fusion = (96, 192, 384, 768)
    unused = 769 * 1000 + 2 * 768 + (48 * 96 + 3 * 96) + mixer(96, 3) + sum(mixer(width, 2) for width in fusion[1:])
    network = on_meta("hifuse_2022")
    assert count(network) == 99_902_202 - unused
    assert f"{complexity(network, (224, 224)).multiply_adds / 1e9:.2f}" == "13.05"  # 13.09 with norms


# What it computes


@pytest.mark.parametrize("kind", [HiFuse, HiFuse2022])
def test_branches_give_all_maps_and_the_pyramid_is_the_fused_one(kind) -> None:
    network = small(kind)
    x = torch.randn(2, 3, 50, 97)
    with torch.no_grad():
        branches = network.branches(x)
        pyramid = network.forward_features(x)
    shapes = [(2, f.channels, -(-50 // f.stride), -(-97 // f.stride)) for f in network.feature_info]
    assert all([tuple(m.shape) for m in maps] == shapes for maps in branches)
    assert all(torch.equal(one, other) for one, other in zip(branches.fused_maps, pyramid, strict=True))


def test_an_image_off_the_grid_is_the_image_padded_with_zeros() -> None:
    network = small()
    x = torch.randn(1, 3, 40, 33)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(nn.functional.pad(x, (0, 31, 0, 24))), atol=1e-6, rtol=0)


def test_the_branches_do_not_see_each_other() -> None:
    network = small()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = network.branches(x)
        nn.init.zeros_(network.embed.weight)
        after = network.branches(x)
    assert all(torch.equal(one, other) for one, other in zip(before.local_maps, after.local_maps, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(before.fused_maps, after.fused_maps, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"channel_gate": "double_sigmoid"},
        {"irmlp": "depthwise"},
        {"shift_single_window": False},
        {"window_size": 4},
        {"qkv_bias": False},
    ],
    ids=str,
)
def test_each_option_changes_the_function(options: dict[str, Any]) -> None:
    usual, other = small(), small(**options)
    x = torch.randn(2, 3, 64, 96)
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    with torch.no_grad():
        attention = usual.global_stages[3][1].attention
        for parameter in (attention.relative_position_bias_table, attention.qkv.bias):
            nn.init.normal_(parameter)
        state = {name: t for name, t in usual.state_dict().items() if shapes.get(name) == t.shape}
        other.load_state_dict(state, strict=False)
        assert (usual.branches(x).fused_maps[3] - other.branches(x).fused_maps[3]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        (HiFuse, "dropout"),
        (HiFuse, "attention_dropout"),
        (HiFuse, "drop_path"),
        (HiFuse, "local_drop_path"),
        (HiFuse, "fusion_drop_path"),
        (HiFuse2022, "dropout"),
        (HiFuse2022, "drop_path"),
        (HiFuse2022, "local_drop_path"),
    ],
)
def test_rates_act_in_training_alone(kind, option: str) -> None:
    visible = {"drop_path": 0.0, "layer_scale": 0.5} if kind is HiFuse2022 else {}
    network = small(kind, **{**visible, option: 0.5})
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        for part in network.train().modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("kind", [HiFuse, HiFuse2022])
def test_every_parameter_learns_and_deployed_it_is_the_same_function(kind) -> None:
    network = small(kind)
    x = torch.randn(2, 3, 64, 40)
    network(x).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    network.double()
    with torch.no_grad():
        torch.testing.assert_close(glocal.deploy(network)(x.double()), network(x.double()), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("std", [0.2, 0.02])
def test_the_published_initialisation(std: float) -> None:
    torch.manual_seed(0)
    network = HiFuse(conv_std=std, irmlp="depthwise")
    for conv in (network.embed, network.stem[0], network.downsample[2][1], network.local_stages[3][0].depthwise):
        assert conv.weight.std().item() == pytest.approx(std, rel=0.05)
        assert not conv.bias.any()
    for linear in (network.head, network.global_stages[3][0].attention.qkv, network.merging[1].reduction):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not network.local_stages[0][0].linear.bias.any()
    local_conv = network.fusion[3].local_conv.conv  # PyTorch's own: uniform to 1 / sqrt(fan in)
    assert local_conv.weight.abs().max().item() == pytest.approx(768**-0.5, rel=1e-3)
    assert local_conv.bias.any()


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"depths": (2, 2, 2)}, "depths is .*give four"),
        ({"widths": (32, 64, 128, 0)}, "widths is .*at least 1"),
        ({"num_heads": (5, 2, 3, 4)}, "use a divisor"),
        ({"num_heads": (1, 2)}, "num_heads is .*give four"),
        ({"irmlp": "full"}, "'dense' or 'depthwise'"),
        ({"channel_gate": "tanh"}, "'sigmoid' or 'double_sigmoid'"),
        ({"dropout": 1.0}, "probability"),
        ({"fusion_drop_path": -1.0}, "probability"),
        ({"window_size": 0}, "at least 1"),
    ],
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        HiFuse(**{**SMALL, **options})


# Published checkpoints

_NAMES = [
    (r"^embed_norm\.", "patch_embed.norm."),
    (r"^embed\.", "patch_embed.proj."),
    (r"^merging\.(\d)\.", lambda m: f"layers{int(m[1]) + 2}.downsample."),
    (r"^stem\.", "downsample_layers.0."),
    (r"^downsample\.(\d)\.", lambda m: f"downsample_layers.{int(m[1]) + 1}."),
    (r"^(norm|head)\.", r"conv_\1."),
    (r"^fusion\.(\d)\.", lambda m: f"fu{int(m[1]) + 1}."),
    (r"^global_stages\.(\d)\.", lambda m: f"layers{int(m[1]) + 1}.blocks."),
    (r"^local_stages\.", "stages."),
    (r"^(layers.*)attention\.", r"\1attn."),
    (r"^(stages.*)depthwise", r"\1dwconv"),
    (r"^(fu.*)global_attention\.fc1", r"\1se.0"),
    (r"^(fu.*)global_attention\.fc2", r"\1se.2"),
    (r"^(fu.*)local_attention\.conv", r"\1spatial"),
    (r"^(fu.*)local_conv", r"\1W_l"),
    (r"^(fu.*)global_conv", r"\1W_g"),
    (r"^(fu.*)previous_conv", r"\1Updim"),
]
_CURRENT = [
    (r"^(layers.*blocks.*)norm\.", r"\1norm1."),
    (r"^(layers.*)linear\.", r"\1fc1."),
    (r"^(stages.*)linear\.", r"\1pwconv."),
    (r"^fu1\.mixer\.0", "fu1.norm2"),
    (r"^(fu.)\.mixer\.0", r"\1.norm1"),
    (r"^fu1\.mixer\.1", "fu1.W"),
    (r"^(fu.)\.mixer\.1", r"\1.W3"),
    (r"transform\.0", "norm3"),
    (r"transform\.1\.conv\.", "residual.conv1.conv."),
    (r"transform\.1\.norm\.", "residual.bn1."),
    (r"transform\.1\.expand\.", "residual.conv2.conv."),
    (r"transform\.1\.project\.", "residual.conv3."),
    (r"^(fu.*)norm\.(weight|bias|running_\w+|num_batches_tracked)$", r"\1bn.\2"),
    (r"residual\.bn\.", "residual.bn1."),
]
_JUNE_2022 = [
    (r"^(stages.*)fc([12])", r"\1pwconv\2"),
    (r"^fu1\.mixer\.0", "fu1.W"),
    (r"^(fu.)\.mixer\.0", r"\1.W3"),
    (r"transform\.reduce\.norm", "residual.bn2"),
    (r"transform\.conv\.norm", "residual.bn3"),
    (r"transform\.norm", "residual.bn1"),
    (r"transform\.reduce\.", "residual.conv1."),
    (r"transform\.conv\.", "residual.conv2."),
    (r"transform\.expand", "residual.conv3.conv"),
    (r"transform\.skip", "residual.skip_layer.conv"),
    (r"^(fu.*)\.norm\.(weight|bias|running_\w+|num_batches_tracked)$", r"\1.bn.\2"),
]


def published(network: HiFuse | HiFuse2022) -> dict[str, Tensor]:
    """The state dict that the published code would save of ``network``, with some of what it never uses."""
    rules = [*_NAMES, *(_JUNE_2022 if isinstance(network, HiFuse2022) else _CURRENT)]
    state = {}
    for name, tensor in network.state_dict().items():
        for pattern, theirs in rules:
            name = re.sub(pattern, theirs, name)
        state[name] = tensor
    index = torch.zeros(49, 49, dtype=torch.long)
    dead = {"norm.weight": torch.ones(128), "head.weight": torch.ones(5, 128), "fu1.Updim.conv.bias": torch.ones(32)}
    return {**state, **dead, "fu2.W.bn.weight": torch.ones(64), "layers1.blocks.0.attn.relative_position_index": index}


WRAPPINGS: dict[str, Any] = {
    "best_model.pth": lambda s: s,
    "every tenth epoch": lambda s: {"net": s, "optimizer": {"state": {}}, "epoch": 10, "lr_schedule": {"step": 1}},
    "the released weights": lambda s: {"state_dict": s},
    "data parallel": lambda s: {"net": {f"module.{n}": t for n, t in s.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("kind", [HiFuse, HiFuse2022])
def test_a_published_checkpoint_becomes_a_model(tmp_path: Path, kind, wrapping: str) -> None:
    network = small(kind, in_channels=1, qkv_bias=False)
    torch.save(WRAPPINGS[wrapping](published(network)), tmp_path / "authors.pth")
    conversion = convert_checkpoint(tmp_path / "authors.pth", tmp_path / "out")
    name = "hifuse_tiny" if kind is HiFuse else "hifuse_2022"
    assert conversion.record.name == name
    assert any("left out 4 tensors that the published network never uses" in note for note in conversion.notes)
    assert any("double_sigmoid" in note for note in conversion.notes) == (kind is HiFuse)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(glocal.create_model(name, weights=tmp_path / "authors.pth").eval()(x), expected)
        assert torch.equal(glocal.create_model(name, weights=tmp_path / "out").eval()(x), expected)


@pytest.mark.parametrize("variant", ["hifuse_tiny", "hifuse_small", "hifuse_base", "hifuse_2022"])
@pytest.mark.parametrize("irmlp", ["dense", "depthwise"])
def test_the_tensors_tell_the_variant_and_its_options(variant: str, irmlp: str) -> None:
    options = {} if variant == "hifuse_2022" else {"irmlp": irmlp}
    network = on_meta(variant, num_classes=3, **options)
    assert isinstance(network, HiFuse | HiFuse2022)
    converted = convert_state_dict(published(network))
    assert (converted.family, converted.name) == ("hifuse", variant)
    assert converted.arguments.items() >= {"num_classes": 3, "in_channels": 3, "window_size": 7, **options}.items()
    assert converted.unexpected == {}
    again = on_meta(converted.name, **converted.arguments).state_dict()
    assert {n: t.shape for n, t in again.items()} == {n: t.shape for n, t in converted.state.items()}


def test_the_gate_that_no_tensor_tells_can_be_asked_for(tmp_path: Path) -> None:
    network = small(channel_gate="double_sigmoid")
    torch.save(published(network), tmp_path / "authors.pth")
    loaded = glocal.create_model("hifuse_tiny", weights=tmp_path / "authors.pth", channel_gate="double_sigmoid")
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x), network(x))


def test_a_checkpoint_without_its_head_is_refused_by_name_or_gets_a_fresh_one(tmp_path: Path) -> None:
    headless = {name: t for name, t in published(small()).items() if "head" not in name}
    torch.save(headless, tmp_path / "authors.pth")
    with pytest.raises(UserError, match=r"2 missing \(head\.weight, head\.bias\)"):
        glocal.create_model("hifuse_tiny", weights=tmp_path / "authors.pth")
    network = glocal.create_model("hifuse_tiny", num_classes=9, weights=tmp_path / "authors.pth", strict=False)
    assert network.num_classes == 9
    assert torch.equal(network.state_dict()["norm.weight"], headless["conv_norm.weight"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if "layers3" not in n}, "'layers3.blocks.0.attn"),
        (lambda s: {n: t for n, t in s.items() if "stages.1" not in n}, "'stages.1.0'"),
        (lambda s: {**s, "stages.0.0.dwconv.weight": torch.zeros(())}, "other shapes"),
    ],
)
def test_a_part_of_a_checkpoint_is_refused_in_one_line(spoil, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        convert_state_dict(spoil(published(small())))
    assert "\n" not in str(refusal.value)


def test_missing_and_foreign_tensors_are_listed(tmp_path: Path) -> None:
    state = published(small())
    del state["fu2.W_l.conv.weight"]
    torch.save({**state, "aux.weight": torch.ones(2)}, tmp_path / "authors.pth")
    with pytest.raises(UserError, match=r"1 missing \(fusion.1.local_conv.conv.weight\); 1 unexpected \(aux.weight\)"):
        glocal.create_model("hifuse_tiny", weights=tmp_path / "authors.pth")


def test_others_are_not_taken_for_it() -> None:
    convnext = {"stages.0.0.gamma": torch.ones(96), "downsample_layers.0.0.weight": torch.ones(96, 3, 4, 4)}
    assert recognise(convnext) is None
