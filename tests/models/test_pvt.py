"""PVT with both mergings: the figures of the specification, sizes, positions, and published checkpoints."""

from __future__ import annotations

import functools
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
from glocal.models.pvt import PVT
from glocal.nn import GuidedLocalEnhancement

SMALL: dict[str, Any] = {"widths": [8, 16, 24, 32], "num_heads": [1, 2, 3, 4], "img_size": 64, "num_classes": 3}


class TestPvtNanoSpm(NetworkContract):
    name = "pvt_nano_spm"


def small(merging: str = "spm", **options: Any) -> PVT:
    """A network with running statistics and biases away from their initial values."""
    torch.manual_seed(0)
    network = PVT(**{**SMALL, "merging": merging, **options}).eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value)
    return network


def run(network: torch.nn.Module, *x: Tensor) -> Any:
    with torch.inference_mode():
        return network(*x)


def agree(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=2e-6 * max(1.0, expected.abs().max().item()), rtol=0)


# The table of the specification, section 5. Multiply-adds are those of the published forms: projections of every token
# of a window, and a last block for every token though the class token alone is used.

TABLE = {
    "tiny": (13_229_288, 1.933, 14_029_480, 2.746, 13_514_944),
    "small": (24_485_864, 3.816, 25_286_056, 4.628, 24_771_520),
    "medium": (44_208_104, 6.659, 45_008_296, 7.472, 44_493_760),
    "large": (61_369_320, 9.814, 62_169_512, 10.627, 61_654_976),
    "huge_v2": (304_945_512, None, 306_721_640, None, None),
}


def published_multiply_adds(name: str) -> int:
    network = on_meta(name)
    merging = [m for m in network.modules() if isinstance(m, GuidedLocalEnhancement)]
    windows = zip((784, 196, 49), (m.qkv.in_features for m in merging), strict=False)
    more = sum(count * (12 * width**2 - 30 * width) for count, width in windows)
    width = network.feature_info[-1].channels
    last = 49 * ((2 + 2 * 4) * width**2 + 2 * 50 * width)
    return complexity(network, (224, 224)).multiply_adds + more + last


