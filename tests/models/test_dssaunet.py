"""DSSAU-Net and its form with STAR-DSSA: published counts and checkpoints, options, and what training relies on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import glocal
from glocal.errors import UserError
from glocal.models.complexity import multiply_adds
from glocal.models.conversion import convert_checkpoint
from glocal.models.dssaunet import DSSAUNet
from glocal.models.published import convert_state_dict, recognise
from glocal.models.weights import Preprocessing, save_model
from glocal.nn import DropPath, DualSparseSelectionAttention, LocallyEnhancedAttention, StarDSSA

SMALL: dict[str, Any] = {
    "widths": [16, 32, 48, 64],
    "depths": [1, 1, 2, 1],
    "head_dim": 16,
    "decoder_width": 16,
    "n_win": 4,
}


def on_meta(**options: Any) -> DSSAUNet:
    with torch.device("meta"):
        return DSSAUNet(**options)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# Published counts (the specification, section 5)


def test_parameters_part_by_part() -> None:
    network = on_meta()
    unused = 512
    assert count(network) == 29_250_627 - unused
    assert count(on_meta(num_classes=2)) == 29_250_050 - unused
    assert count(network.encoder) == 28_292_544
    assert [count(level.blocks) for level in network.encoder] == [193_536, 755_712, 11_943_936, 11_865_600]
    assert sum(count(level.down) for level in network.encoder) == 3_530_880
    assert sum(count(level.norm) for level in network.encoder) == 2_880
    decoder = network.decoder
    assert [count(blocks) for blocks in decoder.blocks] == [88_064, 88_064, 352_256, 87_680]
    assert sum(count(blocks) for blocks in decoder.blocks) == 616_576 - unused
    assert count(decoder.pooling) == 262_592
    others = (decoder.skips, decoder.smooth, decoder.fuse, decoder.project)
    assert sum(count(part) for part in others) == 77_184
    assert count(network.head) == 1_731


@pytest.mark.parametrize(("side", "giga"), [(128, "1.74"), (224, "5.48"), (256, "7.08"), (512, "30.8")])
def test_multiply_adds_are_the_published_ones_but_for_the_fusion(side: int, giga: str) -> None:
    """Each level meets its part of the fusion's kernel at its own size, not at that of the finest level."""
    tokens = [(side // stride) ** 2 for stride in (8, 16, 32)]
    spared = 64 * 64 * (3 * (side // 4) ** 2 - sum(tokens))
    total = (multiply_adds(on_meta(), (side, side)) + spared) / 1e9
    assert abs(total - float(giga)) < 0.006 * float(giga)


def test_star_dssa_takes_the_place_of_every_routed_attention_and_no_other() -> None:
    dssa, star = on_meta(), on_meta(attention="star")
    kinds = {name: type(m) for name, m in dssa.named_modules() if name.endswith(".attention")}
    others = {name: type(m) for name, m in star.named_modules() if name.endswith(".attention")}
    assert len(kinds) == 28
    assert sum(kind is LocallyEnhancedAttention for kind in kinds.values()) == 4
    swapped = {DualSparseSelectionAttention: StarDSSA, LocallyEnhancedAttention: LocallyEnhancedAttention}
    assert others == {name: swapped[kind] for name, kind in kinds.items()}
    assert set(dssa.state_dict()) < set(star.state_dict())


def test_stochastic_depth_rises_over_the_blocks_of_the_encoder_and_again_of_the_decoder() -> None:
    network = on_meta()
    for part in (network.encoder, network.decoder):
        rates = [m.rate for m in part.modules() if isinstance(m, DropPath)]
        assert rates == pytest.approx([0.2 * i / 13 for i in range(14)])


def test_linear_layers_of_blocks_start_small_and_convolutions_as_pytorch_does() -> None:
    torch.manual_seed(0)
    network = DSSAUNet(**SMALL)
    block = network.encoder[2].blocks[0].block
    assert 0.018 < block.mlp.fc1.weight.std() < 0.022
    assert not block.mlp.fc1.bias.any()
    bound = 1 / 48**0.5
    assert block.attention.qkv.weight.abs().max() <= bound
    assert 0.9 * bound / 3**0.5 < block.attention.qkv.weight.std() < 1.1 * bound / 3**0.5
    assert block.attention.qkv.bias.any()


# Function


def trained(**options: Any) -> DSSAUNet:
    """With statistics of the norms and gates that are not as initialised, in float64."""
    torch.manual_seed(0)
    network = DSSAUNet(**{**SMALL, **options}).double().eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean") or not tensor.any():
                tensor.normal_(0, 0.3) if tensor.is_floating_point() else None
    return network


OPTIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "usual": {"scale": "head", "mask_padding": True, "min_keep": 1, "pool": "average"},
    "bi-level": {"pixel_topk": False, "topks": [2, 3, 4, 5]},
    "full everywhere": {"topks": [None] * 4, "widths": [16, 32, 48, 64]},
    "other depths": {"decoder_depths": [1, 2, 1, 1], "drop_path": 0.0, "mlp_ratio": 2},
    "star": {"attention": "star"},
    "star, saliency off": {"attention": "star", "saliency": False, "topology_init": -1.0, "gate_reduction": 16},
    "star, all off": {
        "attention": "star",
        **dict.fromkeys(("saliency", "topology", "route_gate", "local_gate", "mask_padding"), False),
        "min_keep": 0,
    },
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@every_option
def test_options_are_what_json_can_hold_and_make_a_network_that_deploys(options: dict[str, Any]) -> None:
    network = trained(**json.loads(json.dumps(options)))
    x = torch.rand(2, 3, 70, 41, dtype=torch.float64)
    with torch.inference_mode():
        y = network(x)
        torch.testing.assert_close(glocal.deploy(network)(x), y, atol=1e-10, rtol=1e-8)
    assert y.shape == (2, 3, 70, 41)


def test_the_image_is_padded_with_zeros() -> None:
    network = trained()
    x = torch.rand(1, 3, 70, 96, dtype=torch.float64)
    padded = torch.cat([x, x.new_zeros(1, 3, 26, 96)], 2)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(padded)[:, :, :70])


def test_the_fusion_is_that_of_the_concatenated_levels() -> None:
    fuse = trained().decoder.fuse
    maps = [torch.randn(2, 16, 2**i, 3 * 2**i, dtype=torch.float64) for i in range(4)]
    up = [nn.functional.interpolate(m, maps[-1].shape[-2:], mode="bilinear", align_corners=True) for m in maps]
    torch.testing.assert_close(fuse(maps), fuse.norm(fuse.conv(torch.cat(up, 1))))


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"attention": "nat"}, "use dssa or star"),
        ({"saliency": False}, "attention='star'"),
        ({"attention": "star", "saliency": "no"}, "true or false"),
        ({"attention": "star", "route_gate": False}, "saliency off"),
        ({"mask_padding": 1}, "true or false"),
        ({"widths": [16, 32]}, "four whole numbers"),
        ({"topks": [0, 4, 16, None]}, "at least 1"),
        ({"head_dim": 20}, "must divide the width 96"),
        ({"pool": "median"}, "max or average"),
        ({"decoder_width": 48}, "must divide the width 48"),
    ],
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        glocal.create_model("dssaunet", **options)


