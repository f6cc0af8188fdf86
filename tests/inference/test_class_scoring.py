"""A classifier measured on its split or on other data, and tables of other programs."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fake_classifier
import glocal
from glocal.data import open_dataset
from glocal.errors import UserError
from glocal.evaluation import ClassifiedCase, evaluate_classification
from glocal.inference import classify_files, evaluate_run, evaluate_table, evaluation_folder, plan_table


@pytest.fixture
def data(tmp_path) -> Path:
    return fake_classifier.write_images(tmp_path / "colours")


@pytest.fixture
def run(monkeypatch, data, tmp_path) -> Path:
    fake_classifier.make_known(monkeypatch)
    return fake_classifier.write_run(tmp_path / "run", data, temperature=2.0)


def test_a_split_is_measured(run, data):
    evaluation = evaluate_run(run, device="cpu")
    folder = run / "evaluation" / "test"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "report.html", "summary.json"]
    dataset, classifier = open_dataset(data), glocal.load(run, device="cpu")
    names = {name: index for index, name in enumerate(classifier.classes)}
    by_hand = evaluate_classification(
        [
            ClassifiedCase(case.id, classifier(case.image).logits.numpy(), names[case.image.parent.name])
            for case in dataset.cases
        ],
        classifier.classes,
        temperature=2.0,
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == evaluation.summary
    for block in ("overall", "macro", "per_class", "calibration", "confusion"):
        assert summary[block] == by_hand.summary[block]
    assert summary["overall"]["accuracy"]["value"] == pytest.approx(11 / 12)
    page = (folder / "report.html").read_text()
    assert "run: test split" in page
    assert "Training curves" in page


def test_classes_are_told_by_name(run, tmp_path):
    """Data without one class, of which the others would move up."""
    other = fake_classifier.write_images(tmp_path / "elsewhere", classes=("green", "red"))
    evaluation = evaluate_run(run, "all", data=other, device="cpu")
    assert evaluation.summary["overall"]["accuracy"]["value"] == 1
    assert "not the data the run was trained on" in evaluation.summary["notes"][0]
    assert (run / "evaluation" / "elsewhere-all" / "report.html").exists()
    (other / "red").rename(other / "reed")
    with pytest.raises(UserError, match="Did you mean 'red'"):
        evaluate_run(run, "all", data=other, device="cpu")


def test_whatever_weakens_the_numbers_is_told(run, caplog):
    with caplog.at_level(logging.INFO, "glocal"):
        notes = evaluate_run(run, "train", device="cpu").summary["notes"]
    assert "trained on" in notes[0]
    assert "trained on" in caplog.text
    assert "2 images: seen at 16x16" in caplog.text


def test_groups_are_those_of_the_data(run, data):
    rows = [f"{name}/{index},{index}" for name in fake_classifier.CLASSES for index in range(4)]
    (data / "cases.csv").write_text("\n".join(["id,group", *rows]) + "\n")
    assert evaluate_run(run, "all", device="cpu", data=data).summary["groups"] == 4


def test_several_labels(monkeypatch, data, tmp_path):
    fake_classifier.make_known(monkeypatch)
    run = fake_classifier.write_run(tmp_path / "run", data, multi_label=True)
    with pytest.raises(UserError, match="one class an image, but fake_classifier was trained for several"):
        evaluate_run(run, device="cpu")
    several = tmp_path / "several"
    several.mkdir()
    colours = {"a": (250, 250, 1), "b": (250, 1, 1), "c": (1, 1, 250), "d": (1, 250, 250)}
    for name, colour in colours.items():
        Image.new("RGB", (20, 20), colour).save(several / f"{name}.png")
    rows = ["a.png,0,1,1", "b.png,0,0,1", "c.png,1,0,0", "d.png,1,1,0"]
    (several / "labels.csv").write_text("\n".join(["image,blue,green,red", *rows]) + "\n")
    evaluation = evaluate_run(run, "all", data=several, device="cpu")
    assert evaluation.summary["multi_label"]
    assert evaluation.summary["per_class"]["red"]["metrics"]["auroc"]["value"] == 1
    output = tmp_path / "t.csv"
    list(classify_files(glocal.load(run, device="cpu"), plan_table([several], output), output))
    again = evaluate_table(output, several)
    assert again.summary["per_class"]["red"]["metrics"]["auroc"]["value"] == 1


def test_tta_and_batches_reach_the_network(run):
    plain = evaluate_run(run, device="cpu").sample.logits
    averaged = evaluate_run(run, device="cpu", tta=True, batch_size=5).sample.logits
    np.testing.assert_allclose(averaged.argmax(1), plain.argmax(1))
    assert not np.array_equal(averaged, plain)


@pytest.mark.parametrize(
    "option", [{"policy": "skip"}, {"tolerance": 3.0}, {"unit": "px"}, {"tiling": "always"}, {"tiling": "never"}]
)
def test_what_goes_with_masks_is_refused(run, option):
    name = next(iter(option))
    with pytest.raises(UserError, match=f"classifier; leave it out \\(--{name}\\)") as error:
        evaluate_run(run, device="cpu", **option)
    assert "\n" not in str(error.value)
    assert not (run / "evaluation").exists()


def test_presets(run):
    evaluation = evaluate_run(run, device="cpu", preset="hifuse")
    assert evaluation.summary["published"]["preset"] == "hifuse"
    assert (run / "evaluation" / "test-hifuse" / "summary.json").exists()
    with pytest.raises(UserError, match="hifuse"):
        evaluate_run(run, device="cpu", preset="lmnet")


def test_an_unreadable_case_stops_the_evaluation(run, data):
    path = data / "green" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"2\.png"):
        evaluate_run(run, "all", device="cpu")
    assert not (run / "evaluation").exists()


def test_data_that_moved_is_the_same_data(run, data, tmp_path):
    data.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="--data DIR"):
        evaluate_run(run, device="cpu")
    assert evaluation_folder(run, data=tmp_path / "moved") == run / "evaluation" / "test"
    assert not any("trained" in note for note in evaluate_run(run, data=tmp_path / "moved", device="cpu").notes)


def table(run: Path, images: Path, output: Path) -> Path:
    list(classify_files(glocal.load(run, device="cpu"), plan_table([images], output), output))
    return output


def test_a_predicted_table_measures_as_the_run_does(run, data, tmp_path):
    predictions = table(run, data, tmp_path / "t.csv")
    measured = evaluate_table(predictions, data)
    expected = evaluate_run(run, device="cpu")
    order = [expected.classes.index(name) for name in measured.classes]  # the network has another than the data
    assert np.array_equal(measured.confusion, expected.confusion[np.ix_(order, order)])
    for name in ("accuracy", "nll", "brier", "ece"):
        assert measured.summary["overall"][name]["value"] == pytest.approx(
            expected.summary["overall"][name]["value"], abs=1e-5
        )
    assert sorted(path.name for path in (tmp_path / "t-evaluation").iterdir()) == [
        "cases.csv",
        "report.html",
        "summary.json",
    ]


def test_rows_belong_to_images_wherever_they_lie(run, data, tmp_path):
    predictions = table(run, data, tmp_path / "t.csv")
    with predictions.open(newline="") as stream:
        rows = list(csv.reader(stream))
    expected = evaluate_table(predictions, data).confusion
    for keep in (3, 2):
        moved = [["/".join(Path(row[0]).parts[-keep:]), *row[1:]] for row in rows[:0:-1]]
        with predictions.open("w", newline="") as stream:
            csv.writer(stream).writerows([rows[0], *moved])
        assert np.array_equal(evaluate_table(predictions, data).confusion, expected)


def test_rows_may_name_images_without_their_ending_though_there_are_dots(run, tmp_path):
    data = fake_classifier.write_images(tmp_path / "dots")
    for image in data.rglob("*.png"):
        image.rename(image.with_name(f"2020.03.{image.name}"))
    predictions = table(run, data, tmp_path / "t.csv")
    expected = evaluate_table(predictions, data).confusion
    predictions.write_text(predictions.read_text().replace(".png", ""))
    assert np.array_equal(evaluate_table(predictions, data).confusion, expected)


def test_a_published_area_of_a_table_is_told_to_be_of_probabilities(run, data, tmp_path):
    found = evaluate_table(table(run, data, tmp_path / "t.csv"), data, preset="hifuse")
    assert any("AUC as hifuse takes it is of logits" in note for note in found.summary["notes"])


def test_tables_that_do_not_fit(run, data, tmp_path):
    predictions = table(run, data, tmp_path / "t.csv")
    lines = predictions.read_text().splitlines()

    def refused(text: list[str], **options) -> str:
        predictions.write_text("\n".join(text) + "\n")
        with pytest.raises(UserError) as error:
            evaluate_table(predictions, data, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no row for 1 of 12 cases" in refused(lines[:-1])
    assert "could both be" in refused(
        [*[line.replace(str(data), "x") for line in lines], lines[1].replace(str(data), "y")]
    )
    assert "p:green" in refused([line.replace("p:green", "p:grün") for line in lines])
    assert "no probabilities" in refused([*lines[:-1], lines[-1].split(",")[0] + ",,,,,"])
    predictions.write_text("\n".join([*lines, lines[1].replace("/0.png", "/other.png")]) + "\n")
    assert "1 row of t.csv without a case" in evaluate_table(predictions, data).summary["notes"][0]
    with pytest.raises(UserError, match="--overwrite"):
        evaluate_table(predictions, data, overwrite=False)
    shutil.rmtree(tmp_path / "t-evaluation")
    with pytest.raises(UserError, match="preset"):
        evaluate_table(predictions, data, preset="lmnet")
    assert not (tmp_path / "t-evaluation").exists()
