"""Weights of one network for a part of another: what is loaded, what stays fresh, and that both are said."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

import glocal
from glocal.errors import UserError
from glocal.models.weights import Preprocessing, save_model

SWIN = {"embed_dim": 16, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}


def official_swin(classes: int = 5, **changed: object) -> dict[str, Tensor]:
    """Tensors as the official code names them, of the Swin inside ``hiperformer_tiny``, with a classifier."""
    torch.manual_seed(1)
    network = glocal.create_model("swin_nano", num_classes=classes, **{**SWIN, **changed})
    tensors = {}
    for name, tensor in network.state_dict().items():
        for ours, theirs in (
            ("encoder.embed.", "patch_embed.proj."),
            ("encoder.embed_norm.", "patch_embed.norm."),
            ("encoder.stages.", "layers."),
            ("encoder.merging.", "layers."),
        ):
            if name.startswith(ours):
                parts = name.removeprefix(ours).split(".")
                kind = {"encoder.stages.": "blocks.", "encoder.merging.": "downsample."}.get(ours)
                rest = ".".join(parts) if kind is None else f"{parts[0]}.{kind}{'.'.join(parts[1:])}"
                name = theirs + rest.replace("attention.", "attn.")
        tensors[name] = tensor
    tensors["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    tensors["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    return tensors


@pytest.fixture
def checkpoint(tmp_path):
    """A file as it is distributed: the tensors under ``model``."""
    path = tmp_path / "swin_base_patch4_window7_224_22k.pth"
    torch.save({"model": official_swin()}, path)
    return path


def test_official_swin_weights_fill_the_swin_branch(checkpoint, caplog):
    official = official_swin()
    with caplog.at_level(logging.INFO, "glocal"):
        network = glocal.create_model("hiperformer_tiny", weights=checkpoint, strict=False)
    branch = network.global_branch.state_dict()
    assert torch.equal(branch["embed.weight"], official["patch_embed.proj.weight"])
    assert torch.equal(branch["stages.2.1.attention.qkv.bias"], official["layers.2.blocks.1.attn.qkv.bias"])
    assert torch.equal(branch["merging.1.reduction.weight"], official["layers.1.downsample.reduction.weight"])
    loaded = sum(not name.startswith("norms.") for name in branch)
    assert f"loaded {loaded} of {len(network.state_dict())} tensors of hiperformer_tiny" in caplog.text
    assert "global_branch of hiperformer_tiny" in caplog.text
    assert "head.weight" in caplog.text, "what has no place is told"
    assert "local_branch.stem.conv.weight" in caplog.text, "what stays fresh is told"
    assert network.num_classes == 9, "the classes of ImageNet are not adopted"


def test_strict_says_that_they_are_for_a_part(checkpoint):
    with pytest.raises(UserError, match=r"for a part of hiperformer_tiny \(global_branch\); strict=False"):
        glocal.create_model("hiperformer_tiny", weights=checkpoint)


def test_a_stem_for_grey_images_does_the_same_as_the_colour_one_on_repeated_ones(checkpoint, caplog):
    with caplog.at_level(logging.INFO, "glocal"):
        grey = glocal.create_model("hiperformer_tiny", in_channels=1, weights=checkpoint, strict=False).eval()
    colour = glocal.create_model("hiperformer_tiny", weights=checkpoint, strict=False).eval()
    x = torch.rand(1, 1, 32, 64)
    for one, three in zip(grey.global_branch(x), colour.global_branch(x.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(one, three, atol=1e-5, rtol=1e-5)
    assert "summed the kernels of global_branch.embed.weight" in caplog.text


def test_the_branch_computes_what_the_swin_does(checkpoint):
    """Below the size where the shift of a single window tells them apart: unshifted blocks alone."""
    network = glocal.create_model("hiperformer_tiny", weights=checkpoint, strict=False).eval()
    swin = glocal.create_model("swin_tiny", weights=checkpoint, features_only=True).eval()
    for norm in network.global_branch.norms:
        torch.nn.init.ones_(norm.weight)
    x = torch.rand(1, 3, 64, 64)
    ours, theirs = network.global_branch(x)[0], swin(x)[0]
    torch.testing.assert_close(ours, torch.nn.functional.layer_norm(theirs.movedim(1, 3), (16,)).movedim(3, 1))


def test_other_widths_are_refused_and_other_windows_are_not(tmp_path, caplog):
    wide, windows = tmp_path / "wide.pth", tmp_path / "windows.pth"
    torch.save(official_swin(embed_dim=32), wide)
    with pytest.raises(UserError, match="too unlike"):
        glocal.create_model("hiperformer_tiny", weights=wide, strict=False)
    torch.save(official_swin(window_size=4), windows)
    with caplog.at_level(logging.INFO, "glocal"):
        glocal.create_model("hiperformer_tiny", weights=windows, strict=False)
    assert "8 of another shape" in caplog.text


def test_a_model_folder_of_ours_fits_the_part_too(tmp_path):
    swin = glocal.create_model("swin_nano", num_classes=2, **SWIN)
    folder = tmp_path / "swin"
    save_model(
        folder,
        swin,
        name="swin_nano",
        arguments=SWIN,
        classes=("a", "b"),
        task="classification",
        preprocessing=Preprocessing((64, 64), 3, (0.5,) * 3, (0.5,) * 3),
    )
    network = glocal.create_model("hiperformer_tiny", weights=folder, strict=False)
    assert torch.equal(network.global_branch.embed.weight, swin.encoder.embed.weight)
    with pytest.raises(UserError, match="for a part"):
        glocal.create_model("hiperformer_tiny", weights=folder)


def test_classifiers_fill_the_backbone_of_any_dense_network(checkpoint, caplog):
    official = official_swin()
    with caplog.at_level(logging.INFO, "glocal"):
        network = glocal.create_model(
            "semantic_fpn", backbone="swin_nano", backbone_args=SWIN, weights=checkpoint, strict=False
        )
    assert torch.equal(network.backbone.network.encoder.embed.weight, official["patch_embed.proj.weight"])
    assert "backbone.network of semantic_fpn" in caplog.text


def test_a_network_without_such_a_part_refuses_them(checkpoint):
    for name, options in (("lmnet_tiny", {}), ("hiperformer_tiny", {"branches": "local"})):
        with pytest.raises(UserError, match="these are weights of swin"):
            glocal.create_model(name, weights=checkpoint, strict=False, **options)