# Published checkpoints


def published(network: nn.Module) -> dict[str, Tensor]:
    """The state dict that the published code would save, written from its names, not from our rules."""
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        side, rest = ("Encoder", name.removeprefix("encoder.")) if name.startswith("encoder.") else ("Decoder", name)
        rest = rest.removeprefix("decoder.")
        if ".blocks." in name:
            parts = rest.split(".")
            level, j = (parts[0], parts[2]) if side == "Encoder" else (parts[1], parts[2])
            inner = ".".join(parts[3:])
            routed = (
                f"{name[: name.index('attention.')]}attention.qkv.bias" in network.state_dict()
                if "attention." in name
                else False
            )
            for ours, theirs in (
                ("position", "pos_embed"),
                ("block.attention.lce", "attn.lepe"),
                ("block.attention.qkv", "attn.qkv_linear" if routed else "attn.qkv"),
                ("block.attention.proj", "attn.output_linear" if routed else "attn.proj"),
                ("block.mlp.fc1", "mlp.0"),
                ("block.mlp.fc2", "mlp.3"),
                ("block.norm", "norm"),
            ):
                if inner.startswith(ours):
                    inner = theirs + inner.removeprefix(ours)
                    break
            if routed and inner in ("attn.qkv_linear.weight", "attn.output_linear.weight"):
                tensor = tensor[:, :, None, None]
            state[f"{side}.stages.{level}.{j}.{inner}"] = tensor
            if side == "Decoder":
                state[f"decoder.Decoder.stages.{level}.{j}.{inner}"] = tensor.clone()
        elif side == "Encoder":
            level, kind, inner = rest.split(".", 2)
            for ours, theirs in (
                ("0.conv", "0"),
                ("0.norm", "1"),
                ("2.conv", "3"),
                ("2.norm", "4"),
                ("conv", "0"),
                ("norm", "1"),
            ):
                if kind == "down" and inner.startswith(f"{ours}."):
                    inner = theirs + inner.removeprefix(ours)
                    break
            state[f"Encoder.{'downsample_layers' if kind == 'down' else 'extra_norms'}.{level}.{inner}"] = tensor
        else:
            state[_decoder_name(rest)] = tensor
    width = network.head.in_channels
    for level in range(4):
        for place in ("Decoder", "decoder.Decoder"):
            state[f"{place}.extra_norms.{level}.weight"] = torch.ones(width)
            state[f"{place}.extra_norms.{level}.bias"] = torch.zeros(width)
    return state


