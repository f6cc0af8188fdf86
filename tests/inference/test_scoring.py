"""A run measured on a split or on other data, and masks of other programs: the numbers, and what the reader is told."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.data import make_splits, open_dataset, read_mask
from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, Evaluation, evaluate
from glocal.inference import Predictor, evaluate_masks, evaluate_run, evaluation_folder, plan_files, predict_files

SHAPES = [(40, 50), (64, 64), (33, 70), (100, 40), (32, 32), (50, 51), (20, 25), (45, 80), (60, 30), (41, 41)]


def write_data(root: Path, photograph, values=(0, 255), count=10) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for index, shape in enumerate(SHAPES[:count]):
        rgb = photograph(*shape, seed=index)
        Image.fromarray(rgb).save(root / "images" / f"case {index}.png")
        mask = np.array(values, np.uint8)[(rgb[..., 0] > 128).astype(int)]
        Image.fromarray(mask).save(root / "masks" / f"case {index}.png")
    return root


@pytest.fixture
def data(tmp_path, photograph) -> Path:
    return write_data(tmp_path / "polyps", photograph)


@pytest.fixture
def run(data, tmp_path, tiny) -> Path:
    """A run folder as training leaves it."""
    folder = tmp_path / "runs" / "polyps-1"
    shutil.copytree(tiny, folder / "model")
    dataset = open_dataset(data)
    splits = make_splits(dataset, 0, (0.5, 0.2, 0.3))
    splits.write(folder / "splits.json")
    facts = {"root": str(data), "fingerprint": dataset.fingerprint, "encoding": dataset.encoding.to_json()}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "status": "finished", "data": facts}))
    (folder / "recipe.yaml").write_text("data: {masks: unite}\n")
    (folder / "metrics.csv").write_text("epoch,train_loss,mdice\n1,0.5,0.25\n2,0.4,\n")
    return folder


def test_a_split_is_measured_at_the_size_of_its_images(run, data):
    evaluation = evaluate_run(run, device="cpu")
    folder = run / "evaluation" / "test"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "report.html", "summary.json"]
    dataset, predictor = open_dataset(data), Predictor.load(run, device="cpu")
    ids = json.loads((run / "splits.json").read_text())["splits"]["test"]
    assert len(ids) == 3
    by_hand = evaluate(
        [EvaluatedCase(c.id, predictor(c.image).mask, dataset.read_label(c)) for c in dataset.select(ids)],
        predictor.classes,
    )
    assert [result.id for result in evaluation.results] == ids
    np.testing.assert_array_equal(evaluation.values, by_hand.values)
    assert {result.shape for result in evaluation.results} <= set(SHAPES)
    assert np.isfinite(evaluation.scores).all()
    assert 0 < evaluation.scores.max() < 1
    assert json.loads((folder / "summary.json").read_text()) == evaluation.summary
    assert evaluation.summary["groups"] == 0
    page = (folder / "report.html").read_text()
    assert "polyps-1: test split" in page
    assert "Training curves" in page


def test_a_preset_measures_at_its_resolution(run, data):
    evaluation = evaluate_run(run, preset="lmnet", device="cpu")
    assert {result.shape for result in evaluation.results} == {(256, 256)}
    assert evaluation.summary["published"]["preset"] == "lmnet"
    assert not any("not comparable" in note for note in evaluation.notes)
    assert evaluation_folder(run, preset="lmnet") == run / "evaluation" / "test-lmnet"
    assert (run / "evaluation" / "test-lmnet" / "summary.json").exists()
    dataset, predictor = open_dataset(data), Predictor.load(run, device="cpu")
    case = dataset.case(evaluation.results[0].id)
    truth = np.asarray(Image.fromarray(dataset.read_label(case)).resize((256, 256), Image.Resampling.NEAREST))
    both = ((predictor(case.image).mask_at((256, 256)) == 1) & (truth == 1)).sum()
    assert evaluation.results[0].counts[1, 0] == both


def test_whatever_weakens_the_numbers_is_told(run, caplog):
    with caplog.at_level(logging.INFO, "glocal"):
        notes = evaluate_run(run, "train", device="cpu").notes
    assert any("trained on" in note for note in notes)
    assert "trained on" in caplog.text
    assert "images: seen at 32x32" in caplog.text
    assert any("best epoch was chosen" in note for note in evaluate_run(run, "val", device="cpu").notes)
    assert not any("better" in note for note in evaluate_run(run, "test", device="cpu").notes)
    assert len(evaluate_run(run, "all", device="cpu").results) == 10


def test_data_that_moved_is_the_same_data(run, data, tmp_path):
    expected = evaluate_run(run, device="cpu")
    data.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"--data DIR"):
        evaluate_run(run, device="cpu")
    moved = evaluate_run(run, data=tmp_path / "moved", device="cpu")
    np.testing.assert_array_equal(moved.values, expected.values)
    assert moved.notes == expected.notes
    assert evaluation_folder(run, data=tmp_path / "moved") == run / "evaluation" / "test"


def test_other_data_is_told_and_kept_apart(run, photograph, tmp_path):
    other = write_data(tmp_path / "elsewhere", photograph, values=(0, 1), count=4)
    with pytest.raises(UserError, match=r"--split all"):
        evaluate_run(run, data=other, device="cpu")
    evaluation = evaluate_run(run, "all", data=other, device="cpu")
    assert len(evaluation.results) == 4
    assert "not the data the run was trained on" in evaluation.notes[0]
    assert (run / "evaluation" / "elsewhere-all" / "report.html").exists()


def test_changed_data_is_told(run, data):
    ids = json.loads((run / "splits.json").read_text())["splits"]
    Image.new("RGB", (50, 50)).save(data / "images" / f"{ids['train'][0]}.png")
    Image.new("L", (50, 50)).save(data / "masks" / f"{ids['train'][0]}.png")
    assert "changed since" in evaluate_run(run, device="cpu").notes[0]
    (data / "images" / f"{ids['test'][0]}.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 cases of the test split"):
        evaluate_run(run, device="cpu")


def test_masks_that_show_fewer_classes_keep_their_meaning(run, data, photograph, tmp_path):
    """A small set without one of three classes: 128 stays what 128 was."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["data"]["encoding"] = {"classes": 2, "mapping": {"0": 0, "128": 1}, "coloured": False, "nearest": False}
    (run / "manifest.json").write_text(json.dumps(manifest))
    other = write_data(tmp_path / "three", photograph, values=(0, 128), count=3)
    Image.new("L", SHAPES[0][::-1], 64).save(other / "masks" / "case 0.png")
    with pytest.raises(UserError, match=r"case 0.png: unknown mask values 64"):
        evaluate_run(run, "all", data=other, device="cpu")


