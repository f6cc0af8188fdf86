"""Swin with both mergings: the figures of the specification, any size, and published checkpoints."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from contract import NetworkContract
from torch import Tensor

import glocal
from glocal.errors import UserError
from glocal.models.complexity import complexity
from glocal.models.conversion import convert_checkpoint
from glocal.models.published import convert_state_dict, recognise
from glocal.models.swin import Swin
from glocal.nn import GuidedLocalEnhancement

SMALL: dict[str, Any] = {"embed_dim": 16, "depths": [1, 2, 1, 2], "num_heads": [1, 2, 4, 8], "num_classes": 3}


class TestSwinNanoSpm(NetworkContract):
    name = "swin_nano_spm"


def small(**options: Any) -> Swin:
    """A network in eval mode with every value away from its initial one."""
    torch.manual_seed(0)
    network = Swin(**{**SMALL, **options}).eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value)
    return network


def run(network: torch.nn.Module, x: Tensor) -> Any:
    with torch.inference_mode():
        return network(x)


# Parameters and multiply-adds (G) at 224×224, with Swin's merging and with SPM (specification, section 2.8)
TABLE = {
    "tiny": (28_288_354, "4.49", 29_949_538, "6.02"),
    "small": (49_606_258, "8.74", 51_267_442, "10.27"),
    "base": (87_768_224, "15.43", 90_671_264, "18.12"),
}


@pytest.mark.parametrize("variant", TABLE)
def test_counts_of_the_published_variants(variant: str) -> None:
    """Published SPM projects every token of a window; ours once a window."""
    for i, name in enumerate((f"swin_{variant}", f"swin_{variant}_spm")):
        with torch.device("meta"):
            network = glocal.create_model(name)
        parameters, giga = TABLE[variant][2 * i : 2 * i + 2]
        cost = complexity(network, (224, 224))
        assert cost.parameters == parameters
        widths = [m.qkv.in_features for m in network.modules() if isinstance(m, GuidedLocalEnhancement)]
        more = sum(n * (12 * d**2 - 30 * d) for n, d in zip((784, 196, 49), widths, strict=False))
        assert f"{(cost.multiply_adds + more) / 1e9:.2f}" == giga


def test_linear_layers_begin_as_in_the_official_classifier_and_msa_as_in_any_host() -> None:
    torch.manual_seed(0)
    network = glocal.create_model("swin_nano_spm")
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            std = (2 / module.out_features) ** 0.5 if "msa.project" in name else 0.02
            assert module.weight.std().item() == pytest.approx(std, rel=0.1), name
            assert not module.bias.any() if module.bias is not None else "merging" in name
    network.reset_head(400)
    assert network.head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_the_classifier_is_norm_mean_and_a_linear_layer() -> None:
    network = small()
    x = torch.rand(2, 3, 64, 96)
    last = network.encode(x)[-1]
    normed = F.layer_norm(last.permute(0, 2, 3, 1), (128,), network.norm.weight, network.norm.bias)
    torch.testing.assert_close(run(network, x), network.head(normed.mean((1, 2))), atol=1e-5, rtol=1e-5)


def test_windows_are_not_shifted_on_maps_no_larger_than_one() -> None:
    """At 28×28 no map is larger than a window, 7×7; at 64×64 that of the second stage is."""
    never = small()
    for block in never.encoder.modules():
        if hasattr(block, "shift"):
            block.shift = 0
    few, more = torch.rand(1, 3, 28, 28), torch.rand(1, 3, 64, 64)
    assert torch.equal(run(small(), few), run(never, few))
    assert not torch.allclose(run(small(), more), run(never, more), atol=1e-4)
    dense = small(shift_single_window=True)
    assert not torch.allclose(run(dense, few), run(never, few), atol=1e-4)


def test_norms_of_the_maps_are_of_the_features_and_the_last_serves_the_classifier() -> None:
    network = small(stage_norms=True)
    x = torch.rand(1, 3, 64, 96)
    maps = run(network.forward_features, x)
    plain = run(small().forward_features, x)
    for norm, ours, raw in zip(network.encoder.norms, maps, plain, strict=True):
        assert ours.shape == raw.shape
        assert norm.normalized_shape == (ours.shape[1],)
    torch.testing.assert_close(run(network, x), network.head(maps[-1].mean((2, 3))), atol=1e-5, rtol=1e-5)


def test_of_the_large_tensors_the_relative_positions_alone_do_not_decay() -> None:
    pytest.importorskip("lightning")
    from glocal.training.optimizer import parameter_groups

    _, free = parameter_groups(small(), "matrices", 0.05)
    tables = [
        (169, heads) for heads, depth in zip(SMALL["num_heads"], SMALL["depths"], strict=True) for _ in range(depth)
    ]
    assert [tuple(p.shape) for p in free["params"] if p.ndim > 1] == tables


@pytest.mark.parametrize("merging", ["patch", "spm"])
def test_images_are_padded_with_zeros_to_whole_patches(merging: str) -> None:
    network = small(merging=merging)
    x = torch.rand(1, 3, 50, 67)
    torch.testing.assert_close(run(network, x), run(network, F.pad(x, (0, 1, 0, 2))))


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"merging": "pool"}, "use patch or spm"),
        ({"depths": [2, 2]}, "four whole numbers"),
        ({"num_heads": [3, 2, 4, 8]}, "heads do not divide"),
        ({"num_heads": [1, 2]}, "one a stage"),
        ({"merging": "spm", "embed_dim": 12, "num_heads": [1, 2, 4, 8]}, None),
        ({"merging": "spm", "embed_dim": 10, "num_heads": [1, 1, 1, 1]}, "multiple of"),
    ],
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str | None) -> None:
    if cure is None:
        assert glocal.create_model("swin_tiny", **{**SMALL, **options})
        return
    with pytest.raises(UserError, match=cure):
        glocal.create_model("swin_tiny", **{**SMALL, **options})


# Published checkpoints


def official(network: Swin, *, at_the_start: bool = False) -> dict[str, Tensor]:
    """The tensors as the official code names them, or as libraries do that put merging into the next stage."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        part, _, rest = name.removeprefix("encoder.").partition(".")
        if part == "stages":
            stage, block, inner = rest.split(".", 2)
            name = f"layers.{stage}.blocks.{block}.{inner.replace('attention.', 'attn.')}"
        elif part == "merging":
            stage, inner = rest.split(".", 1)
            name = f"layers.{int(stage) + at_the_start}.downsample.{inner}"
        elif part == "norms":
            name = f"norm{rest}"
        else:
            name = {"embed": "patch_embed.proj", "embed_norm": "patch_embed.norm"}.get(part, part) + f".{rest}"
        tensors[name] = value
    tensors["layers.1.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    tensors["layers.1.blocks.1.attn_mask"] = torch.zeros(16, 49, 49)
    return tensors


@pytest.mark.parametrize("at_the_start", [False, True])
def test_official_tensors_tell_every_option(at_the_start: bool) -> None:
    network = small(in_channels=1, window_size=4, mlp_ratio=2)
    tensors = official(network, at_the_start=at_the_start)
    if at_the_start:
        for kind in ("weight", "bias"):
            tensors[f"head.fc.{kind}"] = tensors.pop(f"head.{kind}")
    assert recognise(tensors) == "swin"
    converted = convert_state_dict(tensors)
    expected = {**SMALL, "in_channels": 1, "window_size": 4, "mlp_ratio": 2}
    assert (converted.name, converted.arguments, converted.unexpected) == ("swin_tiny", expected, {})
    assert sorted(converted.ignored) == [
        "layers.1.blocks.0.attn.relative_position_index",
        "layers.1.blocks.1.attn_mask",
    ]
    ours = network.state_dict()
    assert converted.state.keys() == ours.keys()
    assert all(converted.state[name] is not None and torch.equal(converted.state[name], ours[name]) for name in ours)


def test_a_dense_backbone_brings_its_norms_and_shifts() -> None:
    network = small(stage_norms=True, shift_single_window=True)
    tensors = {n: t for n, t in official(network).items() if not n.startswith("head")}
    converted = convert_state_dict(tensors)
    assert converted.arguments["stage_norms"]
    assert converted.arguments["shift_single_window"]
    assert network.state_dict().keys() - converted.state.keys() == {"head.weight", "head.bias"}


def test_an_official_checkpoint_becomes_a_model_folder(tmp_path) -> None:
    network = glocal.create_model("swin_tiny", num_classes=6).eval()
    torch.save({"model": official(network)}, tmp_path / "swin_tiny_patch4_window7_224.pth")
    made = convert_checkpoint(tmp_path / "swin_tiny_patch4_window7_224.pth", tmp_path / "out")
    assert (made.record.name, made.fresh, made.left_out) == ("swin_tiny", (), ())
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(run(glocal.create_model("swin_tiny", weights=tmp_path / "out").eval(), x), run(network, x))


def test_official_weights_start_swin_with_stepwise_patch_merging(tmp_path, caplog) -> None:
    classic = small()
    torch.save({"model": official(classic)}, tmp_path / "swin.pth")
    with caplog.at_level(logging.WARNING, "glocal"):
        network = glocal.create_model("swin_tiny_spm", weights=tmp_path / "swin.pth", strict=False, **SMALL)
    ours, theirs = network.state_dict(), classic.state_dict()
    assert {name for name in ours if name not in theirs} == {n for n in ours if n.startswith("encoder.merging")}
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items() if name in ours)
    assert "encoder.merging.0.norm.weight" in caplog.text


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("layers.2.", "'layers.2.blocks.0.attn.relative_position_bias_table' is missing"),
        ("patch_embed.proj.", "'patch_embed.proj.weight' is missing"),
    ],
)
def test_a_partial_checkpoint_is_refused(left_out: str, message: str) -> None:
    tensors = {n: t for n, t in official(small()).items() if not n.startswith(left_out)}
    with pytest.raises(UserError, match=message):
        convert_state_dict(tensors)
