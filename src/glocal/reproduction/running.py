"""From a table and a folder of data to runs by both protocols, and the page that sets them beside the publication."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from glocal.benchmark import CellResult, Plan, Variant, make_plan, run_plan
from glocal.data import Dataset, open_dataset
from glocal.data.distributed import recognise
from glocal.data.prepare import prepare
from glocal.errors import UserError, counted, lookup
from glocal.files import read_json, write_json
from glocal.inference import evaluate_run
from glocal.reproduction.splitting import split_for
from glocal.reproduction.table import PaperTable, Protocol, Row

__all__ = ["PROTOCOLS", "ProtocolName", "Reproduction", "plan_reproduction", "reproduce"]

log = logging.getLogger("glocal")

ProtocolName: TypeAlias = Literal["published", "honest"]
PROTOCOLS: tuple[ProtocolName, ...] = ("published", "honest")

_FIGURES = "as-published"
"""Folder in a run for the evaluation by the publication's metrics."""


@dataclass(frozen=True)
class Done:
    """What one protocol came to."""

    plan: Plan
    cells: tuple[CellResult, ...]
    summaries: Mapping[str, Mapping[str, Any]]
    """Content of the ``summary.json`` of each finished cell, by its id."""


@dataclass(frozen=True)
class Reproduction:
    """A table done again.

    Attributes:
        table: Which.
        folder: Where everything is; ``reproduction.md``, ``.html`` and ``.json`` are the page.
        data: Root of the data.
        settings: What was changed from the protocols, by dotted name.
        done: By protocol.
    """

    table: PaperTable
    folder: Path
    data: Path
    settings: Mapping[str, Any]
    done: Mapping[ProtocolName, Done]

    @property
    def failed(self) -> list[CellResult]:
        """Cells that ended in an error."""
        return [cell for done in self.done.values() for cell in done.cells if cell.status == "failed"]


def plan_reproduction(
    table: PaperTable,
    data: str | Path,
    folder: str | Path,
    *,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    protocols: Sequence[ProtocolName] = PROTOCOLS,
) -> dict[ProtocolName, Plan]:
    """Decide what is trained by each protocol.

    Args:
        table: Of :func:`~glocal.reproduction.papers.find_table`.
        data: The data set as its makers distribute it, or prepared. What :func:`glocal.data.open_dataset` does not read
            is converted into ``folder/data``.
        folder: Of the reproduction; the splits are written there.
        models: Labels of the table or registered names. Default: all rows that Glocal has.
        seeds: One training of each network for each. Default: as many as the publication's ± suggests.
        settings: Changes to both protocols, by dotted name; the page lists them.
        protocols: Which.

    Raises:
        UserError: The data are of another kind than the table's, or as :func:`glocal.benchmark.make_plan`.
    """
    rows = _rows(table, models)
    data = readable(data, Path(folder) / "data")
    plans = {}
    for name in protocols:
        protocol = lookup("no protocol {}", name, {key: table.protocol(key) for key in PROTOCOLS})
        dataset = _dataset(table, Path(data))
        variants = [Variant(row.label, str(row.model), row.arguments, protocol.recipe) for row in rows]
        path = Path(folder) / _splits_file(name)
        if not path.exists():
            split_for(protocol, dataset).write(path)
        plans[name] = make_plan(
            data,
            variants,
            seeds=table.seeds if seeds is None else seeds,
            settings={**protocol.settings, **(settings or {})},
            splits=path,
        )
    return plans


def readable(data: str | Path, converted: Path) -> Path:
    """The data as they are, or where they have to be converted first, the folder ``converted`` with them.

    Raises:
        UserError: As :func:`glocal.data.prepare.prepare`, or cases could not be converted.
    """
    found = recognise(data)
    if found is None or found.readable:
        return Path(data)
    log.info("%s: %s, converted to %s", data, found.title, converted)
    done = prepare(data, converted)
    if done.left_out:
        raise UserError(
            f"{data}: {counted(len(done.left_out), 'case')} cannot be converted ({done.left_out[0]}); mend or remove "
            "them, so that the table is of the whole data set"
        )
    return done.folder