def test_spacing_gives_millimetres_at_any_resolution(run, data):
    rows = "\n".join(f"case {index},0.5" for index in range(10))
    (data / "cases.csv").write_text(f"id,pixel_size_mm\n{rows}\n")
    evaluation = evaluate_run(run, device="cpu", tolerance=1)
    assert evaluation.settings.unit == "mm"
    assert evaluation.results[0].spacing == (0.5, 0.5)
    resized = evaluate_run(run, device="cpu", preset="lmnet").results[0]
    shape = evaluation.results[0].shape
    assert resized.spacing == pytest.approx((0.5 * shape[0] / 256, 0.5 * shape[1] / 256))
    assert evaluate_run(run, device="cpu", unit="px").settings.unit == "px"


def test_an_evaluation_is_replaced_whole_or_not_at_all(run, monkeypatch):
    folder = run / "evaluation" / "test"
    evaluate_run(run, device="cpu")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=r"--overwrite"):
        evaluate_run(run, device="cpu", overwrite=False)
    write = Evaluation.write

    def fill(self, folder, **options):
        write(self, folder, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "write", fill)
        with pytest.raises(UserError, match="no space left"):
            evaluate_run(run, device="cpu", policy="skip")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["test"]
    evaluate_run(run, device="cpu", policy="skip")
    assert json.loads((folder / "summary.json").read_text())["conventions"]["policy"]["name"] == "skip"
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_other_files_are_never_removed(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        evaluate_run(run, device="cpu", output=tmp_path / "mine")
    evaluate_run(run, device="cpu", output=tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "cases.csv").exists()


def test_an_unreadable_case_stops_the_evaluation(run, data):
    ids = json.loads((run / "splits.json").read_text())["splits"]["test"]
    path = data / "images" / f"{ids[1]}.png"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=ids[1]):
        evaluate_run(run, device="cpu")
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifest.json", "[]", "not the manifest"),
        ("manifest.json", '{"data": {}}', "what data"),
        ("manifest.json", "{", "not valid JSON"),
        ("splits.json", "{}", "no test split"),
        ("splits.json", '{"splits": {"test": [1]}}', "no test split"),
        ("splits.json", '{"splits": {"test": []}}', "is empty"),
        ("recipe.yaml", "a: [", "not a usable YAML"),
        ("model/model.json", "{}", "model.json"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(run, name, content, words):
    (run / name).write_text(content)
    with pytest.raises(UserError, match=words) as error:
        evaluate_run(run, device="cpu")
    assert "\n" not in str(error.value)


def test_wrong_words(run, tmp_path):
    for options in ({"split": "tset"}, {"policy": "zero"}, {"preset": "lm-net"}):
        with pytest.raises(UserError, match="Did you mean"):
            evaluate_run(run, **{"device": "cpu", **options})
    with pytest.raises(UserError, match="no such run"):
        evaluate_run(tmp_path / "gone")
    with pytest.raises(UserError, match="not a run"):
        evaluate_run(tmp_path)


def test_masks_of_any_program(data, tmp_path):
    dataset = open_dataset(data)
    for name, values in {"indices": (0, 1), "raw": (0, 255)}.items():
        (tmp_path / name).mkdir()
        for case in dataset.cases:
            label = dataset.read_label(case)
            label[:5] = 0
            Image.fromarray(np.array(values, np.uint8)[label]).save(tmp_path / name / f"{case.id}.png")
    indices, raw = (evaluate_masks(tmp_path / name, data) for name in ("indices", "raw"))
    np.testing.assert_array_equal(indices.values, raw.values)
    assert 0.5 < indices.summary["macro"]["foreground"]["dice"]["mean"] < 1
    assert "class indices" in indices.notes[0]
    assert "masks of" in raw.notes[0]
    assert (tmp_path / "raw" / "evaluation" / "report.html").exists()
    again = evaluate_masks(tmp_path / "raw", data)  # the report in it is no mask
    assert len(again.results) == 10
    assert {r.shape for r in evaluate_masks(tmp_path / "raw", data, preset="lmnet").results} == {(256, 256)}


def test_predicted_files_measure_as_the_run_does(run, data, tmp_path):
    jobs = plan_files([data / "images"], tmp_path / "masks", overlay=True)
    list(predict_files(Predictor.load(run, device="cpu"), jobs))
    evaluation = evaluate_masks(tmp_path / "masks", data, splits=run / "splits.json", split="test")
    np.testing.assert_array_equal(evaluation.values, evaluate_run(run, device="cpu").values)


def test_masks_that_do_not_fit(data, tmp_path):
    masks = tmp_path / "masks"
    shutil.copytree(data / "masks", masks)

    def refused(**options) -> str:
        with pytest.raises(UserError) as error:
            evaluate_masks(masks, data, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    mask = read_mask(masks / "case 3.png").values
    Image.fromarray(mask[:-1]).save(masks / "case 3.png")
    assert "case 3.png: the mask is 40x99 pixels, its image 40x100" in refused()
    Image.fromarray(np.where(mask == 255, 7, 0).astype(np.uint8)).save(masks / "case 3.png")
    assert "unknown mask values 7" in refused()
    Image.fromarray(mask).save(masks / "case 3.tif")
    assert "both could be the mask of case 3" in refused()
    for path in masks.glob("case 3.*"):
        path.unlink()
    assert "no mask for 1 of 10 cases (case 3" in refused()
    with pytest.raises(UserError, match="no such folder"):
        evaluate_masks(tmp_path / "x", data)
    assert not (masks / "evaluation").exists()


def test_settings_reach_the_numbers(run):
    plain = evaluate_run(run, "all", device="cpu")
    averaged = evaluate_run(run, "all", device="cpu", tta=True, tolerance=5, batch_size=3)
    assert averaged.settings.tolerance == 5
    assert dataclasses.replace(averaged.settings, tolerance=2.0) == plain.settings
    assert not np.array_equal(plain.counts, averaged.counts)
