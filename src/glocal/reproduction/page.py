"""The page of a reproduction: the publication's figures, ours by both protocols, and why they may differ."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from glocal.benchmark.values import Values
from glocal.evaluation.markdown import pipe_table
from glocal.evaluation.page import Markup, document, element, join, table
from glocal.files import write_json, write_text
from glocal.reproduction.running import Done, Reproduction
from glocal.reproduction.table import Column, Row

__all__ = ["tables_of", "write_page"]

Table = tuple[str, list[str], list[list[str]]]
"""Caption, headers, rows."""

_MASKS = (("dice", "Dice %", 100.0), ("iou", "IoU %", 100.0), ("hd95", "HD95", 1.0), ("assd", "ASSD", 1.0))
_CLASSES = (
    ("overall", "accuracy", "Acc %"),
    ("overall", "balanced_accuracy", "Balanced acc %"),
    ("macro", "f1", "Macro F1 %"),
    ("macro", "auroc", "Macro AUROC %"),
)


def write_page(result: Reproduction) -> None:
    """Write ``reproduction.md``, ``reproduction.html`` and ``reproduction.json`` into the folder of a reproduction.

    Raises:
        UserError: They cannot be written.
    """
    tables = list(tables_of(result))
    write_text(result.folder / "reproduction.md", _markdown(result, tables))
    write_text(result.folder / "reproduction.html", _html(result, tables))
    write_json(result.folder / "reproduction.json", _plain(result))


def tables_of(result: Reproduction) -> Iterator[Table]:
    """What the page shows in tables: caption, headers and rows of each; some may have no rows."""
    paper = result.table
    if "published" in result.done:
        done = result.done["published"]
        headers = ["network", "", *(column.name for column in paper.columns), "trainings"]
        rows = []
        for row in _shown(result):
            printed = [row.printed.get(column.name, "–") for column in paper.columns]
            found = _published(done, row, paper.columns)
            if row.printed:
                rows.append([row.label, "paper's", *printed, ""])
            if found is not None:
                ours, differences, number = found
                rows.append(["" if row.printed else row.label, "ours", *ours, str(number)])
                if row.printed:
                    rows.append(["", "difference", *differences, ""])
        yield "The publication's protocol: its figures and ours (mean ± sd over trainings)", headers, rows
    if "honest" in result.done:
        yield _honest(result, result.done["honest"])
    yield _failures(result)


def _shown(result: Reproduction) -> list[Row]:
    """Rows that were run, also by an earlier call, and those that only the publication has."""
    run = {cell.label for done in result.done.values() for cell in done.cells}
    return [row for row in result.table.rows if row.model is None or row.label in run]


def _published(done: Done, row: Row, columns: Sequence[Column]) -> tuple[list[str], list[str], int] | None:
    values = _figures(done, row, columns)
    if not values:
        return None
    ours, differences = [], []
    for column in columns:
        found = [one[column.name] for one in values]
        ours.append(_mean_sd(found))
        match = re.match(r"-?\d+(\.\d+)?", row.printed.get(column.name, ""))
        mean = _mean(found)
        known = match is not None and mean is not None
        differences.append(f"{mean - float(match.group()):+.2f}" if known and match and mean is not None else "–")
    return ours, differences, len(values)


def _figures(done: Done, row: Row, columns: Sequence[Column]) -> list[dict[str, float | None]]:
    """The publication's metrics of each finished training of a row."""
    cells = [cell for cell in done.cells if cell.label == row.label and cell.id in done.summaries]
    values = []
    for cell in cells:
        published = done.summaries[cell.id]["published"] or {"figures": []}
        by_name = {figure["name"]: figure["value"] for figure in published["figures"]}
        values.append({column.name: _times(by_name.get(column.figure), column.factor) for column in columns})
    return values


def _honest(result: Reproduction, done: Done) -> Table:
    masks = result.table.task == "segmentation"
    names = [name for _, name, _ in _MASKS] if masks else [name for _, _, name in _CLASSES]
    rows = []
    for row in _shown(result):
        cells = [cell for cell in done.cells if cell.label == row.label and cell.id in done.summaries]
        if not cells:
            continue
        entries = [_ours(done.summaries[cell.id], masks) for cell in cells]
        figures = []
        for i in range(len(names)):
            text = _mean_sd([entry[i][0] for entry in entries])
            low, high = (_mean([entry[i][end] for entry in entries]) for end in (1, 2))
            figures.append(text if low is None or high is None else f"{text} [{low:.2f}, {high:.2f}]")
        rows.append([row.label, *figures, str(len(cells))])
    caption = "The honest protocol: mean ± sd over trainings [95 % interval over groups, mean of the trainings' ends]"
    return caption, ["network", *names, "trainings"], rows