def _rows(table: PaperTable, models: Sequence[str] | None) -> list[Row]:
    ours = {row.label: row for row in table.rows if row.model is not None}
    if models is None:
        return list(ours.values())
    by_name = {**{str(row.model): row for row in ours.values()}, **ours}
    return [lookup(f"{table.name} has no network {{}}", model, by_name) for model in models]


def _dataset(table: PaperTable, data: Path) -> Dataset:
    dataset = open_dataset(data, table.task)
    if len(dataset.classes) != table.classes:
        raise UserError(
            f"{data}: {len(dataset.classes)} classes ({', '.join(dataset.classes)}), but {table.name} is of "
            f"{table.classes}; it expects {table.data}"
        )
    return dataset


def reproduce(
    table: PaperTable,
    data: str | Path,
    folder: str | Path,
    *,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    protocols: Sequence[ProtocolName] = PROTOCOLS,
    **running: Any,
) -> Reproduction:
    """Do a table again and write the page. Interrupted, the same call goes on where it stopped.

    Args:
        table: As :func:`plan_reproduction`.
        data: Likewise.
        folder: Everything is kept here: a benchmark for each protocol, and the page.
        models: As :func:`plan_reproduction`.
        seeds: Likewise.
        settings: Likewise.
        protocols: Likewise.
        running: Passed to :func:`glocal.benchmark.run_plan`, such as ``engine="ray"``.

    Raises:
        UserError: As :func:`plan_reproduction` and :func:`glocal.benchmark.run_plan`.
    """
    from glocal.reproduction.page import write_page

    folder = Path(folder)
    _claim(table, folder)
    asked: dict[str, Any] = {"models": models, "seeds": seeds, "settings": settings, "protocols": protocols}
    try:
        plans = plan_reproduction(table, data, folder, **asked)
    except UserError:
        _release(folder)
        raise
    done: dict[ProtocolName, Done] = {}
    for name, plan in plans.items():
        log.info("%s by the %s protocol: %d trainings", table.name, name, len(plan.cells))
        cells = run_plan(plan, folder / name, **running)
        done[name] = Done(plan, tuple(cells), dict(_summaries(table.protocol(name), cells)))
    result = Reproduction(table, folder, next(iter(plans.values())).data, dict(settings or {}), done)
    write_page(result)
    return result


def _claim(table: PaperTable, folder: Path) -> None:
    """Make the folder that of this table, or refuse one that is of another."""
    path = folder / "table.json"
    if path.exists():
        there = read_json(path)
        if there != {"table": table.name}:
            raise UserError(f"{folder}: holds another reproduction; choose another folder (--output)")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: not empty and no reproduction; choose another folder (--output)")
    write_json(path, {"table": table.name})


def _release(folder: Path) -> None:
    """Take the claim and the splits back where nothing came of them."""
    inside = list(folder.iterdir())
    if {path.name for path in inside} <= {"table.json", *(_splits_file(name) for name in PROTOCOLS)}:
        for path in inside:
            path.unlink()
        folder.rmdir()


def _splits_file(protocol: str) -> str:
    return f"{protocol}-splits.json"


def _summaries(protocol: Protocol, cells: Sequence[CellResult]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The measurements of each finished cell; those by a published preset are made here, once."""
    for cell in cells:
        if cell.status != "done":
            continue
        folder = cell.evaluation
        if protocol.preset is not None:
            folder = cell.run / "evaluation" / f"{cell.evaluated}-{_FIGURES}"
            if not (folder / "summary.json").exists():
                evaluate_run(cell.run, cell.evaluated, preset=protocol.preset, output=folder)
        yield cell.id, read_json(folder / "summary.json")
