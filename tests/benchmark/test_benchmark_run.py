"""A whole benchmark: killed at any point, crashed, on a Ray cluster, as an array of Slurm jobs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from glocal.benchmark import BenchmarkFolder, Plan, read_benchmark, run_plan
from glocal.benchmark.run import Resources
from glocal.benchmark.slurm import latest_script
from glocal.errors import UserError

Small = Callable[..., Plan]

IN_THE_CELL = """
import os, sys
if "glocal.benchmark.cell" in sys.orig_argv:
    import signal, time
    import glocal.inference
    from glocal.benchmark.folder import BenchmarkFolder
    from glocal.training.module import Training

    cell, point = sys.orig_argv[-1], os.environ.get("TEST_POINT", "none")

    def reached(name):
        with open(os.environ["TEST_TRACE"], "a") as trace:
            trace.write(f"{cell} {name}\\n")
        if f"{cell} {name}" == point:
            if os.environ["TEST_VICTIM"] == "parent":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)
            os.kill(os.getpid(), signal.SIGKILL if os.environ["TEST_VICTIM"] == "self" else signal.SIGSEGV)

    step, evaluate_run, write = Training.training_step, glocal.inference.evaluate_run, BenchmarkFolder.write_cell

    def training_step(self, batch, index):
        if index == 0:
            reached(f"epoch {self.current_epoch}")
        return step(self, batch, index)

    def evaluated(*args, **options):
        reached("evaluation")
        return evaluate_run(*args, **options)

    def written(self, cell, status, facts):
        reached(status)
        return write(self, cell, status, facts)

    Training.training_step, glocal.inference.evaluate_run = training_step, evaluated
    BenchmarkFolder.write_cell = written
"""
"""Put into every cell: it notes what it does, and kills its parent or itself at one point."""

PARENT = """
import sys
from pathlib import Path
from glocal.benchmark import BenchmarkFolder, run_plan

run_plan(BenchmarkFolder(Path(sys.argv[1])).read_plan(), sys.argv[1])
"""


@pytest.fixture
def spied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trace of what cells do."""
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy/sitecustomize.py").write_text(IN_THE_CELL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spy"))
    monkeypatch.setenv("TEST_TRACE", str(tmp_path / "trace.txt"))
    return tmp_path / "trace.txt"