@functools.cache
def on_meta(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return glocal.create_model(name, **options)


@pytest.mark.parametrize("variant", TABLE)
def test_counts_of_the_published_variants(variant: str) -> None:
    classic, classic_giga, spm, spm_giga, dense = TABLE[variant]
    for name, parameters, giga in ((f"pvt_{variant}", classic, classic_giga), (f"pvt_{variant}_spm", spm, spm_giga)):
        assert sum(p.numel() for p in on_meta(name).parameters()) == parameters
        if giga is not None:
            assert f"{published_multiply_adds(name) / 1e9:.3f}" == f"{giga:.3f}"
    if dense is not None:
        features = on_meta(f"pvt_{variant}_spm", features_only=True)
        assert sum(p.numel() for p in features.parameters()) == dense


def test_initial_values() -> None:
    torch.manual_seed(0)
    network = glocal.create_model("pvt_nano_spm")
    for name, parameter in network.named_parameters():
        linear = any(part in name for part in (".q.", ".kv.", ".proj.", ".fc1.", ".fc2.", "qkv.", "head."))
        if name.endswith("bias") and "guide" not in name and "embed.0.0" not in name and ".sr." not in name:
            assert not parameter.any(), name
        elif "norm" in name and name.endswith("weight"):
            assert (parameter == 1).all(), name
        elif linear or "position" in name or "token" in name:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name


# Sizes and positions


@pytest.mark.parametrize(
    ("merging", "size", "taken"),
    [
        ("spm", (224, 224), (224, 224)),
        ("spm", (225, 227), (225, 227)),
        ("spm", (240, 224), (256, 224)),
        ("spm", (3, 35), (32, 35)),
        ("patch", (240, 47), (240, 47)),
        ("patch", (31, 1), (32, 32)),
    ],
)
def test_a_size_is_taken_as_it_is_where_the_published_code_runs(merging, size, taken) -> None:
    with torch.device("meta"):
        network = PVT(merging=merging, **SMALL)
        assert network.to_grid(torch.empty(1, 3, *size)).shape[2:] == taken


def test_other_sizes_are_padded_with_zeros() -> None:
    network = small()
    x = torch.rand(1, 3, 40, 30)
    agree(run(network, x), run(network, F.pad(x, (0, 2, 0, 24))))
    remainder = torch.rand(1, 3, 67, 64)
    agree(run(network, remainder), run(network, remainder[:, :, :64]))


def test_the_feature_pyramid_leaves_no_pixel_out() -> None:
    network = small()
    x = torch.rand(1, 3, 67, 64)
    maps = run(network.forward_features, x)
    whole = run(network.forward_features, F.pad(x, (0, 0, 0, 29)))
    assert [m.shape[2:] for m in maps] == [(17, 16), (9, 8), (5, 4), (3, 2)]
    assert all(torch.equal(m, w[:, :, : m.shape[2]]) for m, w in zip(maps, whole, strict=True))


def test_positions_are_resized_where_a_side_differs_and_the_row_of_the_class_token_is_not() -> None:
    """Also where the map has as many cells as the table, which the published code takes for the same."""
    last = small().stages[3]
    assert torch.equal(last.position_at(2, 2).flatten(1, 2), last.position[:, 1:])
    table = last.position[:, 1:].reshape(1, 2, 2, 32).permute(0, 3, 1, 2)
    for size in ((1, 4), (4, 4), (3, 5)):
        expected = F.interpolate(table, size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
        assert torch.equal(last.position_at(*size), expected)


@pytest.mark.parametrize("size", [(128, 128), (32, 128), (64, 256)], ids=str)
def test_sizes_at_which_the_published_code_crashes(size: tuple[int, int]) -> None:
    assert run(small(), torch.rand(1, 3, *size)).isfinite().all()


def test_tables_may_be_oblong() -> None:
    network = small(img_size=[64, 128])
    assert [stage.table for stage in network.stages] == [(16, 32), (8, 16), (4, 8), (2, 4)]
    assert run(network, torch.rand(1, 3, 64, 128)).shape == (1, 3)


def test_the_last_block_is_the_same_for_one_token_as_for_all() -> None:
    network = small("patch")
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        z = network.encode(x)[-1].permute(0, 2, 3, 1)
        stage = network.stages[3]
        tokens = network.class_token(z)
        tokens = tokens + torch.cat([stage.position[:, :1], stage.position_at(2, 3).flatten(1, 2)], 1)
        expected = network.head(network.norm(stage.blocks(tokens))[:, 0])
    agree(run(network, x), expected)


def test_dropping_is_off_in_evaluation_and_on_in_training() -> None:
    rates = {"dropout": 0.2, "attention_dropout": 0.2, "drop_path": 0.4}
    x = torch.rand(1, 3, 32, 32)
    network, without = small(**rates), small()
    assert torch.equal(run(network, x), run(without, x))
    assert not torch.equal(run(network.train(), x), run(network, x))
    found = [block.drop_path.rate for stage in network.stages for block in stage.blocks]
    assert found == pytest.approx([0.4 * i / 7 for i in range(8)])


def test_of_the_large_tensors_the_class_token_alone_does_not_decay() -> None:
    pytest.importorskip("lightning")
    from glocal.training.optimizer import parameter_groups

    network = small()
    _, free = parameter_groups(network, "matrices", 0.05)
    assert [p.shape for p in free["params"] if p.ndim > 1] == [network.class_token.token.shape]


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"merging": "pool"}, "use patch or spm"),
        ({"widths": [8, 16]}, "four numbers"),
        ({"widths": [6, 16, 24, 32]}, "multiple of 4"),
        ({"widths": [8, 20, 24, 32]}, "multiple of 8"),
        ({"depths": [1, 1, 1.5, 1]}, "each item a whole number"),
        ({"num_heads": [1, 2, 3, 5]}, "num_heads may be"),
        ({"reductions": [8, 4, 2, 2]}, "the last must be 1"),
        ({"img_size": 16}, "at least 32"),
        ({"img_size": [64, 64, 64]}, "a height and a width"),
    ],
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        glocal.create_model("pvt_tiny_spm", **{**SMALL, **options})


# Published checkpoints


def published(network: PVT) -> dict[str, Tensor]:
    """The tensors under their published names, by the list in the specification."""
    entry = {"0": "proj", "1": "norm"}
    spm = {
        **{f"msa.local.{i}": f"msa.local_conv_{k}" for i, k in enumerate((3, 5, 7, 9))},
        "msa.mix.conv": "msa.proj.0",
        "msa.mix.norm": "msa.proj.1",
        "msa.project": "msa.proj.3",
        "gle.guide_norm": "gle.gtg.0",
        "gle.guide": "gle.gtg.2",
        "gle.qkv": "gle.attn.qkv",
    }
    tensors = {}
    for name, value in network.state_dict().items():
        parts, shape = name.split("."), tuple(value.shape)
        if parts[0] == "embed":
            stage, inner, last = int(parts[1]) + 1, ".".join(parts[2:-1]), parts[-1]
            inner = f"spm.{spm.get(inner, inner)}" if "." in inner else entry[inner]
            theirs = f"patch_embed{stage}.{inner}.{last}"
            if theirs.endswith("msa.proj.3.weight"):
                shape = (*shape, 1, 1)
        elif parts[0] == "stages":
            rest = ".".join(parts[3:]).replace("attention", "attn")
            stage = int(parts[1]) + 1
            theirs = f"pos_embed{stage}" if parts[2] == "position" else f"block{stage}.{rest}"
        else:
            theirs = name.replace("class_token.token", "cls_token")
        tensors[theirs] = value.reshape(shape).clone()
    return tensors


