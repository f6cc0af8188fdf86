"""TransUNet, UCTransNet, Swin-Unet: the figures of the papers' tables, and the authors' checkpoints."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import glocal
from glocal.errors import UserError
from glocal.models.complexity import complexity
from glocal.models.conversion import convert_checkpoint
from glocal.models.network import Network
from glocal.models.published import build_component, convert_state_dict
from glocal.models.published.system import part_of
from glocal.models.swinunet import SwinUNet
from glocal.models.transunet import TransUNet
from glocal.models.transunet_mk import TransUNetMK
from glocal.models.uctransnet import UCTransNet
from glocal.models.weights import load_model, save_model

# Figures

ROWS = {  # LM-Net, Table 1: millions of parameters, G multiply-adds, both cut off behind two decimals
    "transunet_mk": ("87.80", "38.03"),
    "transunet_r50": ("93.23", "32.23"),
    "uctransnet": ("66.24", "43.06"),
    "swinunet_2262": ("41.34", "11.36"),
}


def cut(value: float) -> str:
    return f"{math.floor(100 * value) / 100:.2f}"


@pytest.mark.parametrize("name", ROWS)
def test_the_papers_counter_gives_the_papers_row(name: str) -> None:
    with torch.device("meta"):
        network = glocal.create_model(name)
    papers = complexity(network, (256, 256)).papers
    assert (cut(papers.parameters / 1e6), cut(papers.multiply_adds / 1e9)) == ROWS[name]


def test_the_counter_misses_what_is_no_stock_layer_of_transunet() -> None:
    with torch.device("meta"):
        network = glocal.create_model("transunet_r50")
    cost = complexity(network, (256, 256))
    assert cost.parameters - cost.papers.parameters == 11_855_040 + 39_808 + 196_608


def test_other_sizes_and_depths_have_the_published_counts() -> None:
    with torch.device("meta"):
        counts = {
            "swinunet, windows of 8": SwinUNet(window_size=8),
            "mkara44, 8 blocks": TransUNetMK(depth=8),
            "transunet, 64": TransUNet(trunk=False, image_size=64),
            "uctransnet, 96, one class": UCTransNet(num_classes=1, image_size=96),
        }
    assert [sum(p.numel() for p in network.parameters()) for network in counts.values()] == [
        27_175_620,
        67_079_298,
        91_534_946,
        66_277_057,
    ]


# Options


@pytest.mark.parametrize(
    ("name", "options", "cure"),
    [
        ("transunet_tiny", {"image_size": 100}, "multiple of 16"),
        ("transunet_tiny", {"skips": 4}, "give 0 to 3"),
        ("transunet_vit", {"skips": 1}, "without a trunk there are none"),
        ("transunet_tiny", {"trunk_width": 48}, "multiple of 32"),
        ("transunet_tiny", {"trunk_depths": (1, 2)}, "three whole numbers"),
        ("transunet_tiny", {"decoder_widths": (8, 8)}, "give five"),
        ("transunet_mk_tiny", {"width": 12}, "multiple of 8"),
        ("transunet_mk_tiny", {"num_heads": 3}, "use a divisor"),
        ("transunet_mk_tiny", {"scale": "none"}, "use published or standard"),
        ("swinunet_nano", {"depths": (2, 2)}, "four whole numbers"),
        ("uctransnet_tiny", {"width": 0}, "at least 1"),
    ],
)
def test_a_wrong_option_names_the_cure(name: str, options: dict[str, Any], cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        glocal.create_model(name, **options)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_fewer_skips_make_a_narrower_decoder_that_trains(skips: int) -> None:
    network = glocal.create_model("transunet_tiny", skips=skips).train()
    inputs = [step.conv.first.conv.in_channels for step in network.decoder]
    assert inputs == [a + b for a, b in zip((256, 128, 64, 32), [*(256, 128, 32)[:skips], 0, 0, 0, 0], strict=False)]
    network(torch.rand(2, 3, 32, 48)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# Published checkpoints

GOLDEN = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden/baselines"
CASES = [
    "transunet_r50_64",
    "transunet_vit_64",
    "transunet_mk_64",
    "transunet_mk_b2_64",
    "uctransnet_64",
    "swinunet_224",
    "swinunet_2262_128",
]
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"no lists of published tensors under {GOLDEN}; set GLOCAL_SHARED"
)


def record(case: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{case}.json").read_text())
    return content


@needs_golden
@pytest.mark.parametrize("case", CASES)
def test_the_published_tensors_fill_ours_and_none_is_left(case: str) -> None:
    listed = record(case)["state"]
    tensors = {n: torch.zeros((), dtype=getattr(torch, dtype)).expand(shape) for n, shape, dtype in listed}
    converted = convert_state_dict(tensors)
    with torch.device("meta"):
        network = glocal.create_model(converted.name, **converted.arguments)
    assert converted.unexpected == {}
    assert {n: t.shape for n, t in converted.state.items()} == {n: t.shape for n, t in network.state_dict().items()}
    assert [name for name in converted.ignored if not name.endswith("relative_position_index")] == []


def narrow(case: str) -> tuple[Network, dict[str, Tensor]]:
    """A narrow network of a published kind, and its tensors by their published names."""
    make: dict[str, Any] = {
        "transunet_r50_64": lambda: TransUNet(3, 3, image_size=32, embed_dim=64, num_heads=1, trunk_width=32),
        "transunet_vit_64": lambda: TransUNet(3, 3, image_size=64, trunk=False, embed_dim=64, num_heads=1, mlp_ratio=2),
        "transunet_mk_b2_64": lambda: TransUNetMK(1, 3, width=16, image_size=48, depth=2, mlp_width=40),
        "uctransnet_64": lambda: UCTransNet(3, 2, width=8, image_size=64, mlp_ratio=2),
        "swinunet_224": lambda: SwinUNet(1, 3, embed_dim=24, window_size=4),
        "swinunet_2262_128": lambda: SwinUNet(3, 2, embed_dim=24, window_size=8, depths=(2, 2, 6, 2)),
    }
    torch.manual_seed(0)
    network = make[case]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    with torch.device("meta"):
        rename = build_component(record(case)).rename
    ours, tensors = network.state_dict(), {}
    for name, shape, dtype in record(case)["state"]:
        place = rename(name)
        if place is None:
            tensors[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
            continue
        whole, i, count = part_of(place.removeprefix("0."))
        tensor = ours[whole] if count == 1 else ours[whole].chunk(count)[i]
        same = tensor.shape[max(0, tensor.ndim - len(shape)) :]  # published with or without axes of length 1
        tensors[name] = tensor.reshape(same + (1,) * (len(shape) - len(same))).clone()
    return network, tensors


@needs_golden
@pytest.mark.parametrize("case", [case for case in CASES if case != "transunet_mk_64"])
def test_an_authors_checkpoint_becomes_a_model_folder(tmp_path: Path, case: str) -> None:
    network, tensors = narrow(case)
    if case.startswith("swinunet"):
        tensors = {f"swin_unet.{n}": t for n, t in tensors.items()}
        tensors["swin_unet.layers_up.1.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    torch.save(tensors, tmp_path / "authors.pth")
    conversion = convert_checkpoint(tmp_path / "authors.pth", tmp_path / "out")
    assert (conversion.fresh, conversion.left_out) == ((), ())
    loaded = load_model(tmp_path / "out").network
    made = glocal.create_model(conversion.record.name, weights=tmp_path / "authors.pth").eval()
    x = torch.rand(1, network.in_channels, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
        assert torch.equal(made(x), network(x))


@needs_golden
@pytest.mark.parametrize("case", ["swinunet_2262_128", "transunet_vit_64"])
def test_one_channel_is_the_published_network_on_the_image_repeated(tmp_path: Path, case: str) -> None:
    network, tensors = narrow(case)
    torch.save(tensors, tmp_path / "authors.pth")
    name = convert_state_dict(tensors).name
    grey = glocal.create_model(name, weights=tmp_path / "authors.pth", in_channels=1).eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey(x), network(x.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)


@needs_golden
@pytest.mark.parametrize(
    ("case", "lost"),
    [
        ("uctransnet_64", "mtc.encoder.layer.2.channel_attn.key.3.weight"),
        ("swinunet_224", "concat_back_dim.2.bias"),
        ("transunet_mk_b2_64", "encoder.vit.cls_token"),
    ],
)
def test_an_incomplete_checkpoint_is_refused(tmp_path: Path, case: str, lost: str) -> None:
    _, tensors = narrow(case)
    torch.save({n: t for n, t in tensors.items() if n != lost}, tmp_path / "authors.pth")
    with pytest.raises(UserError, match="missing"):
        convert_checkpoint(tmp_path / "authors.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_golden
def test_a_position_table_of_no_square_is_refused() -> None:
    _, tensors = narrow("uctransnet_64")
    tensors["mtc.embeddings_1.position_embeddings"] = torch.zeros(1, 15, 8)
    with pytest.raises(UserError, match="no square"):
        convert_state_dict(tensors)


# Backbones from ImageNet


def vit(network: TransUNet) -> dict[str, Tensor]:
    """The encoder of a network as a library names it, with class token and classifier."""
    names = {"position.table": "pos_embed", "embed": "patch_embed.proj", "norm": "norm", "blocks": "blocks"}
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        first, _, rest = name.partition(".")
        if name == "position.table":
            tensors["pos_embed"] = torch.cat([torch.ones(1, 1, tensor.shape[-1]), tensor], 1)
        elif first == "trunk":
            place = "patch_embed.backbone." + rest.replace("stem_norm", "stem.norm").replace(
                "stem.weight", "stem.conv.weight"
            ).replace("shortcut.", "downsample.conv.").replace("shortcut_norm.", "downsample.norm.")
            if rest.startswith("blocks."):
                place = place.replace("blocks.", "stages.", 1)
                stage, block, end = place.removeprefix("patch_embed.backbone.stages.").split(".", 2)
                place = f"patch_embed.backbone.stages.{stage}.blocks.{block}.{end}"
            tensors[place] = tensor
        elif first in names:
            tensors[f"{names[first]}.{rest}".replace(".attention.", ".attn.")] = tensor
    tensors |= {"cls_token": torch.ones(1, 1, 64), "head.weight": torch.ones(10, 64), "head.bias": torch.ones(10)}
    return tensors


@pytest.mark.parametrize("trunk", [True, False])
def test_imagenet_weights_of_a_vit_fill_the_encoder(tmp_path: Path, trunk: bool) -> None:
    options: dict[str, Any] = {"embed_dim": 64, "depth": 2, "num_heads": 1, "image_size": 48}
    if trunk:
        options |= {"trunk_width": 32, "trunk_depths": [1, 2, 1]}
    torch.manual_seed(0)
    source = TransUNet(trunk=trunk, **options)
    nn.init.normal_(source.position.table)
    torch.save(vit(source), tmp_path / "vit.pth")
    name = "transunet_r50" if trunk else "transunet_vit"
    with pytest.raises(UserError, match="strict=False"):
        glocal.create_model(name, weights=tmp_path / "vit.pth")
    network = glocal.create_model(name, weights=tmp_path / "vit.pth", strict=False).eval()
    source.eval()
    with torch.inference_mode():
        x = torch.rand(1, 3, 48, 64)
        for ours, theirs in zip(network.encode(x), source.encode(x), strict=True):
            assert torch.equal(ours, theirs)


def test_a_vit_of_other_patches_is_refused() -> None:
    tensors = vit(TransUNet(trunk=False, embed_dim=64, depth=1, num_heads=1, image_size=32))
    tensors["patch_embed.proj.weight"] = torch.zeros(64, 3, 32, 32)
    with pytest.raises(UserError, match="patches of 32"):
        convert_state_dict(tensors)


def test_weights_of_a_swin_fill_the_encoder_of_a_swin_unet(tmp_path: Path) -> None:
    source = glocal.create_model("swin_nano", num_classes=4).eval()
    save_model(
        tmp_path,
        source,
        name="swin_nano",
        arguments={},
        classes=list("abcd"),
        task="classification",
        preprocessing=glocal.models.weights.Preprocessing((64, 64), 3, (0.0,) * 3, (1.0,) * 3),
    )
    options: dict[str, Any] = {"embed_dim": 48, "num_heads": [3, 6, 12, 24]}
    network = glocal.create_model("swinunet", weights=tmp_path, strict=False, **options)
    ours, theirs = network.state_dict(), source.state_dict()
    encoder = [name for name in theirs if name.startswith("encoder.")]
    assert len(encoder) > 90
    assert all(torch.equal(ours[name], theirs[name]) for name in encoder)
