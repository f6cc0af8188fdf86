"""Doing what is not done yet of a benchmark, on this machine or through another engine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock, Timeout

from glocal.benchmark.child import finish_cell
from glocal.benchmark.folder import BenchmarkFolder, CellResult, read_benchmark
from glocal.benchmark.merging import merged
from glocal.benchmark.plan import Cell, Plan
from glocal.benchmark.probe import Probe, probe_plan
from glocal.errors import UserError
from glocal.files import read_json, writing

__all__ = ["Engine", "EngineName", "Resources", "Watch", "run_one", "run_plan"]

log = logging.getLogger("glocal")

EngineName = Literal["local", "ray", "slurm"]
"""Where cells are computed."""

Watch = Callable[[BenchmarkFolder, Plan], None]
"""Called about once a second, and whenever a cell begins or ends."""


@dataclass(frozen=True)
class Resources:
    """What a cell gets on a cluster.

    Attributes:
        cpus: Processors of one cell; also its number of threads.
        gpus: GPUs of one cell. None: 1 where a Ray cluster has any; Slurm: none.
        address: Of a Ray cluster: ``"auto"`` finds the one this machine belongs to.
    """

    cpus: int = 1
    gpus: int | None = None
    address: str = "auto"


class Engine(Protocol):
    """Where cells are computed."""

    def probe(self, plan: Plan, labels: Sequence[str]) -> dict[str, Probe]:
        """Measure variants where they will be trained."""

    def run(self, bench: BenchmarkFolder, plan: Plan, cells: Sequence[Cell], look: Callable[[], None]) -> None:
        """Bring cells to an end; ``look`` is called about once a second."""


class Local:
    """One cell after another on this machine."""

    def probe(self, plan: Plan, labels: Sequence[str]) -> dict[str, Probe]:
        """Measure variants on this machine."""
        return probe_plan(plan, labels)

    def run(self, bench: BenchmarkFolder, plan: Plan, cells: Sequence[Cell], look: Callable[[], None]) -> None:
        """Each cell in a process of its own."""
        for cell in cells:
            finish_cell(bench, plan, cell, look)
            look()


@contextlib.contextmanager
def _engine(name: EngineName, resources: Resources) -> Iterator[Engine]:
    if name == "ray":
        from glocal.benchmark.ray_engine import ray_cluster

        with ray_cluster(resources) as cluster:
            yield cluster
    elif name == "slurm":
        from glocal.benchmark.slurm import Slurm

        yield Slurm(resources)
    else:
        yield Local()


def run_plan(
    plan: Plan,
    folder: str | Path,
    *,
    engine: EngineName = "local",
    resources: Resources | None = None,
    retry_failed: bool = False,
    watch: Watch | None = None,
) -> list[CellResult]:
    """Train and evaluate every cell that is not done.

    A cell that was interrupted goes on from its last finished epoch; one that failed is left as it is. The process may
    be killed at any moment: the same call goes on.

    Args:
        plan: Of :func:`glocal.benchmark.make_plan`.
        folder: Of the benchmark; new, empty, or a benchmark to which the plan adds cells or nothing.
        engine: ``"local"``: here, one after another. ``"ray"``: on a Ray cluster that shares the folder and the data.
            ``"slurm"``: nothing is computed, an array of jobs is written (:mod:`glocal.benchmark.slurm`).
        resources: Of a cell on a cluster.
        retry_failed: Try cells that failed again.
        watch: Told about the progress.

    Returns:
        All cells.

    Raises:
        UserError: The folder holds something else or contradicts the plan, another process is at work there, or the
            cluster cannot be used. What goes wrong in a cell is in its ``cell.json``.
        KeyboardInterrupt: On SIGINT; the same call goes on.
    """
    bench = BenchmarkFolder(Path(folder))
    _require_usable(bench, plan)
    with _held(bench.path), _engine(engine, resources or Resources()) as chosen:
        plan = _entered(bench, plan)
        if retry_failed:
            for cell in _with_status(bench, plan, "failed"):
                bench.write_cell(cell, "waiting", {})
        plan = _with_epochs(bench, plan, chosen)
        look = partial(watch or _unseen, bench, plan)
        look()
        chosen.run(bench, plan, _with_status(bench, plan, "waiting", "running"), look)
    return read_benchmark(bench.path)


def run_one(folder: str | Path, id: str) -> CellResult:
    """Bring one cell to an end in a process of its own, if it is neither done nor failed: a task of an array of jobs.

    Raises:
        UserError: It is no benchmark, or another process is computing the cell.
    """
    bench = BenchmarkFolder(Path(folder))
    plan = bench.read_plan()
    cell = plan.cell(id)
    if bench.read_cell(plan, cell).status in ("waiting", "running"):
        finish_cell(bench, plan, cell)
    return bench.read_cell(plan, cell)


def _unseen(bench: BenchmarkFolder, plan: Plan) -> None:
    """Where nobody watches."""


def _with_status(bench: BenchmarkFolder, plan: Plan, *statuses: str) -> list[Cell]:
    return [cell for cell in plan.cells if bench.read_cell(plan, cell).status in statuses]


def _require_usable(bench: BenchmarkFolder, plan: Plan) -> None:
    """Refuse a folder that holds something else; what a start that was killed has left is nothing else."""
    if bench.path.exists() and not bench.path.is_dir():
        raise UserError(f"{bench.path}: a file where the folder of the benchmark should go; choose another --output")
    if bench.plan_file.exists() or not bench.path.exists():
        return
    ours = [".lock"]
    if bench.splits_file.exists() and read_json(bench.splits_file) == plan.splits:
        ours.append(bench.splits_file.name)
    for path in bench.path.iterdir():
        if path.name not in ours and not path.name.startswith(".partial-"):
            raise UserError(f"{bench.path}: the folder holds other files ({path.name}); choose another --output")


def _entered(bench: BenchmarkFolder, plan: Plan) -> Plan:
    """The plan of the folder, with the cells that are new."""
    if bench.plan_file.exists():
        old = bench.read_plan()
        plan = merged(bench.path, old, plan)
        if plan == old:
            return plan
    bench.write_plan(plan)
    return plan


def _with_epochs(bench: BenchmarkFolder, plan: Plan, engine: Engine) -> Plan:
    """Under a budget, the plan with the epochs of every variant that is to be trained; estimated once and kept."""
    cells = _with_status(bench, plan, "waiting", "running")
    labels = [v.label for v in plan.variants if any(c.variant == v for c in cells) and v.label not in plan.epochs]
    if plan.budget_s is None or not labels:
        return plan
    found = engine.probe(plan, labels)
    plan = plan.with_epochs({label: probe.epochs for label, probe in found.items() if probe.error is None})
    bench.write_plan(plan)
    for cell in cells:
        probe = found.get(cell.variant.label, Probe())
        if probe.error is not None:
            bench.write_cell(cell, "failed", {"error": f"an epoch could not be measured: {probe.error}"})
        elif probe.epochs and plan.share_s is not None and probe.seconds_per_epoch > plan.share_s:
            log.warning("%s: one epoch takes longer than the share of a cell; it is trained for that one", cell.id)
    return plan


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another `glocal benchmark` is at work there; wait until it ends, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()
