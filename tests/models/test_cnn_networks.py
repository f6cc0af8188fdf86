"""The convolutional comparison networks: the figures of the tables, published checkpoints, what training sees."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import glocal
from glocal.errors import UserError
from glocal.models.complexity import complexity
from glocal.models.published import convert_state_dict, recognise

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
GOLDEN = SHARED / "golden" / "baselines"


def cost(name: str, size: int = 256, **options: Any):
    with torch.device("meta"):
        network = glocal.create_model(name, **options)
    return complexity(network, (size, size))


def cut(number: int, unit: float) -> str:
    """Two decimals, cut off as the paper cuts them."""
    return f"{int(number / unit * 100) / 100:.2f}"


@pytest.mark.parametrize(
    ("name", "parameters", "millions", "billions"),
    [
        ("unet", 31_037_698, "31.03", "54.74"),
        ("unetpp_ds", 9_163_560, "9.16", "34.91"),
        ("attention_unet", 34_878_638, "34.87", "66.63"),
        ("resunet", 13_043_074, "13.04", "80.98"),
        ("resunetpp", 14_482_597, "14.48", "70.99"),
        ("deeplabv3plus_mobilenet", 5_220_834, "7.03", "14.55"),
        ("fcn_resnet50", 32_947_266, "32.94", "34.71"),
    ],
)
def test_the_rows_of_the_lmnet_paper(name: str, parameters: int, millions: str, billions: str) -> None:
    """Table 1, by the counter it was made with; beside it the true parameters."""
    figures = cost(name)
    assert figures.parameters == parameters
    assert (cut(figures.papers.parameters, 1e6), cut(figures.papers.multiply_adds, 1e9)) == (millions, billions)


@pytest.mark.parametrize(
    ("name", "options", "millions", "billions"),
    [
        ("unetpp", {}, "9.163", "34.91"),
        ("deeplabv3plus_mobilenet_jfz", {"output_stride": 8}, "7.623", "16.98"),
        ("deeplabv3plus_mobilenet_vainf", {}, "5.221", "7.92"),
        ("deeplabv3plus_mobilenet_vainf", {"output_stride": 16}, "5.221", "4.28"),
    ],
)
def test_other_configurations_by_the_same_counter(name: str, options: dict, millions: str, billions: str) -> None:
    papers = cost(name, **options).papers
    assert (f"{papers.parameters / 1e6:.3f}", f"{papers.multiply_adds / 1e9:.2f}") == (millions, billions)


def test_parameters_of_the_backbones() -> None:
    assert cost("resnet50", 64).parameters == 25_557_032
    assert cost("mobilenet_v2", 64).parameters == 3_504_872
    assert cost("unet_bilinear", 64).parameters == 17_263_042


# Published checkpoints


def published(case: str, device: str = "meta") -> dict[str, Tensor]:
    """The state dict that the published network of a golden case would save; values are of no matter."""
    path = GOLDEN / f"{case}.json"
    if not path.exists():
        pytest.skip(f"no {path}; set GLOCAL_SHARED to the folder above golden/")
    state = json.loads(path.read_text())["state"]
    return {
        name: torch.ones(shape, device=device, dtype=torch.float32 if "float" in dtype else torch.long)
        for name, shape, dtype in state
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "unet_64": ("unet", {"num_classes": 2}),
    "unet_bilinear_64": ("unet_bilinear", {"num_classes": 2, "bilinear": True}),
    "attunet_64": ("attention_unet", {"num_classes": 2}),
    "unetpp_64": ("unetpp", {"num_classes": 2}),
    "unetpp_ds_64": ("unetpp_ds", {"num_classes": 2, "deep_supervision": True}),
    "resunet_64": ("resunet", {"num_classes": 1}),
    "resunetpp_logits2_64": ("resunetpp", {"num_classes": 2}),
    "deeplabv3plus_single_os8_208": ("deeplabv3plus_mobilenet", {"num_classes": 2}),
    "deeplabv3plus_jfz_os16_128": (
        "deeplabv3plus_mobilenet_jfz",
        {"num_classes": 2, "decoder_convs": 2, "output_stride": 16},
    ),
    "deeplabv3plus_vainf_os8_208": ("deeplabv3plus_mobilenet_vainf", {"num_classes": 2, "lineage": "vainf"}),
    "fcn_resnet50_64": ("fcn_resnet50", {"num_classes": 2}),
}
"""Golden case -> the network that its checkpoint is of, and what the tensors tell."""


@pytest.mark.parametrize("case", CASES)
def test_a_published_checkpoint_is_recognised_whole(case: str) -> None:
    tensors = published(case)
    name, told = CASES[case]
    assert recognise(tensors) == glocal.model_info(name).family
    converted = convert_state_dict(tensors)
    assert (converted.name, converted.arguments) == (name, {"in_channels": 3, **told})
    assert not converted.unexpected
    assert not converted.ignored
    with torch.device("meta"):
        ours = glocal.create_model(converted.name, **converted.arguments).state_dict()
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize("case", ["unetpp_ds_64", "deeplabv3plus_vainf_os8_208"])
def test_a_checkpoint_in_a_file_loads_and_a_partial_one_is_refused_by_name(case: str, tmp_path: Path) -> None:
    tensors = {f"module.{key}": value for key, value in published(case, "cpu").items()}
    name, _ = CASES[case]
    path = tmp_path / "authors.pth"
    torch.save({"state_dict": tensors}, path)
    network = glocal.create_model(name, weights=path).eval()
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    family = glocal.model_info(name).family
    stem = "conv0_0.conv1.weight" if family == "unetpp" else "backbone.low_level_features.0.0.weight"
    torch.save({key: value for key, value in tensors.items() if not key.endswith(stem)}, path)
    with pytest.raises(UserError, match=f"look like {family}, but '{stem}' is missing"):
        glocal.create_model(name, weights=path)
    some = "conv2_1" if family == "unetpp" else "classifier.aspp.convs.2"
    torch.save({key: value for key, value in tensors.items() if some not in key}, path)
    with pytest.raises(UserError, match=r"nested\.0\.2" if family == "unetpp" else r"pyramid\.branches\.2"):
        glocal.create_model(name, weights=path)


def test_second_names_of_a_deeplab_backbone_are_dropped_and_told() -> None:
    tensors = published("deeplabv3plus_single_os8_208")
    half = "backbone.low_level_features."
    aliases = {f"backbone.features.{k.removeprefix(half)}": v for k, v in tensors.items() if k.startswith(half)}
    converted = convert_state_dict({**tensors, **aliases})
    assert converted.state.keys() == convert_state_dict(tensors).state.keys()
    assert not converted.unexpected
    assert any(f"left out {len(aliases)} second names" in note for note in converted.notes)
    assert any("output_stride" in note for note in converted.notes)


def test_an_auxiliary_head_of_fcn_is_taken_over() -> None:
    tensors = published("fcn_resnet50_64")
    for key in [key for key in tensors if key.startswith("classifier.")]:
        shape = [min(256, side) if i < 2 else side for i, side in enumerate(tensors[key].shape)]
        if key == "classifier.0.weight":
            shape[1] = 1024
        tensors[f"aux_{key}"] = torch.zeros(shape, device="meta")
    converted = convert_state_dict(tensors)
    assert converted.arguments["auxiliary_weight"] == 0.5
    with torch.device("meta"):
        network = glocal.create_model("fcn_resnet50", **converted.arguments)
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in network.state_dict().items()}


# Backbones from ImageNet


def norm(name: str, channels: int) -> dict[str, Tensor]:
    return {f"{name}.{key}": torch.rand(channels) for key in ("weight", "bias", "running_mean", "running_var")}


def library_resnet(width: int) -> dict[str, Tensor]:
    """A ResNet of one bottleneck a stage, by the names of torchvision."""
    tensors = {"conv1.weight": torch.rand(width, 3, 7, 7), **norm("bn1", width)}
    inputs = width
    for i in range(4):
        hidden, out = width * 2**i, 4 * width * 2**i
        place = f"layer{i + 1}.0"
        shapes = {"conv1": (hidden, inputs, 1, 1), "conv2": (hidden, hidden, 3, 3), "conv3": (out, hidden, 1, 1)}
        for j, (conv, shape) in enumerate(shapes.items(), 1):
            tensors |= {f"{place}.{conv}.weight": torch.rand(shape), **norm(f"{place}.bn{j}", shape[0])}
        tensors |= {f"{place}.downsample.0.weight": torch.rand(out, inputs, 1, 1), **norm(f"{place}.downsample.1", out)}
        inputs = out
    return {**tensors, "fc.weight": torch.rand(1000, inputs), "fc.bias": torch.rand(1000)}


def library_mobilenet() -> dict[str, Tensor]:
    """MobileNetV2 by the names of torchvision."""
    tensors = {"features.0.0.weight": torch.rand(32, 3, 3, 3), **norm("features.0.1", 32)}
    inputs, number = 32, 0
    groups = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    for expansion, channels, depth in groups:
        for _ in range(depth):
            number += 1
            hidden, place, at = expansion * inputs, f"features.{number}.conv", 0
            if expansion > 1:
                tensors |= {f"{place}.0.0.weight": torch.rand(hidden, inputs, 1, 1), **norm(f"{place}.0.1", hidden)}
                at = 1
            tensors |= {f"{place}.{at}.0.weight": torch.rand(hidden, 1, 3, 3), **norm(f"{place}.{at}.1", hidden)}
            tensors[f"{place}.{at + 1}.weight"] = torch.rand(channels, hidden, 1, 1)
            tensors |= norm(f"{place}.{at + 2}", channels)
            inputs = channels
    tensors |= {"features.18.0.weight": torch.rand(1280, 320, 1, 1), **norm("features.18.1", 1280)}
    return {**tensors, "classifier.1.weight": torch.rand(1000, 1280), "classifier.1.bias": torch.rand(1000)}


def test_weights_of_a_library_load_into_the_classifiers(tmp_path: Path) -> None:
    path = tmp_path / "imagenet.pth"
    for name, tensors, last in (
        ("resnet50", library_resnet(8), "stages.3.0.expand.conv.weight"),
        ("mobilenet_v2", library_mobilenet(), "blocks.16.project.conv.weight"),
    ):
        torch.save(tensors, path)
        network = glocal.create_model(name, weights=path)
        assert network.num_classes == 1000
        theirs = "layer4.0.conv3.weight" if name == "resnet50" else "features.17.conv.2.weight"
        assert torch.equal(network.encoder.state_dict()[last], tensors[theirs])


@pytest.mark.parametrize("channels", [3, 1])
def test_weights_of_a_library_fill_the_backbone(channels: int, tmp_path: Path, caplog) -> None:
    path = tmp_path / "imagenet.pth"
    tensors = library_resnet(16)
    torch.save(tensors, path)
    with caplog.at_level(logging.INFO, "glocal"):
        network = glocal.create_model("fcn_nano", in_channels=channels, weights=path, strict=False)
    stem = tensors["conv1.weight"]
    assert torch.equal(network.backbone.stem.conv.weight, stem if channels == 3 else stem.sum(1, keepdim=True))
    assert torch.equal(network.backbone.stages[3][0].expand.conv.weight, tensors["layer4.0.conv3.weight"])
    assert "head.weight" in caplog.text, "what has no place is told"
    with pytest.raises(UserError, match="strict=False"):
        glocal.create_model("fcn_nano", weights=path)
    tensors = library_mobilenet()
    torch.save(tensors, path)
    for name in ("deeplabv3plus_mobilenet", "deeplabv3plus_mobilenet_vainf"):
        backbone = glocal.create_model(name, weights=path, strict=False).backbone
        assert torch.equal(backbone.blocks[0].depthwise.conv.weight, tensors["features.1.conv.0.0.weight"])
        assert torch.equal(backbone.blocks[16].project.norm.running_var, tensors["features.17.conv.3.running_var"])


# Training


def test_deep_supervision_is_for_training_alone() -> None:
    network = glocal.create_model("unetpp_tiny", deep_supervision=True, num_classes=3).eval()
    x = torch.rand(2, 3, 33, 47)
    outputs = network.training_outputs(x)
    assert [weight for _, weight in outputs] == [0.25] * 4
    assert {tuple(logits.shape) for logits, _ in outputs} == {(2, 3, 33, 47)}
    assert torch.equal(network(x), outputs[-1][0])
    sum(weight * logits.square().mean() for logits, weight in outputs).backward()
    assert all(conv.weight.grad.any() for conv in network.heads.convs)
    fast = glocal.deploy(network)
    assert len(fast.heads.convs) == 1
    torch.testing.assert_close(fast(x), network(x), atol=1e-4, rtol=1e-4)
    network.reset_head(5)
    assert [logits.shape[1] for logits, _ in network.training_outputs(x)] == [5] * 4
    assert len(glocal.create_model("unetpp_tiny").training_outputs(x)) == 1


def test_the_auxiliary_head_of_fcn_is_for_training_alone() -> None:
    network = glocal.create_model("fcn_nano", auxiliary_weight=0.5, num_classes=3).eval()
    x = torch.rand(2, 3, 33, 47)
    (logits, one), (auxiliary, weight) = network.training_outputs(x)
    assert (one, weight) == (1.0, 0.5)
    assert logits.shape == auxiliary.shape == (2, 3, 33, 47)
    assert torch.equal(logits, network(x))
    assert glocal.deploy(network).auxiliary is None
    network.reset_head(4)
    assert [logits.shape[1] for logits, _ in network.training_outputs(x)] == [4, 4]


@pytest.mark.parametrize("options", [{"lineage": "vainf"}, {"output_stride": 16}, {"decoder_convs": 2}])
@pytest.mark.parametrize("size", [(33, 47), (1, 2), (52, 40)])
def test_every_deeplab_takes_any_size(options: dict, size: tuple[int, int]) -> None:
    network = glocal.create_model("deeplabv3plus_mobilenet", **options).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, *size)).shape == (1, 2, *size)
        maps = network.forward_features(torch.rand(1, 3, *size))
    expected = [(f.channels, -(-size[0] // f.stride), -(-size[1] // f.stride)) for f in network.feature_info]
    assert [tuple(m.shape[1:]) for m in maps] == expected


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("unet", {"width": 0}, "whole numbers of at least 1"),
        ("unet", {"width": 15, "bilinear": True}, "it must be even"),
        ("attention_unet", {"width": 1}, "it must be even"),
        ("fcn_resnet50", {"depths": [1, 2]}, "four whole numbers"),
        ("fcn_resnet50", {"auxiliary_weight": -1}, "at least 0"),
        ("resnet50", {"depths": [1, 2, 3, 0]}, "four whole numbers"),
        ("deeplabv3plus_mobilenet", {"lineage": "google"}, "use jfzhang95 or vainf"),
        ("deeplabv3plus_mobilenet", {"output_stride": 32}, "use 8 or 16"),
        ("deeplabv3plus_mobilenet", {"lineage": "vainf", "decoder_convs": 2}, "use 1"),
    ],
)
def test_an_impossible_option_is_told_in_one_line(name: str, options: dict, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        glocal.create_model(name, **options)
    assert "\n" not in str(error.value)
