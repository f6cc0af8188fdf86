"""Networks on Mix Transformer and PVTv2: figures of the tables, published checkpoints and backbones, fast forms."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_cnn_networks import cost, cut, published
from torch import Tensor

import glocal
from glocal.errors import UserError
from glocal.models.published import convert_state_dict, recognise
from glocal.nn import NearestUpsampleConv, ResizedFusion

NEVER_CALLED = 262_656
"""Parameters of a layer that SSFormer's code builds and never calls; there is none here."""


@pytest.mark.parametrize(
    ("name", "parameters", "millions", "billions"),
    [
        ("fcbformer", 52_962_402, "52.94", "38.77"),
        ("ssformer_l", 66_219_202 - NEVER_CALLED, "65.95", "17.28"),
        ("esfpnet_l", 61_691_074, "61.69", "11.60"),
    ],
)
def test_the_rows_of_the_lmnet_paper(name: str, parameters: int, millions: str, billions: str) -> None:
    """Table 5, by the counter it was made with; beside it the true parameters."""
    figures = cost(name)
    assert figures.parameters == parameters
    assert (cut(figures.papers.parameters, 1e6), cut(figures.papers.multiply_adds, 1e9)) == (millions, billions)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fcbformer", 52_962_337),
        ("ssformer_l", 66_218_945 - NEVER_CALLED),
        ("ssformer_s", 29_572_545 - NEVER_CALLED),
        ("esfpnet_l", 61_690_049),
        ("esfpnet_s", 25_043_649),
        ("esfpnet_t", 3_532_129),
    ],
)
def test_published_parameters_for_one_class(name: str, parameters: int) -> None:
    assert cost(name, 64, num_classes=1).parameters == parameters


# Published checkpoints

CASES = {
    "fcbformer_96": ("fcbformer", {"num_classes": 1}, 0),
    "ssformer_l_64": ("ssformer_l", {"num_classes": 1}, 6),
    "ssformer_s_64": ("ssformer_s", {"num_classes": 2}, 6),
    "esfpnet_l_64": ("esfpnet_l", {"num_classes": 1}, 0),
    "esfpnet_t_64": ("esfpnet_t", {"num_classes": 1}, 0),
}
"""Golden case -> the network, what the tensors tell, and how many of them the published network never uses."""


@pytest.mark.parametrize("case", CASES)
def test_a_published_checkpoint_is_recognised_whole(case: str) -> None:
    tensors = published(case)
    name, told, ignored = CASES[case]
    assert recognise(tensors) == glocal.model_info(name).family
    converted = convert_state_dict(tensors)
    assert (converted.name, converted.arguments) == (name, {"in_channels": 3, **told})
    assert not converted.unexpected
    assert len(converted.ignored) == ignored
    assert all("linear_fuse." in name for name in converted.ignored)
    with torch.device("meta"):
        ours = glocal.create_model(converted.name, **converted.arguments).state_dict()
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in ours.items()}


def test_a_checkpoint_in_a_file_loads_and_a_partial_one_is_refused_by_name(tmp_path: Path) -> None:
    tensors = {f"module.{name}": value for name, value in published("esfpnet_t_64", "cpu").items()}
    path = tmp_path / "authors.pth"
    torch.save({"state_dict": tensors}, path)
    network = glocal.create_model("esfpnet_t", weights=path).eval()
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    torch.save({name: value for name, value in tensors.items() if "LP_23" not in name}, path)
    with pytest.raises(UserError, match=r"remix\.1"):
        glocal.create_model("esfpnet_t", weights=path)


def test_a_checkpoint_on_another_backbone_keeps_it() -> None:
    with torch.device("meta"):
        tensors = glocal.create_model("ssformer_l", backbone="mit_b1").state_dict()
    theirs = {f"backbone.{name}": value for name, value in official(backbone_of(tensors)).items()}
    for name, value in tensors.items():
        if not name.startswith("backbone."):
            theirs[decoder_name(name)] = value
    converted = convert_state_dict(theirs)
    assert (converted.name, converted.arguments["backbone"]) == ("ssformer_l", "mit_b1")
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in tensors.items()}


