"""``glocal train`` of a classifier as typed: what a newcomer with folders of classes sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.cli import main

FAST = ["--data.size", "32", "--train.epochs", "2", "--train.batch_size", "4", "--train.device", "cpu"]
FAST += ["--data.cache", "memory", "--data.fractions", "[0.5, 0.25, 0.25]"]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight dark and eight bright images, in a folder whose name has a space and an umlaut."""
    monkeypatch.chdir(tmp_path)
    random, root = np.random.default_rng(0), tmp_path / "meine Köpfe"
    for name, level in (("dark", 60), ("bright", 180)):
        (root / name).mkdir(parents=True)
        for index in range(8):
            pixels = random.normal(level, 20, (32, 32)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{index}.png")
    return root


def test_from_folders_to_a_report(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(folders), "--model", "pvt_nano", "--recipe", "quick", *FAST]) == 0
    shown = capsys.readouterr().out
    assert "validation accuracy" in shown
    assert "AUROC" in shown
    run = tmp_path / "runs/meine Köpfe-quick"
    summary = json.loads((run / "evaluation/test/summary.json").read_text(encoding="utf-8"))
    assert summary["cases"] == 4
    assert (run / "evaluation/test/report.html").stat().st_size > 0


def test_json_is_alone_on_stdout(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "pvt_nano", "--recipe", "quick", *FAST, "--output", "run", "--evaluate", "false", "--json"]
    assert main(["train", str(folders), *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["best"]["balanced_accuracy"] <= 1


def test_a_segmentation_network_on_folders_of_classes_says_what_to_take(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(folders), "--recipe", "quick", *FAST]) == 2
    error = capsys.readouterr().err
    assert "no masks were found, only classes; choose a network for classification" in error
    assert "Traceback" not in error


def test_inspect_and_splits_by_class(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(folders)]) == 0
    shown = capsys.readouterr().out
    assert "classification, one folder per class" in shown
    (folders / "labels.csv").write_text(
        "image,new,old\n"
        + "".join(f"{n}/{n}{i}.png,{i % 2},{int(i > 3)}\n" for n in ("dark", "bright") for i in range(8))
    )
    assert main(["data", "inspect", str(folders)]) == 0
    shown = capsys.readouterr().out
    assert "multi-label classification, classes from labels.csv" in shown
    assert main(["data", "splits", str(folders), "--fractions", "[0.5, 0.25, 0.25]"]) == 0
    table = capsys.readouterr().out
    assert "new" in table
    assert "old" in table


def test_a_folder_with_masks_is_shown_by_its_classes_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "phantom", str(tmp_path / "p"), "--count", "12", "--size", "32"]) == 0
    capsys.readouterr()
    assert main(["data", "inspect", str(tmp_path / "p"), "--task", "classification", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [count["name"] for count in found["classes"]] == ["high station", "low station"]
    words = ["--task", "classification", "--output", str(tmp_path / "s.json")]
    assert main(["data", "splits", str(tmp_path / "p"), *words]) == 0
    assert "low station" in capsys.readouterr().out
    assert main(["data", "inspect", str(tmp_path / "p"), "--task", "regression"]) == 2
