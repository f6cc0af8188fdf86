"""``glocal ablate``: lists, counts, refusals, and a real run end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glocal.ablation import ABLATIONS
from glocal.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "ablation-counts.md"
FAST = ["--recipe", "quick", "--set", "train.epochs=1", "--set", "data.size=32", "--set", "train.device=cpu"]


def test_alone_it_lists_every_declared_ablation(capsys) -> None:
    assert main(["ablate"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in ABLATIONS if name not in listed] == []
    assert main(["ablate", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in facts] == list(ABLATIONS)
    assert facts[0]["rows"][0] == "3x3"


def test_counts_need_no_data_and_are_the_page_of_the_documentation(capsys, tmp_path) -> None:
    output = ["--output", str(tmp_path / "a b")]
    assert main(["ablate", "spm_pvt_nano", "--counts-only", "--markdown", *output]) == 0
    heading, _, body = capsys.readouterr().out.partition("\n")
    assert "3,543,144" in body
    table = body[body.index("| row") : body.index("\n\n- ")]
    assert f"#{heading}" in PAGE.read_text()
    assert table in PAGE.read_text()
    assert {path.name for path in (tmp_path / "a b").iterdir()} == {"ablation.md", "ablation.csv", "ablation.json"}


@pytest.mark.slow
def test_the_page_of_the_documentation_is_what_the_command_prints(capsys) -> None:
    assert main(["ablate", "--all", "--counts-only", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text()


def test_a_narrow_terminal_loses_no_digit(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["ablate", "spm_pvt_nano", "--counts-only"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "3,543,144" in out
    assert "0.472 G" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lmnet_tabel8", "--counts-only"], "Did you mean 'lmnet_table8'"),
        (["lmnet_table8"], "glocal ablate lmnet_table8 --counts-only"),
        (["lmnet_table8", "nowhere"], "nowhere"),
        (["lmnet_table8", "polyps", "--counts-only"], "leave one of the two out"),
        (["lmnet_table8", "--counts-only", "--folds", "5"], "--folds is for training"),
        (["lmnet_table8", "--counts-only", "--json", "--markdown"], "exclude each other"),
        (["lmnet_table8", "--counts-only", "--model", "unet"], "unet is another network"),
        (["--all"], "--all goes with --counts-only"),
        (["lmnet_table8", "--fold", "5"], "--folds"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_to_do(refused, words, message) -> None:
    assert message in refused("ablate", *words)


@pytest.mark.slow
def test_merging_is_one_training_measured_before_and_after(discs, tmp_path, monkeypatch, capsys) -> None:
    """End to end; the same command again trains nothing and prints the same."""
    monkeypatch.chdir(tmp_path)
    words = ["ablate", "lmnet_table7", str(discs), "--model", "lmnet_tiny", *FAST, "--json"]
    assert main([*words, "--output", "merging"]) == 0
    first = json.loads(capsys.readouterr().out)
    cells = list(Path("merging/cells").iterdir())
    assert [cell.name for cell in cells] == ["without-merging-f0-s0"]
    weights = (cells[0] / "run/model/model.safetensors").stat().st_mtime_ns
    figures = {row["label"]: row["measured"]["mDice %"]["mean"] for row in first["rows"]}
    assert figures["with merging"] == pytest.approx(figures["without merging"], abs=0.01)
    assert {path.name for path in (cells[0] / "run/evaluation").iterdir()} == {
        "test",
        "test-lmnet",
        "test-lmnet-as-trained",
    }
    assert main([*words, "--output", "merging"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (cells[0] / "run/model/model.safetensors").stat().st_mtime_ns == weights
