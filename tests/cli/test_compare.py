"""``glocal compare`` from the words of a command to what a user sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from glocal.cli import main

COMPARISON = Path(__file__).parents[1] / "comparison"
sys.path.insert(0, str(COMPARISON))

from makers_evaluations import write_benchmark, write_run  # noqa: E402


def test_a_benchmark_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = [("lmnet", 1, 0)]
    bench = write_benchmark(tmp_path / "-b ü", {"lmnet": 0.3, "unet": 1.5}, seeds=(0, 1), failed=failed)
    out = tmp_path / "out folder"
    assert main(["compare", "--output", str(out), "--", str(bench)]) == 0
    text = capsys.readouterr().out
    assert "lmnet has the highest mean Dice" in text
    assert "Worse than lmnet: unet" in text
    assert "failed: lmnet, fold 1, seed 0: out of memory" in text
    assert f"report: {out / 'report.html'}" in text.replace("\n", "")
    assert (out / "comparison.json").exists()


def test_json_is_alone_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name, error) for name, error in (("a", 0.3), ("b", 0.6))]
    words = [*map(str, runs), "--no-costs", "--metric", "hd95,nsd", "--reference", "b", "--json"]
    assert main(["compare", *words, "--output", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reference"] == "b"
    assert [metric["facts"]["name"] for metric in found["metrics"]][:2] == ["hd95", "nsd"]
    assert found == json.loads((tmp_path / "out" / "comparison.json").read_text())


@pytest.mark.parametrize("words", [[], ["--metric", "dice"], ["a", "--tset", "wilcoxon"], ["a", "--test", "t"]])
def test_wrong_words_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_is_written_when_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / "a", 0.3), write_run(tmp_path / "b", 0.3, policy="skip")]
    assert main(["compare", *map(str, runs), "--no_costs", "--output", str(tmp_path / "out")]) == 2
    assert "policy for empty masks skip, but penalty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = ("lightning", "monai", "matplotlib", "rich")
    code = f"import glocal.comparison, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
