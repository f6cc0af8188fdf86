"""How far a benchmark is, for a table that someone watches."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import mean

from glocal.benchmark.folder import BenchmarkFolder, CellResult
from glocal.benchmark.plan import Plan
from glocal.errors import UserError
from glocal.files import read_text

__all__ = ["Sight", "Watcher"]


@dataclass(frozen=True)
class Sight:
    """One cell at one moment.

    Attributes:
        result: As the folder has it.
        epoch: Finished epochs.
        validation: Best validation score of a running cell: the column of ``metrics.csv`` the best epoch is chosen by.
        seconds_left: Of training, as far as can be told; 0 where the cell has ended.
    """

    result: CellResult
    epoch: int | None
    validation: float | None
    seconds_left: float | None


class Watcher:
    """Looks at the cells of a benchmark; those that are done are read once.

    Args:
        bench: The benchmark.
        plan: Of the benchmark.
    """

    def __init__(self, bench: BenchmarkFolder, plan: Plan) -> None:
        self.bench, self.plan = bench, plan
        self._done: dict[str, CellResult] = {}

    def look(self) -> list[Sight]:
        """All cells, in the order of the plan."""
        results = []
        for cell in self.plan.cells:
            result = self._done.get(cell.id) or self.bench.read_cell(self.plan, cell)
            if result.status == "done":
                self._done[cell.id] = result
            results.append(result)
        pace = _pace(results)
        return [self._sight(result, pace) for result in results]

    def _sight(self, result: CellResult, pace: Mapping[str, float]) -> Sight:
        if result.status in ("done", "failed"):
            return Sight(result, result.epochs, None, 0.0)
        epoch, best = _progress(result) if result.status == "running" else (0, None)
        planned = result.planned_epochs or self._planned(result.label)
        seconds, share = pace.get(result.label), self.plan.share_s
        if seconds is None and result.status == "running" and epoch and len(result.facts.get("starts", [])) == 1:
            seconds = (datetime.now(UTC) - datetime.fromisoformat(result.facts["starts"][0])).total_seconds() / epoch
        left = None if seconds is None else seconds * max(0, planned - epoch)
        if share is not None:
            left = share * max(0.0, 1 - epoch / planned) if left is None else min(left, share)
        return Sight(result, epoch, best, left)

    def _planned(self, label: str) -> int:
        return int(self.plan.epochs.get(label) or self.plan.recipes[label]["train.epochs"])


def _pace(results: Sequence[CellResult]) -> dict[str, float]:
    """Seconds of an epoch, of the variants with a cell that is done."""
    found: dict[str, list[float]] = {}
    for result in results:
        if result.status == "done" and result.seconds is not None and result.epochs:
            found.setdefault(result.label, []).append(result.seconds / result.epochs)
    return {label: mean(values) for label, values in found.items()}


def _progress(result: CellResult) -> tuple[int, float | None]:
    """Finished epochs and the best validation score, from ``metrics.csv``."""
    path = result.run / "metrics.csv"
    try:
        rows = list(csv.DictReader(read_text(path).splitlines())) if path.exists() else []
    except UserError:  # removed between the question and the reading
        rows = []
    name = next((column for column in ("mdice", "auroc", "balanced_accuracy") if rows and column in rows[0]), None)
    scores = [float(row[name]) for row in rows if name is not None and row[name]]
    return len(rows), max(scores, default=None)
