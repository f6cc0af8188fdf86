"""The table of a classifier: one row an image, whatever its name, and nothing lost or half-written."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fake_classifier
import glocal
from glocal.errors import UserError
from glocal.evaluation.table import unguard
from glocal.inference import Classifier, classify_files, plan_table

COLOURS = {"red": (220, 20, 30), "green": (10, 200, 60), "blue": (30, 10, 240)}


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 30), COLOURS[colour]).save(path, "PNG")
    return path


@pytest.fixture
def make_classifier(monkeypatch, tmp_path):
    fake_classifier.make_known(monkeypatch)

    def make(**options) -> Classifier:
        classifier = glocal.load(fake_classifier.save(tmp_path / "model", **options), device="cpu")
        assert isinstance(classifier, Classifier)
        return classifier

    return make


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_table_holds_what_was_predicted(make_classifier, tmp_path):
    classifier = make_classifier()
    images = [picture(tmp_path / "in" / f"{index} {name}.png", name) for index, name in enumerate(COLOURS)]
    results = list(classify_files(classifier, plan_table([tmp_path / "in"], tmp_path / "t.csv"), tmp_path / "t.csv"))
    assert [result.image for result in results] == images
    table = rows(tmp_path / "t.csv")
    assert list(table[0]) == ["image", "prediction", "probability", "p:red", "p:green", "p:blue"]
    for row, image, result in zip(table, images, results, strict=True):
        answer = classifier(image)
        assert row["image"] == str(image)
        assert row["prediction"] == answer.prediction == result.prediction == image.stem[2:]
        assert np.float32(row["probability"]) == np.float32(answer.probability)
        written = np.array([row[f"p:{name}"] for name in classifier.classes], np.float32)
        assert np.array_equal(written, answer.probabilities)


def test_several_classes_are_joined(make_classifier, tmp_path):
    classifier = make_classifier(multi_label=True)
    Image.new("RGB", (20, 20), (250, 250, 0)).save(tmp_path / "x.png")
    (result,) = classify_files(classifier, plan_table([tmp_path / "x.png"], tmp_path / "t.csv"), tmp_path / "t.csv")
    (row,) = rows(tmp_path / "t.csv")
    assert result.prediction == ("red", "green", "blue")  # blue exactly at 0.5
    assert row["prediction"] == "red;green;blue"
    assert row["p:blue"] == "0.5"


NAMES = ["a,b.png", 'say "x".png', "two\nlines.png", "-x.png", "=1+1.png", "@sum.png", "+a.png", "'q.png", "目 ü.png"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_cell(make_classifier, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    picture(Path(name), "green")
    list(classify_files(make_classifier(), plan_table([name], "t.csv"), "t.csv"))
    (row,) = rows(Path("t.csv"))
    assert unguard(row["image"]) == name
    assert row["image"][0] not in "=+-@"
    assert row["prediction"] == "green"


def test_a_name_that_is_no_text_is_written_escaped(make_classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.png")
    picture(Path(name))
    list(classify_files(make_classifier(), plan_table([name], "t.csv"), "t.csv"))
    assert rows(Path("t.csv"))[0]["image"] == "caf\\udce9.png"


def test_names_of_classes_are_safe_and_whole(make_classifier, tmp_path):
    names = ('=cmd|"x"', "a,b", "two\nlines")
    list(classify_files(make_classifier(classes=names), [picture(tmp_path / "x.png")], tmp_path / "t.csv"))
    (row,) = rows(tmp_path / "t.csv")
    assert list(row)[3:] == [f"p:{name}" for name in names]
    assert row["prediction"].startswith("'=")
    assert unguard(row["prediction"]) == names[0]


def test_unreadable_images_have_an_empty_row(make_classifier, tmp_path):
    good = [picture(tmp_path / "in" / name) for name in ("a.png", "d.png")]
    (tmp_path / "in" / "b.png").write_bytes(good[0].read_bytes()[:50])
    (tmp_path / "in" / "c.png").mkdir()
    output = tmp_path / "t.csv"
    results = list(classify_files(make_classifier(), plan_table([tmp_path / "in"], output), output, batch_size=3))
    assert [result.error is None for result in results] == [True, False, False, True]
    table = rows(output)
    assert [Path(row["image"]).name for row in table] == ["a.png", "b.png", "c.png", "d.png"]
    assert [set(list(row.values())[1:]) == {""} for row in table] == [False, True, True, False]


def test_no_table_without_an_image_that_can_be_read(make_classifier, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    (result,) = classify_files(make_classifier(), [tmp_path / "x.png"], tmp_path / "t.csv")
    assert result.probability is None
    assert not (tmp_path / "t.csv").exists()


def test_each_image_once_in_the_order_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("in/sub/b.png"))
    picture(Path("in/a.png"))
    picture(Path("in/.hidden.png"))
    found = plan_table(["in/sub/b.png", "in", "./in/a.png"], "t.csv")
    assert [image.as_posix() for image in found] == ["in/sub/b.png", "in/a.png"]


def test_tables_that_cannot_be_written(tmp_path):
    image = picture(tmp_path / "x.png")

    def refused(output: Path, **options) -> str:
        with pytest.raises(UserError) as error:
            plan_table([image], output, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "end in .csv" in refused(tmp_path / "masks")
    (tmp_path / "folder.csv").mkdir()
    assert "end in .csv" in refused(tmp_path / "folder.csv")
    assert f"{image}: not a folder" in refused(image / "t.csv")
    (tmp_path / "t.csv").write_text("mine")
    assert "--overwrite" in refused(tmp_path / "t.csv")
    assert plan_table([image], tmp_path / "t.csv", overwrite=True) == [image]
    picture(tmp_path / "image.csv")
    with pytest.raises(UserError, match="replace the image"):
        plan_table([tmp_path / "image.csv"], tmp_path / "image.csv", overwrite=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        plan_table([tmp_path / "empty"], tmp_path / "new.csv")


def test_a_full_disk_or_an_interruption_leaves_the_old_table(make_classifier, tmp_path, monkeypatch):
    images = [picture(tmp_path / f"{index}.png") for index in range(3)]
    output = tmp_path / "t.csv"
    output.write_text("old")
    results = classify_files(make_classifier(), images, output)
    next(results)
    results.close()
    assert output.read_text() == "old"

    def fill(path, text, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fill)
        with pytest.raises(UserError, match="no space left"):
            list(classify_files(make_classifier(), images, output))
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png", "model", "t.csv"]
