"""``glocal evaluate`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glocal.cli import main


def test_a_run(trained, capsys, refused):
    assert main(["evaluate", str(trained)]) == 0
    shown = capsys.readouterr().out
    for words in ("3 cases", "empty masks: penalty", "Dice", "HD95", "NSD at 2 px", "report: "):
        assert words in shown
    assert (trained / "evaluation" / "test" / "report.html").exists()
    assert main(["evaluate", str(trained), "--policy", "skip", "--tolerance", "3"]) == 0
    assert "NSD at 3 px" in capsys.readouterr().out
    assert main(["evaluate", str(trained), "--output", "mine"]) == 0
    assert "--overwrite" in refused("evaluate", trained, "--output", "mine")
    assert main(["evaluate", str(trained), "--output", "mine", "--overwrite"]) == 0


def test_json_is_alone_on_stdout_and_is_the_summary(trained, capsys):
    assert main(["evaluate", str(trained), "--json", "--split", "val", "--preset", "lmnet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    folder = trained / "evaluation" / "val-lmnet"
    assert summary.pop("folder") == str(folder)
    assert summary == json.loads((folder / "summary.json").read_text())
    assert any("best epoch was chosen" in note for note in summary["notes"])


def test_the_published_table_is_printed(trained, capsys):
    assert main(["evaluate", str(trained), "--preset", "lmnet"]) == 0
    shown = capsys.readouterr().out
    assert "arXiv 2501.03838" in shown
    assert "Hd (penalty)" in shown


def test_predictions_of_the_command_measure_as_the_run(trained, discs, capsys):
    assert main(["predict", str(trained), str(discs / "images"), "--output", "masks", "--overlay"]) == 0
    assert main(["evaluate", str(trained), "--json"]) == 0
    shown = capsys.readouterr().out
    expected = json.loads(shown[shown.index("{") :])
    words = ["--predictions", "masks", "--data", str(discs), "--splits", str(trained / "splits.json")]
    assert main(["evaluate", *words, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["macro"] == expected["macro"]
    assert measured["folder"] == "masks/evaluation"
    assert Path("masks/evaluation/report.html").exists()


@pytest.mark.parametrize("words", [[], ["run", "--predictions", "x", "--data", "y"]])
def test_either_a_run_or_masks(refused, trained, words):
    assert "either a run" in refused("evaluate", *words)


def test_bad_words(refused, trained, discs):
    assert "--data DIR" in refused("evaluate", "--predictions", discs / "masks")
    assert "--splits goes with --predictions" in refused("evaluate", trained, "--splits", "x.json")
    assert "Did you mean 'lmnet'?" in refused("evaluate", trained, "--preset", "lmnt")
    assert "Did you mean" in refused("evaluate", trained, "--policy", "penalti")
    assert "split" in refused("evaluate", trained, "--split", "tset")
    assert "not a run" in refused("evaluate", discs)
    assert not (trained / "evaluation").exists()


def test_help_has_examples(capsys):
    assert main(["evaluate", "--help"]) == 0
    assert "glocal evaluate runs/polyps" in capsys.readouterr().out.partition("examples:")[2]
