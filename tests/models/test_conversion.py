"""A published checkpoint becomes a model folder that computes the same."""

import json
import logging

import pytest
import torch

import glocal
from glocal.errors import UserError
from glocal.models.conversion import convert_checkpoint
from glocal.models.weights import load_model

F = (12, 24, 24, 24, 24)  # widths of a small LM-Net in the published layout; 12 heads divide all and their sum


def block(name, entering, expand, out, kernels):
    yield f"{name}.se.fc1.weight", (expand // 4, expand, 1, 1)
    yield f"{name}.se.fc1.bias", (expand // 4,)
    yield f"{name}.se.fc2.weight", (expand, expand // 4, 1, 1)
    yield f"{name}.se.fc2.bias", (expand,)
    yield from conv(f"{name}.expand_conv.0", (expand, entering, 1, 1))
    yield from norm(f"{name}.expand_conv.1", expand)
    for branch, size in kernels.items():
        yield f"{name}.{branch}_conv.conv.weight", (expand, 1, *size)
        yield from norm(f"{name}.{branch}_conv.bn", expand)
    yield from conv(f"{name}.pointwise_conv.0", (out, expand, 1, 1))
    yield from conv(f"{name}.shortcut.0", (out, entering, 1, 1))


def conv(name, shape):
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def norm(name, channels, running=True):
    for part in ("weight", "bias", *(("running_mean", "running_var") if running else ())):
        yield f"{name}.{part}", (channels,)


def transformer(name, channels, attention):
    yield from conv(f"{name}.patchembedding.patch_embeddings", (channels, channels, 3, 3))
    for part in ("norm1", "norm2"):
        yield from norm(f"{name}.{part}", channels, running=False)
    yield from conv(f"{name}.{attention}.qkv", (3 * channels, channels))
    yield from conv(f"{name}.{attention}.proj", (channels, channels))
    yield from conv(f"{name}.mlp.fc1", (2 * channels, channels))
    yield from conv(f"{name}.mlp.fc2", (channels, 2 * channels))


def names(in_channels, classes, rpb=False):
    """Names and shapes of the published LM-Net's tensors (spec §4)."""
    kernels = {"large": (5, 5), "square": (3, 3), "ver": (3, 1), "hor": (1, 3)}
    for i in range(4):
        coarse = 3 - i
        yield from block(f"conv{i + 1}.0", F[i] if i else in_channels, F[i + 1], F[i], kernels)
        yield from block(f"conv{i + 1}.1", F[i], F[i + 1], F[i], kernels)
        for k in range(2):
            yield from block(f"dconv{i + 1}.{k}", F[coarse], F[coarse + 1], F[coarse], kernels)
        yield from conv(f"down{i + 1}.0", (F[i + 1], F[i], 3, 3))
        yield from conv(f"up{i + 1}.1", (F[coarse], F[coarse + 1], 3, 3))
        yield from transformer(f"natt{i + 1}", F[coarse], "att1")
        if rpb:
            yield f"natt{i + 1}.att1.rpb", (12, 5, 5)
    yield from transformer("gft", sum(F), "attention")
    yield from conv("gft.conv.0", (F[4], sum(F), 1, 1))
    for i, (parts, width) in enumerate(
        [
            ((("convl.0", F[2], F[3]), ("convs.0", F[3], F[3])), F[3]),
            ((("convl.0", F[1], F[2]), ("convm.0", F[2], F[2]), ("convs.1", F[3], F[2])), F[2]),
            ((("convl.0", F[0], F[1]), ("convm.0", F[1], F[1]), ("convs.1", F[2], F[1])), F[1]),
            ((("convl.0", F[0], F[0]), ("convs.1", F[1], F[0])), F[0]),
        ]
    ):
        for part, entering, leaving in parts:
            yield from conv(f"skip{i + 1}.{part}", (leaving, entering, 3, 3))
        yield from conv(f"skip{i + 1}.fuse_conv.0", (width, len(parts) * width, 3, 3))
        yield from norm(f"skip{i + 1}.fuse_conv.1", width)
    yield from conv("output_layer", (classes, F[0], 1, 1))


def published(in_channels=3, classes=2, rpb=False):
    generator = torch.Generator().manual_seed(1)
    tensors = {n: torch.rand(s, generator=generator) * 0.2 - 0.1 for n, s in names(in_channels, classes, rpb)}
    return {n: t + 1 if "running_var" in n else t for n, t in tensors.items()}


@pytest.fixture
def authors(tmp_path):
    path = tmp_path / "authors' weights.pth"
    tensors = {f"module.{name}": tensor for name, tensor in published().items()}
    torch.save({"epoch": 7, "state_dict": tensors, "optimizer": {}, "lr_schedule": {}}, path)
    return path


@pytest.mark.parametrize(("channels", "classes", "rpb"), [(3, 2, False), (1, 4, True)])
def test_converted_computes_what_the_checkpoint_does(tmp_path, channels, classes, rpb):
    torch.save(published(channels, classes, rpb), tmp_path / "a.pth")
    direct = glocal.create_model("lmnet", weights=tmp_path / "a.pth").eval()
    done = convert_checkpoint(tmp_path / "a.pth", tmp_path / "out")
    loaded = load_model(tmp_path / "out")
    assert (direct.in_channels, direct.num_classes) == (channels, classes)
    assert done.tensors == len(published(channels, classes, rpb))
    assert (done.fresh, done.left_out) == ((), ())
    x = torch.rand(2, channels, 32, 48)
    with torch.no_grad():
        assert torch.equal(loaded.network(x), direct(x))
    again = glocal.create_model("lmnet", weights=tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(again(x), direct(x))


def test_the_record_says_where_it_comes_from(tmp_path, authors):
    done = convert_checkpoint(authors, tmp_path / "out")
    assert done.record.name == "lmnet"
    assert done.record.classes == ("background", "class 1")
    assert done.record.arguments["filters"] == list(F)
    manifest = json.loads((tmp_path / "out/model.json").read_text())["manifest"]
    assert manifest["converted_from"] == "authors' weights.pth"
    assert len(manifest["sha256"]) == 64
    assert any("state_dict" in note for note in manifest["notes"])
    assert load_model(tmp_path / "out").record.preprocessing.mean == glocal.model_info("lmnet").mean


def test_adopted_options_are_told(authors, caplog):
    with caplog.at_level(logging.INFO, "glocal"):
        glocal.create_model("lmnet", weights=authors)
    assert "recognised as a published lmnet" in caplog.text
    assert "filters=[12, 24, 24, 24, 24]" in caplog.text


def test_relative_position_bias_is_switched_on_by_its_tensors(tmp_path):
    torch.save(published(rpb=True), tmp_path / "a.pth")
    network = glocal.create_model("lmnet", weights=tmp_path / "a.pth")
    assert any(name.endswith("rpb") for name, _ in network.named_parameters())
    with pytest.raises(UserError, match=r"4 unexpected \(.*rpb"):
        glocal.create_model("lmnet", weights=tmp_path / "a.pth", rel_pos_bias=False)


def test_tensors_missing_and_too_many_are_listed(tmp_path):
    tensors = published()
    del tensors["down2.0.bias"]
    tensors["mystery.weight"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"1 missing \(down\.1\.1\.bias\); 1 unexpected \(mystery\.weight\)"):
        convert_checkpoint(tmp_path / "a.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = convert_checkpoint(tmp_path / "a.pth", tmp_path / "out", strict=False)
    assert (done.fresh, done.left_out) == (("down.1.1.bias",), ("mystery.weight",))
    assert done.tensors == len(tensors) - 1


def test_our_own_tensors_need_no_name_where_they_are_recognised(tmp_path):
    source = glocal.create_model("lmnet_tiny", num_classes=3).eval()
    torch.save(source.state_dict(), tmp_path / "x.pt")
    done = convert_checkpoint(tmp_path / "x.pt", tmp_path / "out", classes=["a", "b", "c"])
    assert done.record.name == "lmnet_tiny"
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "out").network(x), source(x))


def test_other_channels_get_an_assumed_normalisation_and_are_told(tmp_path):
    torch.save(published(in_channels=1), tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", tmp_path / "out")
    assert done.record.preprocessing.channels == 1
    assert any("assumed" in note for note in done.notes)


def test_refusals(tmp_path, authors):
    def refused(word, *arguments, **options):
        with pytest.raises(UserError, match=word) as caught:
            convert_checkpoint(*arguments, **options)
        assert "\n" not in str(caught.value)

    refused("not of lmnet_tiny", authors, tmp_path / "out", name="lmnet_tiny")
    refused("Did you mean 'lmnet'", authors, tmp_path / "out", name="lmnt")
    refused("2 outputs, but 3 classes", authors, tmp_path / "out", classes=["a", "b", "c"])
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    refused("no network that is known", tmp_path / "other.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert_checkpoint(authors, tmp_path / "out")
    refused("already a model folder", tmp_path / "out", tmp_path / "out2")