def test_what_is_no_mix_transformer_of_a_known_depth_is_refused() -> None:
    tensors = {name: value for name, value in official(classifier("mit_b0")).items() if "block3.1." not in name}
    with pytest.raises(UserError, match=r"no Mix Transformer or PVTv2 has stages of \(2, 2, 1, 2\) blocks"):
        convert_state_dict(tensors)


# Public backbones


def classifier(name: str) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return glocal.create_model(name, num_classes=7).state_dict()


def backbone_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    place = "backbone.network."
    return {name.removeprefix(place): value for name, value in tensors.items() if name.startswith(place)}


def official(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by the names of SegFormer and PVTv2."""
    return {renamed(name, "patch_embed{0}", "block{0}.{1}", "norm{0}", ".dwconv"): v for name, v in tensors.items()}


def timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by the names of timm."""
    named = {
        renamed(name, "embed{0}", "stages.{2}.blocks.{1}", "stages.{2}.norm", ""): v for name, v in tensors.items()
    }
    places = {"embed1.": "patch_embed.", **{f"embed{i + 1}.": f"stages.{i}.downsample." for i in (1, 2, 3)}}
    return {places.get(name[:7], name[:7]) + name[7:]: value for name, value in named.items()}


def renamed(name: str, embed: str, block: str, norm: str, depthwise: str) -> str:
    name = name.removeprefix("encoder.")
    kind, number, *rest = name.split(".")
    if kind == "head":
        return name
    stage = int(number)
    if kind == "stages":
        inner = ".".join(rest[1:]).replace("attention.", "attn.").replace("depthwise", f"dwconv{depthwise}")
        return f"{block.format(stage + 1, rest[0], stage)}.{inner}"
    return f"{(embed if kind == 'embed' else norm).format(stage + 1, None, stage)}.{'.'.join(rest)}"


def decoder_name(name: str) -> str:
    """Ours of SSFormer's decoder, as its code has it."""
    name = re.sub(r"^emphasis\.(\d)\.", lambda m: f"linear_c{int(m[1]) + 1}.proj.", name)
    name = re.sub(r"^fusions\.(\d)\.norm", lambda m: f"linear_fuse{('34', '2', '1')[int(m[1])]}.bn", name)
    name = re.sub(r"^fusions\.(\d)\.conv", lambda m: f"linear_fuse{('34', '2', '1')[int(m[1])]}.conv", name)
    return f"decode_head.{name.replace('head.', 'linear_pred.')}"


@pytest.mark.parametrize("name", ["mit_b0", "pvt_v2_b0"])
@pytest.mark.parametrize("names", [official, timm])
def test_public_classifiers_load_by_their_names(name: str, names: Any, tmp_path: Path) -> None:
    ours = classifier(name)
    theirs = names(ours)
    assert any(
        ("patch_embed1.proj.weight" if names is official else "stages.1.downsample.proj.weight") in k for k in theirs
    )
    assert recognise(theirs) == "mit", "not PVT, whose names are alike"
    path = tmp_path / "imagenet.pth"
    torch.save(theirs, path)
    loaded = glocal.create_model(name, weights=path)
    assert loaded.num_classes == 7
    assert all(torch.equal(value, ours[key]) for key, value in loaded.state_dict().items())
    del theirs["head.weight"], theirs["head.bias"]
    converted = convert_state_dict(theirs)
    assert (converted.name, converted.arguments) == (name, {"in_channels": 3})


@pytest.mark.parametrize(
    ("network", "backbone"), [("ssformer_tiny", "mit_b0"), ("esfpnet_t", "mit_b0"), ("fcbformer_tiny", "pvt_v2_b0")]
)
def test_public_classifiers_fill_the_backbone(network: str, backbone: str, tmp_path: Path, caplog: Any) -> None:
    ours = classifier(backbone)
    path = tmp_path / "imagenet.pth"
    torch.save(official(ours), path)
    with caplog.at_level(logging.INFO, "glocal"):
        made = glocal.create_model(network, in_channels=1, weights=path, strict=False)
    filled = backbone_of(made.state_dict())
    for name, value in filled.items():
        expected = ours[name].sum(1, keepdim=True) if name == "encoder.embed.0.proj.weight" else ours[name]
        assert torch.equal(value, expected), name
    assert "head.weight" in caplog.text, "what has no place is told"
    with pytest.raises(UserError, match="strict=False"):
        glocal.create_model(network, weights=path)


def test_a_backbone_of_other_strides_is_refused() -> None:
    for name in ("ssformer_tiny", "esfpnet_t", "fcbformer_tiny"):
        with pytest.raises(UserError, match=r"unet_tiny have strides 1, 2, 4, 8, 16; \w+ needs 4, 8, 16, 32"):
            glocal.create_model(name, backbone="unet_tiny")


@pytest.mark.parametrize("options", [{"widths": [32, 64]}, {"depths": [1, 1, 1.5, 1]}, {"mlp_ratios": [4, 4, 4, 0]}])
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        glocal.create_model("mit_b0", **options)


# What is computed


@pytest.mark.parametrize("norm", [True, False])
def test_fusing_before_resizing_is_fusing_after_it(norm: bool) -> None:
    torch.manual_seed(0)
    fuse = ResizedFusion([5, 7, 3], 4, norm=norm).double()
    for sizes, size in ((((6, 10), (3, 5), (2, 2)), (6, 10)), (((1, 1), (4, 3), (2, 2)), (7, 9))):
        maps = [torch.rand(2, c, *s).double() for c, s in zip((5, 7, 3), sizes, strict=True)]
        whole = torch.cat([F.interpolate(x, size=size, mode="bilinear") for x in maps], 1)
        expected = fuse.conv(whole)
        if norm:
            expected = F.relu(fuse.norm(expected))
        torch.testing.assert_close(fuse(maps, size), expected)
    fuse.eval()
    before = fuse(maps, size)
    fuse.merge()
    torch.testing.assert_close(fuse(maps, size), before)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7)])
