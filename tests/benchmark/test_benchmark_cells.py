"""One cell: what it leaves, what is never done twice, how a failure is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from glocal.benchmark import BenchmarkFolder, CellResult, Plan, Variant, make_plan, read_benchmark
from glocal.benchmark import cell as cells
from glocal.benchmark.cell import run_cell, score_of
from glocal.benchmark.watch import Watcher
from glocal.errors import UserError
from glocal.training.module import Training

Small = Callable[..., Plan]


def begun(plan: Plan, folder: Path) -> Path:
    BenchmarkFolder(folder).write_plan(plan)
    return folder


def only(folder: Path) -> CellResult:
    (result,) = read_benchmark(folder)
    return result


def test_a_cell_is_an_ordinary_run_measured_on_the_shared_test_part(small: Small, tmp_path: Path) -> None:
    plan = small("lmnet_tiny")
    folder = begun(plan, tmp_path / "bench")
    run_cell(folder, "lmnet_tiny-f0-s0")
    result = only(folder)
    assert (result.status, result.epochs, result.planned_epochs, result.stopped_by) == ("done", 2, 2, "epochs")
    assert {path.name for path in result.evaluation.iterdir()} == {"cases.csv", "summary.json", "report.html"}
    assert result.evaluation == result.run / "evaluation" / "test"
    summary = json.loads((result.evaluation / "summary.json").read_text())
    assert summary["cases"] == len(plan.splits["splits"]["test"])
    assert result.score == {"name": "dice", "value": summary["macro"]["foreground"]["dice"]["mean"]}
    assert json.loads((result.run / "splits.json").read_text())["splits"] == plan.splits["splits"]
    assert result.costs is not None
    assert result.costs["parameters"] == sum(
        p.numel()
        for p in cells_network(result).parameters()  # of one grey channel and two classes
    )
    assert result.costs["multiply_adds"] > 0
    assert result.costs["latency_seconds"] > 0
    assert result.costs["memory_bytes"] > 4 * result.costs["parameters"]
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes > result.costs["memory_bytes"]
    assert result.seconds is not None
    assert result.seconds > 0


def cells_network(result: CellResult):  # type: ignore[no-untyped-def]
    from glocal.models.weights import load_model

    return load_model(result.run / "model").network


def test_what_is_done_is_not_done_again(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(small("lmnet_tiny"), tmp_path / "bench")
    write_cell = BenchmarkFolder.write_cell

    def killed(self: BenchmarkFolder, cell: object, status: str, facts: object) -> None:
        if status == "done":
            raise KeyboardInterrupt
        write_cell(self, cell, status, facts)  # type: ignore[arg-type]

    monkeypatch.setattr(BenchmarkFolder, "write_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        run_cell(folder, "lmnet_tiny-f0-s0")
    monkeypatch.setattr(BenchmarkFolder, "write_cell", write_cell)
    assert only(folder).status == "running"
    whole = {path: path.stat().st_mtime_ns for path in (only(folder).run).rglob("*") if path.name != ".lock"}
    monkeypatch.setattr(Training, "training_step", None)
    monkeypatch.setattr("glocal.inference.evaluate_run", None)
    run_cell(folder, "lmnet_tiny-f0-s0")
    assert only(folder).status == "done"
    assert len(only(folder).facts["starts"]) == 2
    monkeypatch.setattr(cells, "_computed", None)
    run_cell(folder, "lmnet_tiny-f0-s0")
    assert {path: path.stat().st_mtime_ns for path in (only(folder).run).rglob("*") if path.name != ".lock"} == whole


def test_a_failure_is_recorded_with_its_traceback_and_a_retry_goes_on_from_the_last_epoch(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(small("lmnet_tiny"), tmp_path / "bench")
    step, epochs = Training.training_step, []

    def failing(self: Training, batch: object, index: int) -> object:
        if self.current_epoch == 1 and len(epochs) < 2:
            epochs.append(1)
            raise ZeroDivisionError("first line\nsecond line")
        if index == 0:
            epochs.append(self.current_epoch)
        return step(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "training_step", failing)
    run_cell(folder, "lmnet_tiny-f0-s0")
    result = only(folder)
    assert result.status == "failed"
    assert result.error == "ZeroDivisionError: first line second line"
    assert "ZeroDivisionError" in (result.folder / "traceback.txt").read_text()
    run_cell(folder, "lmnet_tiny-f0-s0")
    assert only(folder).status == "done"
    assert not (result.folder / "traceback.txt").exists()
    assert epochs == [0, 1, 1]


def test_what_the_user_can_mend_is_said_as_it_is(small: Small, tmp_path: Path, discs: Path) -> None:
    folder = begun(small("lmnet_tiny"), tmp_path / "bench")
    mask = next((discs / "masks").iterdir())
    mask.write_bytes(b"no picture")
    run_cell(folder, "lmnet_tiny-f0-s0")
    result = only(folder)
    assert result.status == "failed"
    assert result.error is not None
    assert "splits.json" in result.error
    assert not result.error.startswith("UserError")


def test_a_share_that_is_spent_ends_the_training_after_an_epoch(small: Small, tmp_path: Path) -> None:
    plan = small("lmnet_tiny", budget_s=1e-6).with_epochs({"lmnet_tiny": 4})
    folder = begun(plan, tmp_path / "bench")
    run_cell(folder, "lmnet_tiny-f0-s0")
    result = only(folder)
    assert (result.status, result.epochs, result.planned_epochs, result.stopped_by) == ("done", 1, 4, "budget")


def test_classifiers_are_measured_too(shapes: Path, tmp_path: Path) -> None:
    settings = {"data.size": 32, "train.epochs": 1, "train.device": "cpu", "data.cache": "memory"}
    plan = make_plan(shapes, [Variant("ours", "pvt_nano", recipe="quick")], settings=settings)
    folder = begun(plan, tmp_path / "bench")
    run_cell(folder, "ours-f0-s0")
    result = only(folder)
    assert result.error is None
    assert result.score is not None
    assert result.score["name"] == "balanced_accuracy"
    assert 0 <= result.score["value"] <= 1


def test_the_score_of_several_labels_is_their_auroc() -> None:
    summary = {"task": "classification", "multi_label": True, "macro": {"auroc": {"value": 0.75}}}
    assert score_of(summary) == {"name": "auroc", "value": 0.75}


def test_two_processes_do_not_compute_one_cell(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(small("lmnet_tiny"), tmp_path / "bench")
    home = folder / "cells/lmnet_tiny-f0-s0"
    home.mkdir(parents=True)
    monkeypatch.setattr(cells, "_WAIT", 0.0)
    with FileLock(home / ".lock"), pytest.raises(UserError, match="another process is computing this cell"):
        run_cell(folder, "lmnet_tiny-f0-s0")
    with pytest.raises(UserError, match="Did you mean 'lmnet_tiny-f0-s0'"):
        run_cell(folder, "lmnet_tiny-f0-s1")


def test_who_watches_sees_epochs_scores_and_time_left(small: Small, tmp_path: Path) -> None:
    plan, folder = small("lmnet_tiny", "unet_tiny", seeds=(0, 1)), tmp_path / "bench"
    bench = BenchmarkFolder(begun(plan, folder))
    watcher = Watcher(bench, plan)
    assert [sight.seconds_left for sight in watcher.look()] == [None] * 4
    bench.write_cell(plan.cells[0], "done", {"seconds": 20.0, "epochs": 2, "score": {"name": "dice", "value": 0.5}})
    bench.write_cell(plan.cells[2], "running", {"planned_epochs": 2, "starts": ["2026-01-01T00:00:00+00:00"]})
    run = bench.cell(plan.cells[2]) / "run"
    run.mkdir()
    (run / "metrics.csv").write_text("epoch,learning_rate,train_loss,val_loss,mdice\n1,0.1,0.5,0.5,0.25\n")
    bench.write_cell(plan.cells[1], "failed", {"error": "x"})
    done, failed, running, waiting = watcher.look()
    assert (done.result.score, done.seconds_left, failed.seconds_left) == ({"name": "dice", "value": 0.5}, 0.0, 0.0)
    assert (running.epoch, running.validation, running.seconds_left) == (1, 0.25, 10.0)
    assert waiting.seconds_left is None
