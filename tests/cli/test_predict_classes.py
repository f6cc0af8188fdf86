"""``glocal predict`` with a classifier, as typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

import fake_classifier
from glocal.cli import main


@pytest.fixture
def model(monkeypatch, tmp_path) -> Path:
    """A classifier of colours; the images ``in/*.png``; and nothing else in the working folder."""
    fake_classifier.make_known(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name, colour in {"a": (220, 20, 30), "b": (10, 200, 60), "c": (5, 0, 250)}.items():
        Image.new("RGB", (20, 30), colour).save(f"in/{name}.png")
    return fake_classifier.save(Path("model"))


def table() -> list[dict[str, str]]:
    with Path("t.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_of_a_folder(model, capsys):
    assert main(["predict", "model", "in", "--output", "t.csv"]) == 0
    shown = capsys.readouterr()
    assert "in/a.png: red (0." in shown.out
    assert "3 images in t.csv" in shown.out
    assert "3 images: seen at 16x16" in shown.err
    assert [row["prediction"] for row in table()] == ["red", "green", "blue"]


def test_many_images_are_counted_by_class(model, capsys):
    for index in range(9):
        Image.new("RGB", (9, 9), (0, 0, 255)).save(f"in/{index}.png")
    assert main(["predict", "model", "in", "--output", "t.csv"]) == 0
    assert "predicted: 1 red, 1 green, 10 blue" in capsys.readouterr().out


def test_json_is_alone_on_stdout(model, capsys):
    Path("in/bad.png").write_bytes(b"bad")
    assert main(["predict", "model", "in", "--output", "t.csv", "--json", "--tta", "--batch_size", "2"]) == 2
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert [Path(one["image"]).name for one in facts] == ["a.png", "b.png", "bad.png", "c.png"]
    assert facts[0]["prediction"] == "red"
    assert facts[0]["probability"] == facts[0]["probabilities"]["red"]
    assert sum(facts[0]["probabilities"].values()) == pytest.approx(1)
    assert facts[0]["notes"] == ["seen at 16x16", "averaged over 4 views"]
    assert "bad.png" in facts[2]["error"]
    assert "1 of 4 images could not be read, as said above; the predictions of the other 3 are in t.csv" in shown.err


def test_a_multi_label_prediction_is_a_list(model, capsys):
    fake_classifier.save(Path("several"), multi_label=True)
    words = ["predict", "several", "in/a.png", "--output", "t.csv"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["prediction"] == ["red", "green", "blue"]
    assert main([*words, "--overwrite"]) == 0
    assert "in/a.png: red, green, blue (0.9" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["-x.png", "--output.png", "a,b  '\"$(c).png", "目 ü.png", "[x]*.png"])
def test_any_file_name(model, name):
    Path("in/a.png").rename(name)
    assert main(["predict", "model", "--output", "t.csv", "--", name]) == 0
    assert [row["image"].removeprefix("'") for row in table()] == [name]


def test_what_does_not_apply_is_refused(model, refused):
    words = ("predict", "model", "in", "--output", "t.csv")
    assert "--tiling always: a classifier sees every image whole" in refused(*words, "--tiling", "always")
    assert "glocal explain" in refused(*words, "--overlay")
    assert "the table has them" in refused(*words, "--probabilities")
    assert "end in .csv" in refused("predict", "model", "in", "--output", "masks")
    assert not Path("t.csv").exists()
    assert main([*words, "--tiling", "never"]) == 0
    assert "--overwrite" in refused(*words)


def test_unreadable_images(model, refused):
    Path("x.png").write_bytes(b"bad")
    assert "x.png" in refused("predict", "model", "x.png", "--output", "t.csv")
    Path("y.png").write_bytes(b"bad")
    assert "no prediction made" in refused("predict", "model", "x.png", "y.png", "--output", "t.csv")
    assert not Path("t.csv").exists()


def test_a_class_name_as_long_as_a_story_or_in_markup_is_printed_as_it_is(model, capsys):
    fake_classifier.save(Path("odd"), classes=("[bold]red[/bold]", "g" * 500, ""))
    assert main(["predict", "odd", "in/a.png", "--output", "t.csv"]) == 0
    assert "in/a.png: [bold]red[/bold] (" in capsys.readouterr().out