def _ours(summary: Mapping[str, Any], masks: bool) -> list[tuple[float | None, float | None, float | None]]:
    if masks:
        block = summary["macro"]["foreground"]
        found = [(block[key]["mean"], block[key]["ci"], factor) for key, _, factor in _MASKS]
    else:
        found = [(summary[part][key]["value"], summary[part][key]["ci"], 100.0) for part, key, _ in _CLASSES]
    return [(_times(value, f), _times(ci[0], f), _times(ci[1], f)) for value, ci, f in found]


def _failures(result: Reproduction) -> Table:
    rows = [[cell.id, cell.error or ""] for cell in result.failed]
    return "Trainings that failed", ["training", "error"], rows


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _mean_sd(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return str(Values(tuple(known))) if known else "–"


def _about(result: Reproduction) -> list[tuple[str, list[str]]]:
    """Headings with their sentences."""
    paper = result.table
    facts = next(iter(result.done.values())).plan.facts
    there = f"{facts['cases']} cases here, fingerprint {facts['fingerprint']}"
    changed = [f"{name} = {value}" for name, value in result.settings.items()]
    about = [("Source", [paper.source]), ("Data", [f"the publication's: {paper.data}", there])]
    about += [
        (f"The {name} protocol", [*paper.protocol(name).says, *(note for note in done.plan.notes if note)])
        for name, done in result.done.items()
    ]
    if changed:
        about.append(("Changed from the protocols for this reproduction", changed))
    return [*about, ("Why our figures may differ", list(paper.differences))]


def _command(result: Reproduction) -> str:
    """The command that trains what the page shows."""
    cells = [cell for done in result.done.values() for cell in done.cells]
    labels = list(dict.fromkeys(cell.label for cell in cells))
    seeds = sorted({cell.seed for cell in cells})
    words = ["glocal", "reproduce", result.table.name, "--data", "DIR"]
    if len(labels) < sum(row.model is not None for row in result.table.rows):
        words += ["--models", ",".join(labels)]
    if seeds != list(result.table.seeds):
        words += ["--seeds", ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")]
    if len(result.done) == 1:
        words += ["--protocol", *result.done]
    for name, value in result.settings.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def _markdown(result: Reproduction, tables: Sequence[Table]) -> str:
    lines = [f"# {result.table.title}", "", f"Written by `{_command(result)}`.", ""]
    for caption, headers, rows in tables:
        if not rows:
            continue
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        lines += [f"## {caption}", "", pipe_table(headers, escaped, left=2 if headers[1] in ("", "error") else 1), ""]
    for heading, sentences in _about(result):
        lines += [f"## {heading}", "", *(f"- {sentence}" for sentence in sentences), ""]
    return "\n".join(lines)


def _html(result: Reproduction, tables: Sequence[Table]) -> str:
    sections = [
        element("section", element("h2", caption), table(headers, rows)) for caption, headers, rows in tables if rows
    ]
    for heading, sentences in _about(result):
        items: list[str] = [element("li", sentence) for sentence in sentences]
        sections.append(element("section", element("h2", heading), element("ul", *items)))
    title: Markup = element("h1", result.table.title)
    command = element("p", "Written by ", element("code", _command(result)), class_="soft")
    return document(result.table.title, join([title, command]), *sections)


def _plain(result: Reproduction) -> dict[str, Any]:
    paper = result.table
    done = result.done.get("published")
    rows = []
    for row in _shown(result):
        values = [] if done is None else _figures(done, row, paper.columns)
        entry: dict[str, Any] = {"label": row.label, "model": row.model, "paper": dict(row.printed)}
        entry["published"] = values
        rows.append(entry)
        if "honest" in result.done:
            honest = result.done["honest"]
            masks = paper.task == "segmentation"
            names = [name for _, name, _ in _MASKS] if masks else [name for _, _, name in _CLASSES]
            cells = [cell for cell in honest.cells if cell.label == row.label and cell.id in honest.summaries]
            entry["honest"] = [
                {name: list(one) for name, one in zip(names, _ours(honest.summaries[cell.id], masks), strict=True)}
                for cell in cells
            ]
    return {
        "format": 1,
        "table": paper.name,
        "source": paper.source,
        "data": {"root": str(result.data), **dict(next(iter(result.done.values())).plan.facts)},
        "changed": dict(result.settings),
        "rows": rows,
        "failed": {cell.id: cell.error for cell in result.failed},
    }