def _decoder_name(name: str) -> str:
    first, _, rest = name.partition(".")
    if first == "head":
        return f"cls_seg.0.{rest}"
    if first == "project":
        return f"decoder.conv_x1.{rest}"
    rest = rest.replace("conv.", "0.").replace("norm.", "1.")
    if first == "fuse":
        return f"decoder.fuse_all.{rest}"
    if first == "pooling":
        branch = rest.split(".")
        inner = f"psp_modules.{branch[1]}.1.{branch[2]}" if branch[0] == "branches" else rest.replace("fuse", "final")
        return f"decoder.PPMHead.{inner}"
    level, inner = rest.split(".", 1)
    return f"decoder.Conv_fuse{3 - int(level)}{'_' if first == 'smooth' else ''}.{inner}"


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published(DSSAUNet(num_classes=2, **{**SMALL, "head_dim": 16}))


def test_the_tensors_tell_the_network_and_nothing_is_lost(checkpoint: dict[str, Tensor]) -> None:
    assert recognise(checkpoint) == "dssaunet"
    converted = convert_state_dict(checkpoint)
    assert converted.unexpected == {}
    assert len(converted.ignored) == 8
    assert all("extra_norms" in name for name in converted.ignored)
    told = {key: value for key, value in converted.arguments.items() if key in SMALL}
    assert told == {key: value for key, value in SMALL.items() if key in told}
    assert converted.arguments["num_classes"] == 2
    assert converted.arguments["topks"] == [1, 4, 16, None]


def test_a_checkpoint_loads_and_gives_the_same_logits(checkpoint: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": {f"module.{k}": v for k, v in checkpoint.items()}}, tmp_path / "authors.pth")
    hidden = {key: value for key, value in SMALL.items() if key in ("head_dim", "n_win")}  # no tensor tells these
    loaded = glocal.create_model("dssaunet", weights=tmp_path / "authors.pth", **hidden).eval()
    torch.manual_seed(0)
    original = DSSAUNet(num_classes=2, **SMALL).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), original(x))


@pytest.fixture(scope="module")
def full() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published(DSSAUNet())


def test_the_full_checkpoint_converts_to_a_model_folder(full: dict[str, Tensor], tmp_path: Path) -> None:
    assert len(full) == 793
    assert len({name.replace("decoder.Decoder.", "Decoder.") for name in full}) == 563
    torch.save(full, tmp_path / "authors.pth")
    done = convert_checkpoint(tmp_path / "authors.pth", tmp_path / "out")
    assert (done.record.name, done.parameters, done.fresh, done.left_out) == ("dssaunet", 29_250_115, (), ())


