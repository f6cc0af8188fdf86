"""``glocal evaluate`` with a classifier or a table of classes, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fake_classifier
from glocal.cli import main


@pytest.fixture
def run(monkeypatch, tmp_path) -> Path:
    """The run ``run`` of a classifier of colours on ``colours``."""
    fake_classifier.make_known(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return fake_classifier.write_run(Path("run"), fake_classifier.write_images(Path("colours")), temperature=2.0)


def test_a_run(run, capsys, refused):
    assert main(["evaluate", "run", "--preset", "hifuse"]) == 0
    shown = capsys.readouterr().out
    for words in ("12 cases", "temperature 2", "Accuracy", "AUROC", "blue", "arXiv 2209.10218", "report: "):
        assert words in shown
    assert Path("run/evaluation/test-hifuse/report.html").exists()
    assert main(["evaluate", "run", "--output", "mine", "--tta"]) == 0
    assert "--overwrite" in refused("evaluate", "run", "--output", "mine")
    assert main(["evaluate", "run", "--output", "turned", "--tta-views", "rotations"]) == 0
    assert "rotations" in Path("turned/report.html").read_text()


def test_json_is_alone_on_stdout_and_is_the_summary(run, capsys):
    assert main(["evaluate", "run", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary.pop("folder") == "run/evaluation/test"
    assert summary == json.loads(Path("run/evaluation/test/summary.json").read_text())


def test_a_table_measures_as_the_run(run, capsys):
    assert main(["predict", "run", "colours", "--output", "t.csv"]) == 0
    assert main(["evaluate", "run", "--json"]) == 0
    shown = capsys.readouterr().out
    expected = json.loads(shown[shown.index("{") :])
    assert main(["evaluate", "--predictions", "t.csv", "--data", "colours", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["overall"]["accuracy"] == expected["overall"]["accuracy"]
    assert measured["per_class"]["blue"]["n_both"] == expected["per_class"]["blue"]["n_both"] == 3
    assert measured["folder"] == "t-evaluation"
    assert Path("t-evaluation/report.html").exists()


def test_what_goes_with_masks_is_refused(run, refused):
    for words in (["--policy", "skip"], ["--tolerance", "3"], ["--unit", "px"], ["--tiling", "always"]):
        assert f"({words[0]})" in refused("evaluate", "run", *words)
    assert main(["predict", "run", "colours", "--output", "t.csv"]) == 0
    assert "--policy goes with masks" in refused(
        "evaluate", "--predictions", "t.csv", "--data", "colours", "--policy", "skip"
    )
    assert "--data DIR" in refused("evaluate", "--predictions", "t.csv")
    assert "hifuse" in refused("evaluate", "run", "--preset", "hifus")
