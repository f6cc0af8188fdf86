"""HiPerformer: the counts of its publication, its options, and its published checkpoints."""

from __future__ import annotations

import json
import logging
import math
import re
from typing import Any

import published_hiperformer as published
import pytest
import torch
from torch import Tensor, nn

import glocal
from glocal.errors import UserError
from glocal.models.complexity import complexity
from glocal.models.conversion import convert_checkpoint
from glocal.models.hiperformer import HiPerformer
from glocal.models.published import convert_state_dict
from glocal.models.weights import load_model


def on_meta(**options: Any) -> HiPerformer:
    with torch.device("meta"):
        return HiPerformer(**options)


def tiny(**options: Any) -> Any:
    torch.manual_seed(0)
    return glocal.create_model("hiperformer_tiny", **options)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# The figures of the publication (measured on its code), without what it builds and never uses

PARTS = {  # parameters; of these never used; G multiply-adds
    "global_branch": (86_745_016, 0, 15.47),
    "local_branch": (41_817_600, 0, 6.30),
    "fusion.0": (2_643_397, 58_880 + 100, 8.20),
    "fusion.1": (10_562_341, 132_864 + 100, 8.35),
    "fusion.2": (42_227_173, 527_872 + 100, 8.35),
    "fusion.3": (168_864_613, 2_104_320 + 100, 8.35),
    "pyramid": (9_988_608, 0, 4.48),
    "bottom": (34_697_008, 27_757_088, 0.34),
    "skips.2": (8_685_211, 1_735_304, 1.36),
    "skips.1": (2_172_239, 433_988, 1.36),
    "skips.0": (543_529, 108_578, 1.36),
    "decoder.2": (4_719_616, 0, 1.85),
    "decoder.1": (1_180_160, 0, 1.85),
    "decoder.0": (295_168, 0, 1.85),
}
ALL, DEAD = 415_158_995, 32_859_294


def test_counts_are_those_of_the_published_network_part_by_part() -> None:
    """The published counter charges norms as well, a quarter of a percent; ours counts matrix products alone."""
    cost = complexity(on_meta(), (224, 224))
    stages = {stage.name: stage for stage in cost.stages}
    for name, (parameters, dead, products) in PARTS.items():
        assert stages[name].parameters == parameters - dead, name
        assert stages[name].multiply_adds / 1e9 == pytest.approx(products, rel=0.005, abs=0.006), name
    assert sum(stages[f"heads.{i}"].parameters for i in range(4)) == 17_316
    assert cost.parameters == ALL - DEAD
    assert cost.multiply_adds / 1e9 == pytest.approx(69.5, rel=0.002)


def test_the_depthwise_perceptron_is_what_the_paper_describes() -> None:
    cost = complexity(on_meta(irmlp="depthwise"), (224, 224))
    assert cost.parameters == 302_406_995 - DEAD
    assert cost.multiply_adds / 1e9 == pytest.approx(52.9, rel=0.003)


def test_a_class_more_costs_1924_parameters() -> None:
    assert count(on_meta(num_classes=10)) - count(on_meta(num_classes=9)) == 1_924


CLASSIFIERS = {"t": (96, 28_288_354), "s": (96, 49_606_258), "l": (192, 196_532_476)}
"""Width and parameters of the official classifiers, with windows of 7 and a head for 1000 classes."""


@pytest.mark.parametrize("variant", CLASSIFIERS)
def test_the_other_swins_are_the_official_ones(variant: str) -> None:
    """Without the head, with a norm on each of the first three maps, and Swin-L with tables for windows of 12."""
    width, classifier = CLASSIFIERS[variant]
    with torch.device("meta"):
        network = glocal.create_model(f"hiperformer_swin_{variant}")
    tables = (23**2 - 13**2) * (2 * 6 + 2 * 12 + 18 * 24 + 2 * 48) if variant == "l" else 0
    assert count(network.global_branch) == classifier - 1000 * (8 * width + 1) + 2 * (1 + 2 + 4) * width + tables
    assert network.feature_info[0].channels == count(network.local_branch.stages[0].fuse.norm) // 2 == width


# What the network computes


def test_one_channel_is_the_published_network_on_the_image_repeated() -> None:
    state = convert_state_dict(published.small()).state
    colour, grey = tiny(num_classes=4), tiny(num_classes=4, in_channels=1)
    colour.load_state_dict(state, strict=False)
    summed = ("global_branch.embed.weight", "local_branch.stem.conv.weight")
    grey.load_state_dict({k: v.sum(1, keepdim=True) if k in summed else v for k, v in state.items()}, strict=False)
    x = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        expected = colour.eval()(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval()(x), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.01


def test_an_image_off_the_grid_is_one_that_zeros_were_put_around() -> None:
    """The published code does so where it works, at 32·k − 1, and returns the row and column that are too many."""
    network, x = tiny().eval(), torch.rand(1, 3, 63, 95)
    with torch.inference_mode():
        padded = network(nn.functional.pad(x, (0, 1, 0, 1)))
        torch.testing.assert_close(network(x), padded[..., :63, :95])


def test_each_decoder_convolution_is_applied_twice() -> None:
    network = tiny().train()
    norms = [conv[0].norm for conv in network.decoder]
    network(torch.rand(2, 3, 64, 64))
    assert [int(norm.num_batches_tracked) for norm in norms] == [2, 2, 2]
    assert int(network.local_branch.stem.norm.num_batches_tracked) == 1


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "local branch alone": ({"branches": "local"}, ("global_branch", "fusion")),
    "global branch alone": ({"branches": "global"}, ("local_branch", "fusion")),
    "no multiplication": ({"multiply": False}, ("pyramid",)),
    "no pyramid gate": ({"pyramid_gate": False}, ("bottom", "skips")),
    "neither": ({"multiply": False, "pyramid_gate": False}, ("pyramid", "bottom", "skips")),
    "equation 8": ({"similarity": "direct"}, ("fusion.0.global_attention",)),
    "equation 10": ({"irmlp": "depthwise"}, ()),
    "equation 15": ({"gate": "decoder"}, ()),
}


