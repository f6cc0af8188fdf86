"""``glocal benchmark`` as typed: what it refuses, what a dry run says and leaves, and what is shown at the end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from glocal.benchmark import BenchmarkFolder, CellResult, read_benchmark
from glocal.benchmark.watch import Sight
from glocal.cli import _grid_options as options
from glocal.cli import main
from glocal.cli._benchmark_view import live_table, print_results
from glocal.errors import UserError

FAST = ["--recipes", "quick", "--set", "data.size=32", "--set", "train.epochs=1", "--set", "train.device=cpu"]
MODELS = ["--models", "lmnet_tiny,unet_tiny"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5 h", 5400), ("2min", 120)]
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "1.2.3h", "2 days", "-2h"])
def test_a_time_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="give a time with its unit"):
        options.seconds(text)


def test_seeds_are_a_number_of_them_or_a_list() -> None:
    assert (options.seeds("3"), options.seeds("7,9"), options.seeds("42,")) == ([0, 1, 2], [7, 9], [42])
    with pytest.raises(UserError, match="seeds are 'three'"):
        options.seeds("three")


def test_settings_are_yaml() -> None:
    found = options.settings(["train.epochs=3", "data.size=[32, 48]", "train.gradient_clip=null"])
    assert found == {"train.epochs": 3, "data.size": [32, 48], "train.gradient_clip": None}


def test_what_cannot_be_done_is_said_in_one_line(discs: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "name the networks" in refused("benchmark", discs)
    assert "Did you mean 'lmnet'" in refused("benchmark", discs, "--models", "lmnett")
    assert "no network matches" in refused("benchmark", discs, "--models", "*nothing*")
    assert "choose networks for segmentation" not in refused("benchmark", discs, "--models", "pvt_nano")
    assert "no recipe 'quik'" in refused("benchmark", discs, *MODELS, "--recipes", "quik")
    assert "Did you mean 'train.epochs'" in refused("benchmark", discs, *MODELS, "--set", "train.epoch=3")
    assert "give a setting and its value" in refused("benchmark", discs, *MODELS, "--set", "train.epochs")
    assert "not a benchmark" in refused("benchmark", discs, "--cell", "x")
    assert "nowhere" in refused("benchmark", tmp_path / "nowhere", *MODELS)
    assert not (tmp_path / "bench").exists()


def test_a_dry_run_says_what_it_measured_and_writes_nothing(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = ["benchmark", str(discs), "--models", "lmnet_tiny", *FAST, "--folds", "2", "--budget", "1m", "--dry-run"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["cells"] == ["lmnet_tiny-f0-s0", "lmnet_tiny-f1-s0"]
    estimate = said["estimates"]["lmnet_tiny"]
    assert estimate["error"] is None
    assert estimate["seconds_per_epoch"] > 0
    assert estimate["memory_bytes"] > 0
    assert estimate["epochs"] == 1  # that of --set is an upper limit
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before


@pytest.mark.slow
def test_from_the_command_to_the_table(
    discs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", str(discs), *MODELS, *FAST]) == 0
    shown = capsys.readouterr()
    assert "compare: glocal compare bench/discs" in shown.out
    assert "[2/2] unet_tiny-f0-s0  done" in shown.err
    before = {path: path.stat().st_mtime_ns for path in Path("bench").rglob("*") if path.name != ".lock"}
    assert main(["benchmark", "bench/discs", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["label"], cell["status"]) for cell in cells] == [("lmnet_tiny", "done"), ("unet_tiny", "done")]
    assert {path: path.stat().st_mtime_ns for path in Path("bench").rglob("*") if path.name != ".lock"} == before
    assert "goes on as it was begun; leave --folds out" in refused("benchmark", "bench/discs", "--folds", "2")
    assert "train.epochs 1, not 2" in refused("benchmark", discs, *MODELS, *FAST, "--set", "train.epochs=2")
    bench = BenchmarkFolder(Path("bench/discs"))
    bench.write_cell(bench.read_plan().cells[0], "failed", {"error": "ValueError: such is life"})
    line = refused("benchmark", "bench/discs")
    assert "1 cell of 2 failed; lmnet_tiny-f0-s0: ValueError: such is life" in line
    assert "--retry-failed" in line
    assert [result.status for result in read_benchmark("bench/discs")] == ["failed", "done"]


def result(label: str, fold: int, status: str, **more: Any) -> CellResult:
    return CellResult(
        f"{label}-f{fold}-s0",
        status,  # type: ignore[arg-type]
        label,
        "lmnet_tiny",
        {},
        "quick",
        fold,
        0,
        Path("bench/cells/x"),
        "test",
        **more,
    )


def rendered(what: object) -> str:
    console = Console(width=110, file=io.StringIO())
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_the_live_table_has_a_row_for_each_cell_or_for_each_variant() -> None:
    done = Sight(result("a", 0, "done", epochs=9, score={"name": "dice", "value": 0.75}), 9, None, 0.0)
    running = Sight(result("b [x]", 0, "running", planned_epochs=9), 4, 0.5, 50.0)
    text = rendered(live_table([done, running], Path("bench")))
    assert "1 of 2 cells, 50 s of training left" in text
    assert "0.7500" in text
    assert "4/9" in text
    assert "val 0.5000" in text
    assert "b [x]" in text
    many = [Sight(result("a", fold, "waiting"), 0, None, None) for fold in range(31)]
    assert len(rendered(live_table(many, Path("bench"))).splitlines()) == 3


def test_the_table_at_the_end_gives_mean_and_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    costs = {"parameters": 2_000_000, "multiply_adds": 3_000_000_000, "latency_seconds": 0.0125}
    common = {"epochs": 4, "seconds": 30.0, "costs": costs}
    cells = [
        result("a", fold, "done", score={"name": "dice", "value": value}, **common)
        for fold, value in enumerate((0.5, 0.6, 0.7))
    ]
    cut = result("b", 0, "done", score={"name": "dice", "value": None}, stopped_by="budget", planned_epochs=9, **common)
    print_results([*cells, cut, result("b", 1, "failed", error="[bad] luck")], Path("my bench"))
    text = " ".join(capsys.readouterr().out.split())
    assert "a 3/3 0.6000 ± 0.1000 4 2 min 2.00 M 3.000 G 12.5 ms" in text
    assert "b 1/2 – 4" in text
    assert "its time was spent after 4 of 9 epochs" in text
    assert "failed: b-f1-s0: [bad] luck" in text
    assert "glocal compare 'my bench'" in text
