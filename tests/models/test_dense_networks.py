"""Semantic FPN and UPerNet: on any backbone, with the published counts, from published checkpoints."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.models import dense
from glocal.models.network import FeatureInfo, Network
from glocal.models.weights import Preprocessing, load_model, save_model

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PUBLISHED_BACKBONE = SHARED / "golden" / "spm" / "pvt_spm_tiny_features_128x160.json"

INFOS = [glocal.model_info(name) for name in glocal.list_models()]
SMALLEST = {info.family: info for info in sorted(INFOS, key=lambda info: -info.parameters)}
CHEAP = sorted(
    info.name
    for info in SMALLEST.values()
    if info.parameters < 10e6 and all(b == 2 * a for a, b in itertools.pairwise(info.feature_strides))
)
"""Backbones that are tried; the larger ones differ in nothing that matters here."""
NARROW = {"semantic_fpn": {"neck_channels": 8, "channels": 8}, "upernet": {"channels": 8, "auxiliary_channels": 8}}
"""Family -> options that make the head cheap."""
each_family = pytest.mark.parametrize("family", NARROW)


def parameters(name: str, **options) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in glocal.create_model(name, **options).parameters())


def busy(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("tiny", 17_781_590), ("small", 29_038_166), ("medium", 48_760_406), ("large", 65_921_622)],
)
def test_semantic_fpn_has_the_published_counts(variant: str, expected: int) -> None:
    assert parameters("semantic_fpn", backbone=f"pvt_{variant}_spm") == expected
    assert parameters("semantic_fpn", backbone=f"pvt_{variant}") == expected - 800_192


@pytest.mark.parametrize(("variant", "millions"), [("tiny", 60), ("small", 81), ("base", 121)])
def test_upernet_on_swin_has_the_published_counts(variant: str, millions: int) -> None:
    count = parameters("upernet", backbone=f"swin_{variant}", backbone_args={"stage_norms": True})
    assert round(count / 1e6) == millions


@each_family
@pytest.mark.parametrize("backbone", CHEAP)
def test_every_registered_pyramid_is_a_backbone(family: str, backbone: str) -> None:
    """Trained and deployed; the networks of this page are backbones too."""
    network: Network = glocal.create_model(family, in_channels=1, num_classes=3, backbone=backbone, **NARROW[family])
    assert network.feature_info == glocal.create_model(backbone).feature_info
    x = torch.rand(2, 1, 37, 50)
    sum(weight * logits.square().mean() for logits, weight in network.training_outputs(x)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    network = busy(network)
    with torch.inference_mode():
        logits = network(x)
        assert logits.shape == (2, 3, 37, 50)
        torch.testing.assert_close(glocal.deploy(network)(x), logits, atol=1e-4, rtol=1e-4)


@each_family
def test_options_reach_the_backbone_and_the_model_folder(family: str, tmp_path: Path) -> None:
    options = {"backbone": "lmnet_tiny", "backbone_args": {"lft": False}, **NARROW[family]}
    network = busy(glocal.create_model(family, num_classes=2, **options))
    info = glocal.model_info(family)
    save_model(
        tmp_path,
        network,
        name=family,
        arguments=json.loads(json.dumps(options)),
        classes=["background", "lesion"],
        task="segmentation",
        preprocessing=Preprocessing((64, 64), 3, info.mean, info.std),
    )
    x = torch.rand(1, 3, 40, 33)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path).network(x), network(x))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backbone": "pvt_tinny_spm"}, "no network 'pvt_tinny_spm'. Did you mean 'pvt_tiny_spm'"),
        ({"backbone": "lmnet_tiny", "backbone_args": {"presett": "paper"}}, "lmnet_tiny has no option 'presett'"),
        ({"backbone": "lmnet_tiny", "backbone_args": {"in_channels": 3}}, "backbone_args gives in_channels"),
        ({"backbone": "lmnet_tiny", "backbone_args": {"gft": "x"}}, "gft is 'x'"),
        ({"backbone": "lmnet_tiny", "backbone_args": "lft"}, "backbone_args is 'lft'; it must be a mapping"),
    ],
)
@each_family
def test_a_backbone_that_cannot_be_is_told_in_one_line(family: str, options: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        glocal.create_model(family, **options)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_maps_that_are_no_pyramid_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    network = glocal.create_model("lmnet_tiny")
    network.feature_info = (FeatureInfo(4, 1), FeatureInfo(8, 2), FeatureInfo(16, 8))
    monkeypatch.setattr(dense.registry, "build", lambda name, options: network)
    with pytest.raises(ValueError, match="strides 1, 2, 8; a pyramid needs at least two, each twice the one before"):
        dense.make_backbone("lmnet_tiny", None, 3)
    network.feature_info = network.feature_info[:2]
    with pytest.raises(ValueError, match="no map of stride 8 or more; its coarsest has 2"):
        dense.make_backbone("lmnet_tiny", None, 3, min_stride=8)


def test_logits_are_enlarged_as_published() -> None:
    """At a size on the grid: neck, head, and one bilinear enlargement by the finest stride."""
    network = busy(glocal.create_model("semantic_fpn_nano"))
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        coarse = network.head(network.neck(network.backbone(x)))
        assert coarse.shape == (1, 2, 16, 24)
        expected = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(x), expected)


def test_the_auxiliary_head_of_upernet_is_for_training_alone() -> None:
    options = {"backbone": "lmnet_tiny", "num_classes": 3, **NARROW["upernet"]}
    network = busy(glocal.create_model("upernet", **options))
    x = torch.rand(2, 3, 33, 47)
    (logits, one), (auxiliary, weight) = network.training_outputs(x)
    assert (one, weight) == (1.0, 0.4)
    assert auxiliary.shape == logits.shape == (2, 3, 33, 47)
    assert torch.equal(logits, network(x))
    assert glocal.deploy(network).auxiliary is None
    without = glocal.create_model("upernet", **options, auxiliary_weight=0)
    assert len(without.training_outputs(x)) == 1
    assert not any(name.startswith("auxiliary.") for name in without.state_dict())
    with pytest.raises(UserError, match="at least 0"):
        glocal.create_model("upernet", **options, auxiliary_weight=-1)


# Published checkpoints


def norm(name: str, out: int, into: int, kernel: int) -> dict[str, torch.Tensor]:
    """A convolution with a batch norm, as mmsegmentation names it."""
    tensors = {f"{name}.conv.weight": torch.randn(out, into, kernel, kernel) / (into * kernel)}
    for key in ("weight", "bias", "running_mean"):
        tensors[f"{name}.bn.{key}"] = torch.randn(out) * 0.1 + (key == "weight")
    return {
        **tensors,
        f"{name}.bn.running_var": torch.rand(out) + 0.5,
        f"{name}.bn.num_batches_tracked": torch.tensor(7),
    }


def plain(name: str, out: int, into: int, kernel: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.randn(out, into, kernel, kernel) / into, f"{name}.bias": torch.randn(out)}


def backbone() -> dict[str, torch.Tensor]:
    if not PUBLISHED_BACKBONE.exists():
        pytest.skip(f"no {PUBLISHED_BACKBONE}; set GLOCAL_SHARED to the folder above golden/")
    state = json.loads(PUBLISHED_BACKBONE.read_text())["state"]
    return {
        f"backbone.{name}": torch.randn(shape) * 0.02 + name.endswith(("norm.weight", "running_var"))
        for name, shape, _ in state
    }


def semantic_fpn_checkpoint(classes: int = 5, neck: int = 12, head: int = 8) -> dict[str, torch.Tensor]:
    tensors = {**backbone(), **plain("decode_head.conv_seg", classes, head, 1)}
    for i, (width, layers) in enumerate(zip((64, 128, 320, 512), (1, 1, 2, 3), strict=True)):
        tensors |= plain(f"neck.lateral_convs.{i}.conv", neck, width, 1)
        tensors |= plain(f"neck.fpn_convs.{i}.conv", neck, neck, 3)
        for j in range(layers):
            tensors |= norm(f"decode_head.scale_heads.{i}.{2 * j}", head, head if j else neck, 3)
    return tensors


def upernet_checkpoint(classes: int = 5, head: int = 8) -> dict[str, torch.Tensor]:
    tensors = {**backbone(), **plain("decode_head.conv_seg", classes, head, 1)}
    tensors |= plain("auxiliary_head.conv_seg", classes, 6, 1) | norm("auxiliary_head.convs.0", 6, 320, 3)
    tensors |= norm("decode_head.bottleneck", head, 512 + 4 * head, 3)
    tensors |= norm("decode_head.fpn_bottleneck", head, 4 * head, 3)
    for i, width in enumerate((64, 128, 320)):
        tensors |= norm(f"decode_head.lateral_convs.{i}", head, width, 1)
        tensors |= norm(f"decode_head.fpn_convs.{i}", head, head, 3)
    for i in range(4):
        tensors |= norm(f"decode_head.psp_modules.{i}.1", head, 512, 1)
    return tensors


@pytest.mark.parametrize(("name", "make"), [("semantic_fpn", semantic_fpn_checkpoint), ("upernet", upernet_checkpoint)])
def test_a_checkpoint_of_mmsegmentation_loads(name: str, make, tmp_path: Path) -> None:
    tensors = make()
    path = tmp_path / "authors.pth"
    torch.save({"state_dict": tensors, "meta": {}}, path)
    network = glocal.create_model(name, weights=path).eval()
    assert network.num_classes == 5
    assert torch.equal(network.head.classifier.conv.weight, tensors["decode_head.conv_seg.weight"])
    assert torch.equal(network.backbone.network.stages[0].position, tensors["backbone.pos_embed1"])
    if name == "semantic_fpn":
        last = tensors["decode_head.scale_heads.3.4.bn.running_mean"]
        assert torch.equal(network.head.levels[3][2].norm.running_mean, last)
    else:
        assert torch.equal(network.auxiliary.conv.conv.weight, tensors["auxiliary_head.convs.0.conv.weight"])
    assert network(torch.rand(1, 3, 40, 50)).shape == (1, 5, 40, 50)


def test_a_partial_checkpoint_of_mmsegmentation_is_refused_by_name(tmp_path: Path) -> None:
    tensors = semantic_fpn_checkpoint()
    path = tmp_path / "authors.pth"
    for missing in ("decode_head.conv_seg.weight", "neck.lateral_convs.0.conv.weight"):
        torch.save({k: v for k, v in tensors.items() if k != missing}, path)
        with pytest.raises(UserError, match=missing):
            glocal.create_model("semantic_fpn", weights=path)
    torch.save({k: v for k, v in tensors.items() if "scale_heads.2" not in k}, path)
    with pytest.raises(UserError, match=r"head\.levels\.2"):
        glocal.create_model("semantic_fpn", weights=path)