@pytest.mark.parametrize("row", OPTIONS)
def test_every_option_leaves_out_what_it_says_and_trains_the_rest(row: str) -> None:
    options, gone = OPTIONS[row]
    network = tiny(**options)
    names = {name for name, _ in network.named_parameters()}
    assert not [name for name in names if name.startswith(tuple(f"{part}." for part in gone))]
    logits = network.train()(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 9, 64, 64)
    logits.square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    with torch.inference_mode():
        fast = glocal.deploy(network)
        x = torch.rand(1, 3, 40, 64)
        torch.testing.assert_close(fast(x), network.eval()(x), atol=1e-4, rtol=1e-4)


def test_options_change_the_function_where_weights_are_the_same() -> None:
    plain, x = tiny().eval(), torch.rand(1, 3, 64, 64)
    nn.init.ones_(plain.fusion[0].global_attention.gamma)
    with torch.inference_mode():
        published_logits = plain(x)
        for options in ({"similarity": "direct"}, {"gate": "decoder"}):
            other = tiny(**options).eval()
            other.load_state_dict(plain.state_dict(), strict=False)
            assert (other(x) - published_logits).abs().max() > 1e-4, options


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"embed_dim": 40}, "multiple of 16"),
        ({"depths": (2, 2, 2)}, "give four numbers"),
        ({"num_heads": (3, 6, 12, 24)}, "heads"),
        ({"branches": "none"}, "use both, local or global"),
        ({"irmlp": "sparse"}, "dense"),
        ({"gate": "both"}, "use skip or decoder"),
        ({"similarity": "cosine"}, "use inverted or direct"),
    ],
    ids=str,
)
def test_a_wrong_option_names_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        tiny(**options)


# Published checkpoints


def test_the_table_of_names_is_that_of_the_published_network() -> None:
    shapes = dict(published.network(128, (2, 2, 18, 2), (4, 8, 16, 32)))
    buffers = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index")
    assert len(shapes) == 1105
    assert sum(math.prod(s) for n, s in shapes.items() if not n.endswith(buffers)) == ALL


def test_the_published_tensors_fill_ours_and_nothing_is_left_but_what_is_dead() -> None:
    shapes = dict(published.network(128, (2, 2, 18, 2), (4, 8, 16, 32)))
    tensors = {f"performerV2.{name}": torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    converted = convert_state_dict(tensors)
    assert (converted.name, dict(converted.unexpected)) == ("hiperformer", {})
    network = on_meta(**converted.arguments)
    assert {n: t.shape for n, t in converted.state.items()} == {n: t.shape for n, t in network.state_dict().items()}
    dead = {n for n in tensors if any(re.search(pattern, n) for pattern in published.DEAD)}
    constants = {n for n in tensors if n.endswith("relative_position_index")}
    assert {f"performerV2.{name}" for name in converted.ignored} == dead | constants


def save(path: Any, tensors: dict[str, Tensor]) -> Any:
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("form", [{}, {"prefix": ""}, {"pyramid": "PMF."}, {"depthwise": True}, {"window": 4}], ids=str)
def test_every_form_of_a_checkpoint_converts(tmp_path, form: dict[str, Any]) -> None:
    path = save(tmp_path / "authors.pth", published.small(**form))
    conversion = convert_checkpoint(path, tmp_path / "out")
    assert conversion.record.name == "hiperformer"
    assert not conversion.fresh
    assert not conversion.left_out
    written = json.loads((tmp_path / "out" / "model.json").read_text())["arguments"]
    assert written["irmlp"] == ("depthwise" if form.get("depthwise") else "dense")
    assert written["window_size"] == form.get("window", 7)
    network = load_model(tmp_path / "out").network
    again = glocal.create_model("hiperformer", weights=path).eval()
    x = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(network(x), again(x))
        assert network(x).shape == (1, 4, 32, 64)


def test_a_checkpoint_for_grey_images_is_summed_and_said_to_be(tmp_path, caplog) -> None:
    path = save(tmp_path / "authors.pth", published.small())
    with caplog.at_level(logging.INFO, "glocal"):
        grey = glocal.create_model("hiperformer", in_channels=1, weights=path).eval()
    colour = glocal.create_model("hiperformer", weights=path).eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)
    assert "summed the kernels of its stems" in caplog.text
    with pytest.raises(UserError, match="in_channels=3"):
        glocal.create_model("hiperformer", in_channels=2, weights=path)


def test_a_partial_checkpoint_is_refused_by_name(tmp_path) -> None:
    tensors = published.small()
    without = {n: t for n, t in tensors.items() if ".fu2.SAM." not in n}
    with pytest.raises(UserError, match=r"missing \(fusion\.1\.local_attention\.reduce\.conv\.weight") as caught:
        glocal.create_model("hiperformer", weights=save(tmp_path / "partial.pth", without))
    assert "\n" not in str(caught.value)
    stemless = {n: t for n, t in tensors.items() if "patch_embed" not in n}
    with pytest.raises(UserError, match=r"'backbone\.patch_embed\.proj\.weight' is missing"):
        glocal.create_model("hiperformer", weights=save(tmp_path / "stemless.pth", stemless))
    more = {**tensors, "performerV2.fu9.mystery": torch.zeros(3)}
    with pytest.raises(UserError, match="mystery"):
        glocal.create_model("hiperformer", weights=save(tmp_path / "more.pth", more))