def test_the_tensors_tell_every_option_but_the_heads(tmp_path) -> None:
    given = {"in_channels": 1, "depths": [1, 2, 1, 3], "qkv_bias": False, "img_size": 96, "mlp_ratios": [2, 8, 4, 1.5]}
    network = small(**given)
    tensors = published(network)
    assert recognise(tensors) == "spm"
    converted = convert_state_dict(tensors)
    assert converted.name == "pvt_tiny_spm"
    assert {key: converted.arguments[key] for key in given} == given
    assert (converted.arguments["widths"], converted.arguments["num_classes"]) == (SMALL["widths"], 3)
    assert converted.unexpected == {}
    assert any("num_heads" in note for note in converted.notes)
    torch.save({"model": tensors}, tmp_path / "authors.pth")
    loaded = glocal.create_model("pvt_tiny_spm", weights=tmp_path / "authors.pth", num_heads=SMALL["num_heads"])
    x = torch.rand(1, 1, 96, 64)
    assert torch.equal(run(loaded.eval(), x), run(network, x))


@pytest.mark.parametrize(("variant", "merging"), [("tiny", "spm"), ("tiny", "patch"), ("small", "spm")])
def test_a_checkpoint_of_a_named_variant_becomes_a_model_folder(variant: str, merging: str, tmp_path) -> None:
    name = f"pvt_{variant}" + ("_spm" if merging == "spm" else "")
    network = glocal.create_model(name, num_classes=7).eval()
    torch.save(published(network), tmp_path / "authors.pth")
    made = convert_checkpoint(tmp_path / "authors.pth", tmp_path / "out")
    assert (made.record.name, made.record.arguments["num_classes"], made.fresh, made.left_out) == (name, 7, (), ())
    x = torch.rand(1, 3, 64, 64)
    loaded = glocal.create_model(name, weights=tmp_path / "out").eval()
    assert torch.equal(run(loaded, x), run(network, x))


def test_published_weights_of_pvt_start_pvt_with_stepwise_patch_merging(tmp_path, caplog) -> None:
    """The specification counts 12 tensors left over and 90 missing, 6 of them counters of batch norms."""
    classic = glocal.create_model("pvt_tiny", num_classes=5)
    torch.save(published(classic), tmp_path / "authors.pth")
    with pytest.raises(UserError, match=r"weights of pvt_tiny, not of pvt_tiny_spm.*strict=False"):
        glocal.create_model("pvt_tiny_spm", weights=tmp_path / "authors.pth")
    with caplog.at_level(logging.INFO, "glocal"):
        network = glocal.create_model("pvt_tiny_spm", weights=tmp_path / "authors.pth", strict=False)
    assert "84 missing" in caplog.text
    assert "12 unexpected" in caplog.text
    assert network.num_classes == 5
    ours, theirs = network.state_dict(), classic.state_dict()
    assert len(ours.keys() - theirs.keys()) == 90
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() & theirs.keys())


def test_a_dense_backbone_loads_as_features(tmp_path) -> None:
    network = glocal.create_model("pvt_tiny_spm", features_only=True).eval()
    tensors = published(network.network)
    assert not {"cls_token", "norm.weight", "head.weight"} & tensors.keys()
    torch.save({"state_dict": tensors}, tmp_path / "dense.pth")
    loaded = glocal.create_model("pvt_tiny_spm", features_only=True, weights=tmp_path / "dense.pth", strict=False)
    x = torch.rand(1, 3, 64, 96)
    assert all(torch.equal(a, b) for a, b in zip(run(loaded.eval(), x), run(network, x), strict=True))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if n != "pos_embed3"}, "'pos_embed3' is missing"),
        (lambda s: {n: t for n, t in s.items() if not n.startswith("block2.")}, "'block2.0.norm1.weight' is missing"),
        (lambda s: {**s, "pos_embed1": torch.zeros(1, 255, 8)}, "not a square"),
        (lambda s: {**s, "patch_embed1.proj.weight": torch.zeros(8, 3, 7, 7)}, "must be 4x4"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused_in_one_line(spoil, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        convert_state_dict(spoil(published(small())))
    assert "\n" not in str(refusal.value)


def test_a_partial_checkpoint_is_refused_with_its_names(tmp_path) -> None:
    tensors = {n: t for n, t in published(small()).items() if n != "block3.1.mlp.fc2.bias"}
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"1 missing \(stages\.2\.blocks\.1\.mlp\.fc2\.bias\)"):
        glocal.create_model("pvt_tiny_spm", weights=tmp_path / "part.pth", num_heads=SMALL["num_heads"])