def test_doubling_by_repetition_commutes_with_the_summed_taps(size: tuple[int, int]) -> None:
    up = NearestUpsampleConv(4, 3, norm=False).double()
    x = torch.randn(2, 4, *size).double()
    torch.testing.assert_close(up(x), up.layer.conv(F.interpolate(x, scale_factor=2)))


def test_ssformer_pads_nothing_and_crops_the_next_multiple_of_four() -> None:
    network = glocal.create_model("ssformer_tiny").eval()
    x = torch.rand(1, 3, 131, 50)
    with torch.inference_mode():
        maps = network.encode(x)
        assert [tuple(m.shape[2:]) for m in maps] == [(33, 13), (17, 7), (9, 4), (5, 2)]
        whole = network.decode(maps)
        assert whole.shape[2:] == (132, 52)
        assert torch.equal(network(x), whole[..., :131, :50])


def test_emphasis_at_a_quarter_is_the_published_one_at_the_size_it_was_made_for() -> None:
    torch.manual_seed(0)
    quarter = glocal.create_model("fcbformer_tiny").eval()
    fixed = glocal.create_model("fcbformer_tiny", emphasis_size=16).eval()
    fixed.load_state_dict(quarter.state_dict())
    with torch.inference_mode():
        x = torch.rand(1, 3, 64, 64)
        assert torch.equal(fixed(x), quarter(x))
        x = torch.rand(1, 3, 96, 64)
        assert not torch.allclose(fixed(x), quarter(x))
    for size in (0, "half"):
        with pytest.raises(UserError, match="emphasis_size"):
            glocal.create_model("fcbformer_tiny", emphasis_size=size)