def until(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def nobody_holds(folder: Path) -> bool:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return False
    lock.release()
    return True


@pytest.mark.slow
def test_killed_at_any_point_nothing_is_lost_and_nothing_is_run_twice(
    small: Small, tmp_path: Path, spied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is killed as it begins a cell, in an epoch, before the evaluation and before the end is recorded."""
    plan, folder = small("lmnet_tiny", "unet_tiny"), tmp_path / "bench"
    first, second = (cell.id for cell in plan.cells)
    BenchmarkFolder(folder).write_plan(plan)
    monkeypatch.setenv("TEST_VICTIM", "parent")
    for point in (f"{first} running", f"{first} epoch 1", f"{first} evaluation", f"{second} done"):
        monkeypatch.setenv("TEST_POINT", point)
        killed = subprocess.run([sys.executable, "-c", PARENT, str(folder)], timeout=300)
        assert killed.returncode == -signal.SIGKILL
        assert until(lambda point=point: nobody_holds(folder / "cells" / point.split()[0])), (
            "the cell outlives its parent"
        )
    monkeypatch.setenv("TEST_POINT", "none")
    results = run_plan(plan, folder)
    assert [result.status for result in results] == ["done", "done"]
    assert all((result.evaluation / "report.html").exists() for result in results)
    trace = spied.read_text().splitlines()
    assert trace == [
        f"{first} running",  # killed
        f"{first} running",
        f"{first} epoch 0",
        f"{first} epoch 1",  # killed
        f"{first} running",
        f"{first} epoch 1",
        f"{first} evaluation",  # killed
        f"{first} running",
        f"{first} evaluation",
        f"{first} done",
        f"{second} running",
        f"{second} epoch 0",
        f"{second} epoch 1",
        f"{second} evaluation",
        f"{second} done",  # killed
        f"{second} running",
        f"{second} done",
    ]
    assert run_plan(plan, folder) == results
    assert spied.read_text().splitlines() == trace


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "said"), [("self", "SIGKILL; the system may"), ("fault", "SIGSEGV")])
def test_a_cell_that_dies_is_recorded_and_the_rest_goes_on(
    small: Small, tmp_path: Path, spied: Path, monkeypatch: pytest.MonkeyPatch, victim: str, said: str
) -> None:
    models = ("lmnet_tiny", "unet_tiny") if victim == "self" else ("lmnet_tiny",)
    plan, folder = small(*models, set={"train.epochs": 1}), tmp_path / "bench"
    monkeypatch.setenv("TEST_VICTIM", victim)
    monkeypatch.setenv("TEST_POINT", f"{plan.cells[0].id} epoch 0")
    died, *others = run_plan(plan, folder)
    assert (died.status, [other.status for other in others]) == ("failed", ["done"] * (len(models) - 1))
    assert died.error is not None
    assert said in died.error
    assert (died.folder / "traceback.txt").stat().st_size > 0
    if victim == "fault":
        assert "Segmentation fault" in (died.folder / "traceback.txt").read_text()
        return
    monkeypatch.setenv("TEST_POINT", "none")
    assert [result.status for result in run_plan(plan, folder)] == ["failed", "done"]
    assert [result.status for result in run_plan(plan, folder, retry_failed=True)] == ["done", "done"]


@pytest.mark.slow
def test_an_array_of_slurm_jobs_runs_the_cells(small: Small, tmp_path: Path) -> None:
    plan, folder = small("lmnet_tiny", "unet_tiny", set={"train.epochs": 1}), tmp_path / "our bench"
    run_plan(plan, folder, engine="slurm", resources=Resources(cpus=2, gpus=1))
    script = latest_script(BenchmarkFolder(folder))
    assert script is not None
    text = script.read_text()
    for line in ("--array=1-2", "--cpus-per-task=2", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in text
    task = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert task.returncode == 0, task.stderr
    assert [result.status for result in read_benchmark(folder)] == ["waiting", "done"]
    run_plan(plan, folder, engine="slurm")
    assert latest_script(BenchmarkFolder(folder)) != script
    assert (folder / "slurm/cells-2.txt").read_text() == "lmnet_tiny-f0-s0\n"
    assert script.read_text() == text


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes_computes_the_cells(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default its workers make way for everything else
    from ray.cluster_utils import Cluster

    plan, folder = small("lmnet_tiny", "unet_tiny", set={"train.epochs": 1}, budget_s=20.0), tmp_path / "bench"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    processes = [process for node in (cluster.head_node, cluster.add_node(num_cpus=1)) for process in pids(node)]
    try:
        cluster.wait_for_nodes()
        with pytest.raises(UserError, match=r"no node of the Ray cluster has 9 CPU"):
            run_plan(plan, folder, engine="ray", resources=Resources(cpus=9, address=cluster.address))
        results = run_plan(plan, folder, engine="ray", resources=Resources(address=cluster.address))
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert [result.status for result in results] == ["done", "done"]
    assert BenchmarkFolder(folder).read_plan().epochs.keys() == {"lmnet_tiny", "unet_tiny"}
    assert processes
    assert until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in processes))


def pids(node) -> list[int]:  # type: ignore[no-untyped-def]
    return [info.process.pid for kind in node.all_processes.values() for info in kind]


def test_a_folder_that_holds_something_else_is_refused_and_untouched(small: Small, tmp_path: Path) -> None:
    plan = small("lmnet_tiny")
    for name in ("thesis.txt", "splits.json"):
        folder = tmp_path / f"with {name}"
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(UserError, match=rf"holds other files \({name}\)"):
            run_plan(plan, folder)
        assert [path.name for path in folder.iterdir()] == [name]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a file where the folder"):
        run_plan(plan, tmp_path / "file")


def test_a_start_that_was_killed_while_it_wrote_the_plan_is_no_obstacle(small: Small, tmp_path: Path) -> None:
    plan, folder = small("lmnet_tiny"), tmp_path / "bench"
    BenchmarkFolder(folder).write_plan(plan)
    (folder / "benchmark.json").rename(folder / ".partial-abc.json")
    run_plan(plan, folder, engine="slurm")
    assert BenchmarkFolder(folder).read_plan() == plan


def test_two_benchmarks_do_not_work_in_one_folder(small: Small, tmp_path: Path) -> None:
    plan, folder = small("lmnet_tiny"), tmp_path / "bench"
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(UserError, match="another `glocal benchmark` is at work there"):
        run_plan(plan, folder)


def test_a_folder_that_cannot_be_written_is_one_line(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    plan, folder = small("lmnet_tiny"), tmp_path / "bench"
    BenchmarkFolder(folder).write_plan(plan)
    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(UserError, match=r"bench: cannot be written \(Read-only file system\)"):
        run_plan(plan, folder)
