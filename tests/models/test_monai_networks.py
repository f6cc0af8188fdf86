"""MONAI's networks, taken apart here: they compute what MONAI's own do, and say what to install."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import glocal
from glocal.errors import UserError

nets = pytest.importorskip("monai.networks.nets")
SWIN = {
    "swinViT": "transformer",
    **{f"encoder{i + 1}": f"skips.{i}" for i in range(4)},
    "encoder10": "bottom",
    **{f"decoder{5 - i}": f"up.{i}" for i in range(5)},
}


def unet() -> Any:
    return nets.UNet(2, 3, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch")


def dynunet() -> Any:
    strides = [1, 2, 2, 2, 2, 2]
    channels = [8, 16, 32, 64, 128, 128]
    return nets.DynUNet(2, 3, 2, [3] * 6, strides, strides[1:], channels, deep_supervision=True, deep_supr_num=3)


def unet_name(name: str) -> str:
    """MONAI nests its levels: a way down, a skip around the rest, a way up."""
    inner = name.removeprefix("model.")
    level = inner.count("1.submodule.")
    inner = inner.removeprefix("1.submodule." * level)
    if level == 4:
        return f"bottom.{inner}"
    which, _, rest = inner.partition(".")
    return f"{'down' if which == '0' else 'up'}.{level}.{rest}"


def dynunet_name(name: str) -> str:
    for theirs, ours in (
        ("input_block.", "down.0."),
        ("bottleneck.", "down.5."),
        ("output_block.conv.conv.", "head."),
        *((f"downsamples.{i}.", f"down.{i + 1}.") for i in range(4)),
        *((f"deep_supervision_heads.{i}.conv.conv.", f"auxiliary.{i}.") for i in range(3)),
    ):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name.replace("upsamples.", "up.")


def twins(name: str, theirs: Any, rename: Callable[[str], str]) -> tuple[Any, Any]:
    """Ours and MONAI's, with the same tensors."""
    torch.manual_seed(0)
    ours = glocal.create_model(name).eval()
    state = ours.state_dict()
    named = {key: rename(key) for key in theirs.state_dict() if not key.startswith("skip_layers.")}
    assert set(named.values()) == set(state)
    theirs.load_state_dict({key: state[value] for key, value in named.items()}, strict=False)
    return ours, theirs.eval()


@pytest.mark.parametrize(
    ("name", "make", "rename"), [("monai_unet", unet, unet_name), ("monai_dynunet_tiny", dynunet, dynunet_name)]
)
def test_the_parts_compute_what_the_whole_does(
    name: str, make: Callable[[], Any], rename: Callable[[str], str]
) -> None:
    ours, theirs = twins(name, make(), rename)
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_swin_unetr_computes_what_monai_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI's own forward needs a package for moving axes; here a function of four lines takes its place."""

    def rearrange(x: Tensor, pattern: str) -> Tensor:
        before, after = (side.split() for side in pattern.split("->"))
        return x.permute([before.index(axis) for axis in after])

    monkeypatch.setattr("monai.networks.nets.swin_unetr.rearrange", rearrange)

    def rename(name: str) -> str:
        part, _, rest = name.partition(".")
        return f"{SWIN[part]}.{rest}" if part in SWIN else name.replace("out.conv.conv.", "head.")

    ours, theirs = twins("monai_swinunetr", nets.SwinUNETR(3, 2, feature_size=24, spatial_dims=2), rename)
    x = torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_deep_supervision_is_monais_and_for_training_alone() -> None:
    ours, theirs = twins("monai_dynunet_tiny", dynunet(), dynunet_name)
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        outputs = ours.training_outputs(x)
        theirs.train()  # no dropout, no running statistics
        for (logits, _), expected in zip(outputs, theirs(x).unbind(1), strict=True):
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(ours(x), outputs[0][0])
    assert [weight * 15 for _, weight in outputs] == pytest.approx([8, 4, 2, 1])
    assert len(glocal.deploy(ours).auxiliary) == 0
    assert len(ours.auxiliary) == 3
    assert [len(logits[0]) for logits, _ in reset(ours, 5).training_outputs(x)] == [5] * 4
    assert len(glocal.create_model("monai_dynunet_tiny", deep_supervision=0).training_outputs(x)) == 1


def reset(network: Any, classes: int) -> Any:
    network.reset_head(classes)
    return network


@pytest.mark.parametrize("name", ["monai_unet", "monai_dynunet_tiny", "monai_swinunetr"])
def test_without_monai_the_error_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(UserError, match=r"monai is not installed.*glocal\[train\]"):
        glocal.create_model(name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("monai_unet", {"channels": [16]}),
        ("monai_dynunet", {"channels": [16, 32]}),
        ("monai_dynunet", {"deep_supervision": 5}),
        ("monai_swinunetr", {"width": 20}),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        glocal.create_model(name, **options)
