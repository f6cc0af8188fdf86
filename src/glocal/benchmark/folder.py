"""The folder of a benchmark: ``benchmark.json``, ``splits.json`` and one folder a cell.

::

    BENCH/benchmark.json            the plan
    BENCH/splits.json               the splits that all cells share
    BENCH/cells/<id>/cell.json      how far the cell is, and what it came to
    BENCH/cells/<id>/run/           an ordinary run folder, with evaluation/<split>/{cases.csv,summary.json,report.html}
    BENCH/cells/<id>/log.txt        what the training said
    BENCH/cells/<id>/traceback.txt  of a cell that failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from glocal.benchmark.plan import FORMAT, Cell, Plan
from glocal.errors import UserError
from glocal.files import read_json, write_json

__all__ = ["BenchmarkFolder", "CellResult", "Status", "read_benchmark"]

Status = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class CellResult:
    """How far a cell is, and what it came to.

    Attributes:
        id: Name of its folder.
        status: ``"running"`` is also what a killed benchmark leaves behind: it is continued by the next command.
        label: Of the variant.
        model: Registered name of the network.
        arguments: Options of the network.
        recipe: Name or file of the recipe.
        fold: From 0.
        seed: Of the training.
        folder: ``BENCH/cells/<id>``.
        error: One line; of a failed cell.
        seconds: Of training, all epochs, also those before an interruption.
        epochs: That were trained.
        planned_epochs: That the learning-rate schedule was made for.
        stopped_by: ``"epochs"``, ``"budget"`` or ``"early stopping"``.
        peak_memory_bytes: Highest resident memory of the process, or of the GPU where it was trained there.
        score: ``{"name": "dice", "value": 0.91}``: mean over the cases of the evaluated part.
        costs: ``parameters``, ``multiply_adds``, ``latency_seconds`` (median, one image), ``latency``,
            ``memory_bytes`` (peak of a forward pass), ``device``, ``threads``, ``size``, ``papers_parameters``,
            ``papers_multiply_adds``.
        facts: Everything in ``cell.json``.
    """

    id: str
    status: Status
    label: str
    model: str
    arguments: Mapping[str, Any]
    recipe: str
    fold: int
    seed: int
    folder: Path
    evaluated: str
    error: str | None = None
    seconds: float | None = None
    epochs: int | None = None
    planned_epochs: int | None = None
    stopped_by: str | None = None
    peak_memory_bytes: int | None = None
    score: Mapping[str, Any] | None = None
    costs: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def evaluation(self) -> Path:
        """Folder of ``cases.csv``, ``summary.json`` and ``report.html``; whole where the cell is done."""
        return self.run / "evaluation" / self.evaluated


@dataclass(frozen=True)
class BenchmarkFolder:
    """Where the files of a benchmark are."""

    path: Path

    @property
    def plan_file(self) -> Path:
        """The plan."""
        return self.path / "benchmark.json"

    @property
    def splits_file(self) -> Path:
        """The splits of all cells."""
        return self.path / "splits.json"

    def cell(self, cell: Cell) -> Path:
        """Folder of a cell."""
        return self.path / "cells" / cell.id

    def write_plan(self, plan: Plan) -> None:
        """Write splits and plan; the plan last, which makes the folder a benchmark.

        Raises:
            UserError: The folder cannot be written.
        """
        if not self.plan_file.exists():
            write_json(self.splits_file, dict(plan.splits))
        write_json(self.plan_file, plan.to_json())

    def read_plan(self) -> Plan:
        """The plan.

        Raises:
            UserError: It is no benchmark, or its files are damaged.
        """
        if not self.plan_file.exists():
            raise UserError(
                f"{self.path}: not a benchmark (no benchmark.json); name a folder that `glocal benchmark` made"
            )
        try:
            return Plan.from_json(read_json(self.plan_file), read_json(self.splits_file))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.plan_file}: not the plan of a benchmark ({error}); restore it") from None

    def read_cell(self, plan: Plan, cell: Cell) -> CellResult:
        """How far a cell is.

        Raises:
            UserError: Its ``cell.json`` is damaged.
        """
        path, variant = self.cell(cell) / "cell.json", cell.variant
        plain = read_json(path) if path.exists() else {"format": FORMAT, "status": "waiting"}
        if not isinstance(plain, dict) or plain.get("format") != FORMAT or plain.get("status") not in get_args(Status):
            raise UserError(f"{path}: not the state of a cell; remove the folder {path.parent} to run the cell anew")
        known: dict[str, Any] = {name: plain.get(name) for name in _OF_RESULT}
        return CellResult(
            cell.id,
            plain["status"],
            variant.label,
            variant.model,
            variant.arguments,
            variant.recipe,
            cell.fold,
            cell.seed,
            path.parent,
            plan.evaluated,
            **known,
            facts=plain,
        )

    def write_cell(self, cell: Cell, status: Status, facts: Mapping[str, Any]) -> None:
        """Write ``cell.json``, whole or not at all."""
        variant = cell.variant
        head = {"format": FORMAT, "status": status, "id": cell.id, **variant.to_json()}
        body = {"fold": cell.fold, "seed": cell.seed, **dict.fromkeys(_OF_RESULT), **facts}
        write_json(self.cell(cell) / "cell.json", {**head, **body})


_OF_RESULT = ("error", "seconds", "epochs", "planned_epochs", "stopped_by", "peak_memory_bytes", "score", "costs")


def read_benchmark(folder: str | Path) -> list[CellResult]:
    """All cells of a benchmark in the order of the plan, finished or not.

    Args:
        folder: That :func:`glocal.benchmark.run_plan` made.

    Raises:
        UserError: It is no benchmark, or its files are damaged.
    """
    bench = BenchmarkFolder(Path(folder))
    plan = bench.read_plan()
    return [bench.read_cell(plan, cell) for cell in plan.cells]
