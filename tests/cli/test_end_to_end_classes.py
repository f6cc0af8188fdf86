"""From folders of classes to a table and to maps through the commands alone; every step sees the same numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glocal
from glocal.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """``discs``, images with a bright disc to the left or right; ``run``, trained on them; ``table.csv``; ``maps``."""
    root = tmp_path_factory.mktemp("end to end, classes")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48]
    for name, centre in (("on the left", 12), ("on the right", 36)):
        (root / "discs" / name).mkdir(parents=True)
        for i in range(30):
            at = np.array([24, centre]) + random.integers(-5, 6, 2)
            disc = 150.0 * ((rows - at[0]) ** 2 + (columns - at[1]) ** 2 < 49)
            pixels = disc + random.integers(0, 60, (48, 48))
            Image.fromarray(pixels.astype(np.uint8)).save(root / "discs" / name / f"{name[7:]}-{i}.png")
    words = ["train", str(root / "discs"), "--model", "resnet_nano", "--recipe", "quick", "--data.size", "48"]
    words += ["--data.cache", "memory", "--train.epochs", "6", "--augment.flip.horizontal", "0"]
    assert main([*words, "--output", str(root / "run")]) == 0
    assert main(["predict", str(root / "run"), str(root / "discs"), "--output", str(root / "table.csv")]) == 0
    images = str(root / "discs" / "on the left")
    assert main(["explain", str(root / "run"), images, "--output", str(root / "maps")]) == 0
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_is_plain_is_learned(folder):
    summary = json.loads((folder / "run" / "evaluation" / "test" / "summary.json").read_text())
    assert summary["overall"]["accuracy"]["value"] == 1
    assert summary["macro"]["auroc"]["value"] == 1


def test_table_report_and_python_say_the_same(folder):
    table = {Path(row["image"]).stem: row for row in read(folder / "table.csv")}
    assert len(table) == 60
    predictor = glocal.load(folder / "run", device="cpu")
    cases = read(folder / "run" / "evaluation" / "test" / "cases.csv")
    assert cases
    for case in cases:
        row = table[Path(case["case"]).name]
        assert row["prediction"] == case["prediction"]
        (image,) = (folder / "discs").rglob(f"{Path(case['case']).name}.png")
        for name, p in zip(predictor.classes, predictor(image).probabilities, strict=True):
            assert float(row[f"p:{name}"]) == pytest.approx(float(case[f"p:{name}"]), abs=1e-6)
            assert float(row[f"p:{name}"]) == pytest.approx(float(p), abs=1e-6)


def test_the_table_measures_as_the_run(folder, capsys):
    words = ["evaluate", "--predictions", str(folder / "table.csv"), "--data", str(folder / "discs")]
    assert main([*words, "--output", str(folder / "measured"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["accuracy"]["value"] == 1


def test_every_image_has_a_map(folder):
    pictures = sorted((folder / "maps").rglob("*.png"))
    assert len(pictures) == 30
    assert all(np.ptp(np.asarray(Image.open(picture))) > 0 for picture in pictures)
