"""What the trained rows of an ablation came to: figures of every finished cell of its benchmark."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glocal.ablation.counting import same_options
from glocal.ablation.declared import Ablation, Row
from glocal.benchmark import BenchmarkFolder, CellResult, Plan, read_benchmark
from glocal.benchmark.values import Values
from glocal.errors import UserError, counted
from glocal.files import read_json

__all__ = ["Measured", "figures_of", "measure"]

log = logging.getLogger("glocal")

Measured = dict[str, dict[str, Values]]
"""Label of a row → title of a measure → what its trainings came to."""


def measure(ablation: Ablation, folder: str | Path, model: str) -> tuple[Measured, list[str]]:
    """Read, and where the paper's own evaluation is not there yet, make the figures of all cells that are done.

    Args:
        ablation: Declared.
        folder: Of its benchmark.
        model: The network that was trained.

    Returns:
        The figures, and what a reader must be told, a sentence each.

    Raises:
        UserError: It is no benchmark, or its files are damaged.
    """
    bench = BenchmarkFolder(Path(folder))
    plan, cells = bench.read_plan(), read_benchmark(folder)
    found: Measured = {}
    notes = []
    for row in ablation.rows:
        if row.refused:
            continue
        source = row if row.merged_from is None else ablation.row(row.merged_from)
        own = [cell for cell in cells if _is(cell, source, model)]
        done = [cell for cell in own if cell.status == "done"]
        if row.trained and len(done) < len(own):
            first = next((cell for cell in own if cell.error), None)
            why = f": {first.id}: {first.error}" if first is not None else ""
            notes.append(f"{row.label}: {len(done)} of {counted(len(own), 'training')} done{why}")
        as_trained = any(other.merged_from == row.label for other in ablation.rows)
        numbers = []
        for cell in done:
            try:
                evaluation = _evaluated(ablation, plan, cell, as_trained=as_trained)
                numbers.append(figures_of(ablation, read_json(evaluation / "summary.json")))
            except UserError as error:
                notes.append(f"{row.label}: {cell.id} cannot be measured: {error}")
        if numbers:
            found[row.label] = _collected(ablation, numbers)
    return found, [*_conditions(ablation, plan), *notes]


def _is(cell: CellResult, row: Row, model: str) -> bool:
    """Whether a cell is a training of a row, whatever it is called: tables may share a folder."""
    return cell.model == (row.model or model) and same_options(cell.model, cell.arguments, row.arguments)


def figures_of(ablation: Ablation, summary: Mapping[str, Any]) -> dict[str, float]:
    """The measures of an evaluation by title; one that is undefined there is missing.

    Args:
        ablation: Declared.
        summary: Content of ``summary.json``, with the figures of the ablation's preset if it has one.
    """
    found = {}
    for measure in ablation.measures:
        value = _published(summary, measure.key) if ablation.preset else _at(summary, measure.key)
        if value is not None:
            found[measure.title] = 100 * value if measure.percent else value
    return found


def _evaluated(ablation: Ablation, plan: Plan, cell: CellResult, *, as_trained: bool) -> Path:
    """The folder of the evaluation that the measures are of, made where it is not there yet."""
    words = [cell.evaluated, *([ablation.preset] if ablation.preset else []), *(["as-trained"] if as_trained else [])]
    if len(words) == 1:
        return cell.evaluation
    folder = cell.run / "evaluation" / "-".join(words)
    if not (folder / "summary.json").exists():
        from glocal.inference import evaluate_run

        log.info("%s: measuring %s", cell.id, folder.name)
        device = str(plan.recipes[cell.label].get("train.device", "auto"))
        options: dict[str, Any] = {"data": plan.data, "preset": ablation.preset, "device": device}
        evaluate_run(cell.run, cell.evaluated, output=folder, deploy=not as_trained, **options)
    return folder


def _published(summary: Mapping[str, Any], name: str) -> float | None:
    figures = {figure["name"]: figure["value"] for figure in summary["published"]["figures"]}
    value: float | None = figures[name]
    return value


def _at(summary: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path."""
    value: Any = summary
    for name in path.split("."):
        value = value[name]
    return None if value is None else float(value)


def _collected(ablation: Ablation, numbers: list[dict[str, float]]) -> dict[str, Values]:
    titles = [measure.title for measure in ablation.measures]
    return {
        title: Values(tuple(cell[title] for cell in numbers if title in cell))
        for title in titles
        if any(title in cell for cell in numbers)
    }


def _conditions(ablation: Ablation, plan: Plan) -> list[str]:
    """On what data, how often and by which evaluation."""
    trainings = plan.folds * len(plan.seeds)
    times = f"{counted(plan.folds, 'fold')} × {counted(len(plan.seeds), 'seed')}"
    spread = f"; ± is their standard deviation over {times}" if trainings > 1 else ""
    by = f"the evaluation of the {ablation.preset} preset" if ablation.preset else "our evaluation"
    told = [
        f"Ours: {counted(trainings, 'training')} of each row on {plan.data.name}, measured on the {plan.evaluated} "
        f"part by {by}{spread}."
    ]
    if any(row.printed is not None and row.printed.figures for row in ablation.rows):
        told.append(
            "The paper's figures are of its data and its training, ours of these: compare the differences between "
            "rows, not the figures."
        )
    return told
