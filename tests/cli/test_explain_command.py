"""``glocal explain`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fake_classifier
import glocal
from glocal.cli import main
from glocal.models.weights import Preprocessing, save_model


@pytest.fixture
def model(monkeypatch, tmp_path) -> Path:
    """A classifier of colours; ``in/a.png``, red at the left and blue at the right; ``in/sub/b.png``, green."""
    fake_classifier.make_known(monkeypatch)
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :24], pixels[:, 24:] = (250, 0, 0), (0, 0, 250)
    Path("in/sub").mkdir(parents=True)
    Image.fromarray(pixels).save("in/a.png")
    Image.new("RGB", (20, 20), (0, 200, 0)).save("in/sub/b.png")
    return fake_classifier.save(Path("model"))


def names(folder: str = "out") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("method", ["gradcam", "ablation"])
def test_a_classifier(model, capsys, method):
    assert main(["explain", "model", "in", "--output", "out", "--method", method]) == 0
    shown = capsys.readouterr()
    assert "2 pictures in out: 1 of red, 1 of green" in shown.out
    assert "2 images: seen at 16x16" in shown.err
    assert names() == ["a.png", "sub/b.png"]
    with Image.open("out/a.png") as drawn:
        assert drawn.mode == "RGB"
        assert drawn.width > 2 * 320


def test_a_class_that_is_not_the_predicted_one_as_numbers(model, capsys):
    words = ["explain", "model", "in/a.png", "--output", "out", "--class", "blue"]
    assert main([*words, "--map-only", "npy", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["output"] == "out/a.npy"
    assert 0 < facts["classes"]["blue"] < 0.5
    strength = np.load("out/a.npy")
    assert strength.shape == (30, 40)
    assert strength[:, 34:].min() > 0.9
    assert not strength[:, :12].any()
    assert main([*words, "--map_only", "png"]) == 0
    with Image.open("out/a.png") as grey:
        np.testing.assert_allclose(np.asarray(grey) / 65535, strength, atol=1e-4)


def test_a_segmentation(trained, discs, capsys, refused):
    """Each class that is found; the trained discs are explained where they are."""
    assert main(["explain", str(trained), str(discs / "images"), "--output", "out", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts) == 12
    assert {name for one in facts for name in one["classes"]} == {"foreground"}
    assert "name it (--class)" in refused("explain", trained, discs / "images", "--output", "maps", "--map_only", "npy")
    words = ["--class", "foreground", "--map_only", "npy", "--level", "-2"]
    assert main(["explain", str(trained), str(discs / "images"), "--output", "maps", *words]) == 0
    inside = []
    for path in sorted(Path("maps").iterdir()):
        mask = np.asarray(Image.open(discs / "masks" / f"{path.stem}.png")) > 0
        strength = np.load(path)
        assert strength.shape == mask.shape
        inside.append(strength[mask].mean() > strength[~mask].mean())
    assert sum(inside) >= 8


@pytest.fixture
def routed(tmp_path) -> Path:
    """A segmentation with STAR-DSSA."""
    torch.manual_seed(0)
    network = glocal.create_model("star_dssaunet_tiny", num_classes=2)
    save_model(
        tmp_path / "routed",
        network,
        name="star_dssaunet_tiny",
        arguments={},
        classes=("background", "lesion"),
        task="segmentation",
        preprocessing=Preprocessing((64, 64), 3, (0.5,) * 3, (0.5,) * 3),
    )
    return tmp_path / "routed"


def test_routing(model, routed, capsys, refused):
    words = ["explain", "routed", "in", "--output", "out", "--method", "routing"]
    assert main([*words, "--at", "0.1,0.9"]) == 0
    assert capsys.readouterr().out == "2 pictures in out\n"
    assert names() == ["a.png", "sub/b.png"]
    with Image.open("out/a.png") as drawn:
        assert drawn.width > 3 * 320
        pixels = np.asarray(drawn)
    assert main([*words, "--overwrite", "--at", "0.9,0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["classes"] == {}
    assert (np.asarray(Image.open("out/a.png")) != pixels).any()
    assert "--class does not go with --method routing" in refused(*words, "--class", "lesion")
    assert "--at goes with --method routing" in refused("explain", "routed", "in", "--output", "x", "--at", "0,0")
    for at, said in {"0.5": "such as", "a,b": "such as", "1,1,1": "such as", "2,0": "between 0 and 1"}.items():
        assert said in refused(*words, "--overwrite", "--at", at)
    words[1] = "model"
    assert "routes nothing" in refused(*words, "--overwrite")


@pytest.mark.parametrize("name", ["-x.png", "--class.png", "a,b  '\"$(c).png", "目 ü.png", "[x]*.png", "x.y.z.jpg"])
def test_any_file_name(model, name):
    Path("in/a.png").rename(name)
    assert main(["explain", "model", "--output", "out", "--", name]) == 0
    assert names() == [f"{Path(name).stem}.png"]


@pytest.mark.parametrize("name", ["../../escape", "[bold]x[/bold]", "x" * 400, "two\nlines", "", "目の腫瘍 ü"])
def test_any_class_name(model, name):
    fake_classifier.save(Path("odd"), classes=(name, "b", "c"))
    assert main(["explain", "odd", "in/a.png", "--output", "out", f"--class={name}"]) == 0
    assert names() == ["a.png"]
    assert sorted(path.name for path in Path().iterdir()) == ["in", "model", "odd", "out"]


def test_unreadable_images_are_told_and_the_others_explained(model, refused):
    Path("in/bad.png").write_bytes(b"bad")
    assert "1 of 3 images could not be read, as said above; the pictures of the other 2 are in out" in refused(
        "explain", "model", "in", "--output", "out"
    )
    assert names() == ["a.png", "sub/b.png"]
    assert "bad.png" in refused("explain", "model", "in/bad.png", "--output", "other")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2)])
def test_small_and_elongated_images(model, size):
    Image.new("L", size, 200).save("x.png")
    assert main(["explain", "model", "x.png", "--output", "out"]) == 0
    assert names() == ["x.png"]


def test_nothing_is_overwritten_unasked(model, refused):
    words = ["explain", "model", "in", "--output", "out"]
    assert main(words) == 0
    assert "--overwrite replaces them" in refused(*words)
    assert main([*words, "--overwrite"]) == 0
    assert "the picture would replace the image" in refused("explain", "model", "in", "--output", "in", "--overwrite")


def test_bad_words(model, refused):
    words = ("explain", "model", "in", "--output", "out")
    assert "Did you mean 'green'" in refused(*words, "--class", "gren")
    assert "Did you mean '--method'" in refused(*words, "--methd", "gradcam")
    assert "no map 7" in refused(*words, "--level", "7")
    assert "no local branch" in refused(*words, "--maps", "local")
    assert "between 0 and 1" in refused(*words, "--alpha", "2")
    assert "no such run" in refused("explain", "gone", "in", "--output", "out")
    assert not Path("out").exists()


def test_help_has_examples(capsys):
    assert main(["explain", "--help"]) == 0
    assert "glocal explain runs/lesions" in capsys.readouterr().out.partition("examples:")[2]
