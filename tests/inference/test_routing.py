"""Pictures of routing: they show what the blocks did, at the place it was done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.inference.routing import routing_maps, routing_pictures, save_routing
from glocal.models.dssaunet import DSSAUNet
from glocal.nn import DualSparseSelectionAttention, PositionedBlock

SMALL = {"widths": [16, 32, 48, 64], "depths": [1, 2, 1, 1], "head_dim": 16, "decoder_width": 16, "n_win": 4}
LAST = ["encoder.0.blocks.0", "encoder.1.blocks.1", "encoder.2.blocks.0", "decoder.blocks.2.0", "decoder.blocks.1.1"]


def network(attention: str = "star") -> DSSAUNet:
    torch.manual_seed(0)
    return DSSAUNet(attention=attention, **SMALL)


def test_the_last_block_of_each_level_or_every_block_is_told_in_order() -> None:
    star, x = network(), torch.rand(1, 3, 100, 70)
    assert [block.name for block in routing_maps(star, x)] == [*LAST, "decoder.blocks.0.0"]
    every = routing_maps(star, x, every_block=True)
    assert len(every) == 8
    assert star.training
    assert not any(module._forward_pre_hooks for module in star.modules())
    assert (every[0].padded, every[0].image) == ((128, 96), (100, 70))


def test_a_deployed_network_routes_as_the_one_it_was_made_of() -> None:
    star, x = network().double().eval(), torch.rand(1, 3, 64, 96).double()
    for one, other in zip(routing_maps(star, x), routing_maps(glocal.deploy(star), x), strict=True):
        assert torch.equal(one.routes.index, other.routes.index)


def test_pictures_show_the_region_that_was_asked_and_those_it_is_routed_to() -> None:
    star, x = network(), torch.rand(1, 3, 128, 128)
    picture = np.zeros((256, 256, 3), np.uint8)
    pictures = routing_pictures(star, x, picture, at=(0.6, 0.1))
    block = routing_maps(star, x)[1]  # 16x16 tokens in 4x4 regions of 64 pixels of the picture
    query = block.region_at((0.6, 0.1))
    assert query == 2 * 4 + 0
    drawn = pictures[f"{block.name} routes"]
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert (drawn[128, 10] == (0, 255, 255)).all()
    tinted = {i for i in range(16) if drawn[32 + 64 * (i // 4), 32 + 64 * (i % 4)].any()}
    assert tinted == set(block.routes.index[0, query].tolist())


def test_visits_add_up_and_saliency_belongs_to_star_dssa() -> None:
    x, picture = torch.rand(1, 3, 64, 64), np.zeros((64, 64, 3), np.uint8)
    kinds = {name.rpartition(" ")[2] for name in routing_pictures(network("dssa"), x, picture)}
    assert kinds == {"routes", "visits"}
    assert any(name.endswith("saliency") for name in routing_pictures(network(), x, picture))


def test_salient_places_are_warm() -> None:
    star = network()
    attention = star.encoder[0].blocks[0].block.attention
    with torch.no_grad():
        attention.saliency[2].weight.fill_(1.0)
    x, picture = torch.rand(1, 3, 64, 64), np.zeros((64, 64, 3), np.uint8)
    drawn = routing_pictures(star, x, picture)["encoder.0.blocks.0 saliency"].sum(-1)
    logits = routing_maps(star, x)[0].routes.saliency[0]
    row, column = divmod(int(logits.argmax()), 16)
    assert drawn[4 * row + 1, 4 * column + 1] == drawn.max()


def test_it_works_in_anybodys_network() -> None:
    plain = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), PositionedBlock(8, DualSparseSelectionAttention(8, 2, n_win=3))
    )
    pictures = routing_pictures(plain, torch.rand(1, 1, 20, 13), np.zeros((40, 26, 3), np.uint8), at=(1.0, 1.0))
    assert list(pictures) == ["1 routes", "1 visits"]


def test_the_sheet_is_a_png_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "-a würfel 图.png"
    save_routing({"a routes": np.zeros((50, 60, 3), np.uint8), "b routes": np.zeros((50, 60, 3), np.uint8)}, path)
    with Image.open(path) as sheet:
        assert sheet.width >= 200
        assert sheet.height > 100
    with pytest.raises(UserError, match=r"end in \.png"):
        save_routing({}, tmp_path / "sheet.jpg")
    with pytest.raises(UserError, match="no pictures"):
        save_routing({}, path)


def test_what_cannot_be_drawn_is_refused_in_one_line() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match="routes nothing"):
        routing_pictures(glocal.create_model("lmnet_tiny"), torch.rand(1, 3, 16, 16), picture)
    with pytest.raises(UserError, match="between 0 and 1"):
        routing_pictures(network(), torch.rand(1, 3, 16, 16), picture, at=(0.5, 1.5))
    with pytest.raises(ValueError, match="2 images"):
        routing_maps(network(), torch.rand(2, 3, 16, 16))