def test_copies_of_the_decoder_that_differ_are_refused_by_name(checkpoint: dict[str, Tensor]) -> None:
    name = "Decoder.stages.1.0.attn.lepe.bias"
    with pytest.raises(UserError, match=f"^its tensors .{name}. and .* differ") as refusal:
        convert_state_dict({**checkpoint, name: checkpoint[name] + 1})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("absent", ["Decoder.", "decoder.Decoder."])
def test_one_copy_of_the_decoder_is_enough(checkpoint: dict[str, Tensor], absent: str) -> None:
    converted = convert_state_dict({k: v for k, v in checkpoint.items() if not k.startswith(absent)})
    assert converted.state.keys() == convert_state_dict(checkpoint).state.keys()


def test_a_partial_checkpoint_is_refused_with_the_names(full: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({k: v for k, v in full.items() if "fuse_all" not in k}, tmp_path / "partial.pth")
    with pytest.raises(UserError, match=r"decoder\.fuse\.conv"):
        glocal.create_model("dssaunet", weights=tmp_path / "partial.pth")
    with pytest.raises(UserError, match=r"'cls_seg\.0\.weight' is missing"):
        convert_state_dict({k: v for k, v in full.items() if not k.startswith("cls_seg")})


def test_pre_trained_weights_of_the_encoder_load_there_and_the_rest_is_told(
    full: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = {k.removeprefix("Encoder."): v for k, v in full.items() if k.startswith("Encoder.")}
    torch.save({"model": {**alone, "head.weight": torch.zeros(1000, 768)}}, tmp_path / "pretrain.pth")
    with pytest.raises(UserError, match=r"missing \(decoder\."):
        glocal.create_model("dssaunet", weights=tmp_path / "pretrain.pth")
    for name in ("dssaunet", "star_dssaunet"):
        with caplog.at_level(logging.INFO, logger="glocal"):
            network = glocal.create_model(name, weights=tmp_path / "pretrain.pth", num_classes=2, strict=False)
        torch.testing.assert_close(
            network.state_dict()["encoder.2.blocks.7.block.attention.lce.weight"],
            full["Encoder.stages.2.7.attn.lepe.weight"],
        )
        assert "encoder alone" in caplog.text
        assert "missing (" in caplog.text
    with caplog.at_level(logging.INFO, logger="glocal"):
        grey = glocal.create_model("dssaunet", in_channels=1, weights=tmp_path / "pretrain.pth", strict=False)
    colour = full["Encoder.downsample_layers.0.0.weight"]
    torch.testing.assert_close(grey.state_dict()["encoder.0.down.0.conv.weight"], colour.sum(1, keepdim=True))
    assert "summed the kernels of encoder.0.down.0.conv.weight" in caplog.text


def test_star_dssa_starts_from_dssa_and_only_its_own_tensors_are_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = glocal.create_model("dssaunet_tiny").eval()
    info = glocal.model_info("dssaunet_tiny")
    steps = Preprocessing((64, 64), 3, info.mean, info.std)
    save_model(
        tmp_path, tiny, name=info.name, arguments={}, classes=["a", "b", "c"], task=info.task, preprocessing=steps
    )
    as_dssa = {"mask_padding": False, "min_keep": 0, "topology_init": 0.0}
    star = glocal.create_model("star_dssaunet_tiny", weights=tmp_path, strict=False, **as_dssa).eval()
    new = set(star.state_dict()) - set(tiny.state_dict())
    assert all(torch.equal(star.state_dict()[k], v) for k, v in tiny.state_dict().items())
    assert f"{len(new)} missing" in caplog.text
    x = torch.rand(1, 3, 96, 128).double()
    with torch.inference_mode():
        torch.testing.assert_close(star.double()(x), tiny.double()(x), atol=1e-10, rtol=1e-8)


def test_training_moves_the_routing_of_star_dssa() -> None:
    torch.manual_seed(0)
    network = DSSAUNet(attention="star", drop_path=0.0, **SMALL)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
    x, target = torch.rand(2, 3, 128, 32), torch.randint(0, 3, (2, 128, 32))
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), target).backward()
        optimiser.step()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
