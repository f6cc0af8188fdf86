"""Cells spread over a Ray cluster whose nodes share the folder of the benchmark and the data."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from glocal.benchmark.child import finish_cell
from glocal.benchmark.folder import BenchmarkFolder
from glocal.benchmark.plan import Cell, Plan
from glocal.benchmark.probe import Probe, probe_plan
from glocal.benchmark.run import Resources
from glocal.errors import UserError, optional_import

__all__ = ["RayCluster", "ray_cluster"]


def _probed(plan: dict[str, Any], splits: dict[str, Any], labels: list[str]) -> dict[str, Probe]:
    """Measure on a worker."""
    return probe_plan(Plan.from_json(plan, splits), labels)


def _finished(folder: str, id: str) -> None:
    """Bring a cell to an end on a worker."""
    bench = BenchmarkFolder(Path(folder))
    if not bench.plan_file.exists():
        raise UserError(
            f"{folder}: not there on the node of a Ray worker; use a folder that all nodes share (--output)"
        )
    plan = bench.read_plan()
    if not plan.data.is_dir():
        raise UserError(f"{plan.data}: the data is not there on the node of a Ray worker; use a folder all nodes share")
    finish_cell(bench, plan, plan.cell(id))


class RayCluster:
    """As many cells at once as the cluster has room for.

    Args:
        ray: The package, connected.
        resources: Of one cell.

    Raises:
        UserError: No node has as much.
    """

    def __init__(self, ray: Any, resources: Resources) -> None:
        self.ray = ray
        gpus = resources.gpus
        if gpus is None:
            gpus = int(ray.cluster_resources().get("GPU", 0) >= 1)
        self.options = {"num_cpus": resources.cpus, "num_gpus": gpus, "max_retries": 0}
        self._require_room()

    def probe(self, plan: Plan, labels: Sequence[str]) -> dict[str, Probe]:
        """Measure variants on a worker of the cluster."""
        task = self.ray.remote(_probed).options(**self.options).remote(plan.to_json(), dict(plan.splits), list(labels))
        with self._named():
            found: dict[str, Probe] = self.ray.get(task)
        return found

    def run(self, bench: BenchmarkFolder, plan: Plan, cells: Sequence[Cell], look: Callable[[], None]) -> None:
        """Hand all cells to the scheduler of Ray, and wait for them."""
        task = self.ray.remote(_finished).options(**self.options)
        waiting = {task.remote(str(bench.path.absolute()), cell.id): cell for cell in cells}
        try:
            while waiting:
                ended, _ = self.ray.wait(list(waiting), timeout=1)
                for one in ended:
                    self._close(bench, plan, waiting.pop(one), one)
                look()
        finally:
            for one in waiting:
                self.ray.cancel(one, force=True)

    def _close(self, bench: BenchmarkFolder, plan: Plan, cell: Cell, task: Any) -> None:
        """Record a cell whose worker or node is gone before it was done."""
        try:
            with self._named():
                self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            if bench.read_cell(plan, cell).status in ("done", "failed"):
                return
            text = " ".join(str(error).split())[:300]
            bench.write_cell(cell, "failed", {"error": f"its Ray worker ended: {text}"})

    def _require_room(self) -> None:
        """Refuse what no node can give, for which Ray would wait without end."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cpus, gpus = self.options["num_cpus"], self.options["num_gpus"]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            raise UserError(
                f"no node of the Ray cluster has {cpus} CPU(s) and {gpus} GPU(s); lower --cell_cpus or --cell_gpus"
            )

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """What the user can mend comes back from a worker as what it is."""
        try:
            yield
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise


@contextlib.contextmanager
def ray_cluster(resources: Resources) -> Iterator[RayCluster]:
    """Connect to a Ray cluster, and leave it afterwards; one that the process is connected to already is used.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    ray = optional_import("ray", "ray")
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=resources.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster at {resources.address!r} ({' '.join(str(error).split())[:120]}); start one "
                "(`ray start --head`, then `ray start --address HOST:PORT` on the others), or name it: --ray_address"
            ) from None
    try:
        yield RayCluster(ray, resources)
    finally:
        if ours:
            ray.shutdown()
