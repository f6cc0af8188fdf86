"""What is compared: benchmark folders, run folders and evaluation folders, as cells of model × fold × seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from glocal.benchmark import BenchmarkFolder, CellResult
from glocal.errors import UserError
from glocal.files import read_json, read_yaml

__all__ = ["Cell", "Missing", "Sources", "open_sources"]

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Cell:
    """One evaluated training.

    Attributes:
        label: Of the model in tables.
        folder: With ``cases.csv`` and ``summary.json``.
        run: The run folder; ``None`` for an evaluation of masks that something else made.
        seed: Of the training, ``None`` where it is not known.
        name: How messages call it.
        fold: Which cases it was trained and tested on; equal for equal splits.
        repetition: Trainings of one model on one fold differ in it.
        fingerprint: Of the data, ``None`` where it is not known.
        parts: Ids of the training, validation and test cases, ``None`` where they are not known.
        recipe: Settings by dotted name.
        facts: ``network`` of the manifest, ``costs`` of a benchmark.
    """

    label: str
    folder: Path
    run: Path | None
    seed: int | None
    name: str
    fold: str = ""
    repetition: int = 0
    fingerprint: str | None = None
    parts: Mapping[str, frozenset[str]] | None = field(default=None, repr=False)
    recipe: Mapping[str, Any] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Missing:
    """A cell of a benchmark that is not finished.

    Attributes:
        label: Of the model.
        fold: From 0.
        seed: Of the training.
        status: ``"failed"``, ``"running"`` or ``"waiting"``.
        error: Of a failed one.
    """

    label: str
    fold: int
    seed: int
    status: str
    error: str | None = None


@dataclass(frozen=True)
class Sources:
    """Everything that was named.

    Attributes:
        cells: That can be compared.
        missing: Those of benchmarks that cannot.
        labels: Models, in the order in which they were named; also those without a cell.
        notes: What a reader must be told.
    """

    cells: tuple[Cell, ...]
    missing: tuple[Missing, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def open_sources(sources: Sequence[str | Path], split: str = "test") -> Sources:
    """Find the evaluations behind the names that a user gave.

    Args:
        sources: Benchmark folders, run folders, or evaluation folders; ``LABEL=PATH`` names the model of a run, and
            runs of one label are its repetitions. Without a label a run is called by its folder.
        split: Which evaluation of a run folder is meant; a benchmark knows which it made.

    Raises:
        UserError: A folder is none of these, a run was not evaluated, a run is named twice, or runs of one label are of
            different networks.
    """
    cells: list[Cell] = []
    missing: list[Missing] = []
    notes: list[str] = []
    for source in sources:
        label, path = _labelled(source)
        if (path / "benchmark.json").exists():
            if label is not None:
                raise UserError(f"{path}: a benchmark has labels of its own; leave {label!r}= out")
            found, absent, told = _of_benchmark(path)
            cells += found
            missing += absent
            notes += told
        else:
            cells.append(_of_folder(path, label, split))
    _refuse_doubles(cells)
    _refuse_mixtures(cells)
    labels = tuple(dict.fromkeys([*(cell.label for cell in cells), *(cell.label for cell in missing)]))
    return Sources(_numbered(cells), tuple(missing), labels, tuple(dict.fromkeys(notes)))


def _labelled(source: str | Path) -> tuple[str | None, Path]:
    path, text = Path(source), str(source)
    label, equals, rest = text.partition("=")
    if equals and label and rest and not path.exists():
        return label, Path(rest)
    return None, path


def _of_benchmark(path: Path) -> tuple[list[Cell], list[Missing], list[str]]:
    bench = BenchmarkFolder(path)
    plan = bench.read_plan()
    results = [bench.read_cell(plan, cell) for cell in plan.cells]
    cells = [_of_cell(path, result, plan.facts.get("fingerprint")) for result in results if result.status == "done"]
    missing = [
        Missing(result.label, result.fold, result.seed, result.status, result.error)
        for result in results
        if result.status != "done"
    ]
    order = {variant.label: position for position, variant in enumerate(plan.variants)}
    cells.sort(key=lambda cell: order[cell.label])
    return cells, missing, list(plan.notes)


def _of_cell(bench: Path, result: CellResult, fingerprint: Any) -> Cell:
    if not (result.evaluation / "cases.csv").exists():
        raise UserError(
            f"{result.evaluation}: the evaluation of a finished cell is gone; remove {result.folder} and run the "
            "benchmark again"
        )
    cell = _with_run(Cell(result.label, result.evaluation, result.run, result.seed, f"{bench / result.id}"))
    facts = {**cell.facts, **({"costs": dict(result.costs)} if result.costs else {})}
    return replace(cell, facts=facts, fingerprint=cell.fingerprint or fingerprint)


def _of_folder(path: Path, label: str | None, split: str) -> Cell:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; name benchmarks, runs or evaluations")
    folder, run = path, None
    if (path / "manifest.json").exists():
        folder, run = path / "evaluation" / split, path
        if not (folder / "cases.csv").exists():
            raise UserError(
                f"{path}: there is no evaluation/{split} in it; run `glocal evaluate {path}` first, or name the "
                "evaluation that is meant (--split)"
            )
    elif not ((path / "cases.csv").exists() and (path / "summary.json").exists()):
        raise UserError(
            f"{path}: neither a benchmark (benchmark.json), nor a run (manifest.json), nor an evaluation (cases.csv "
            "and summary.json); check the path"
        )
    else:
        above = path.resolve().parent
        if above.name == "evaluation" and (above.parent / "manifest.json").exists():
            run = above.parent
    named = (run or path).resolve()
    default = named.parent.name if run is None and named.name == "evaluation" else named.name
    return _with_run(Cell(label or default, folder, run, None, str(path)))


def _with_run(cell: Cell) -> Cell:
    """Add what the run folder says of data, splits and network."""
    if cell.run is None:
        return cell
    manifest = read_json(cell.run / "manifest.json")
    data = manifest.get("data") if isinstance(manifest, dict) else None
    if not isinstance(data, dict) or "fingerprint" not in data:
        raise UserError(f"{cell.run / 'manifest.json'}: not the manifest of a run; restore it")
    splits = cell.run / "splits.json"
    parts = _parts(splits) if splits.exists() else None
    recipe = cell.run / "recipe.yaml"
    return replace(
        cell,
        seed=cell.seed if cell.seed is not None else (manifest.get("seeds") or {}).get("train"),
        fingerprint=data["fingerprint"],
        parts=parts,
        fold="" if parts is None else _digest(parts),
        recipe=dict(_flat(read_yaml(recipe))) if recipe.exists() else {},
        facts={"network": manifest.get("network"), "best": manifest.get("best")},
    )


def _parts(path: Path) -> dict[str, frozenset[str]]:
    plain = read_json(path)
    parts = plain.get("splits") if isinstance(plain, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(parts.get(part), list) for part in PARTS):
        raise UserError(f"{path}: not the splits of a run; restore it")
    return {part: frozenset(map(str, parts[part])) for part in PARTS}


def _digest(parts: Mapping[str, frozenset[str]]) -> str:
    text = "\n\n".join("\n".join([part, *sorted(parts[part])]) for part in PARTS)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key, entry in value.items() for pair in _flat(entry, f"{prefix}.{key}" if prefix else str(key))]


def _refuse_doubles(cells: Sequence[Cell]) -> None:
    seen: dict[Path, Cell] = {}
    for cell in cells:
        if seen.setdefault(cell.folder.resolve(), cell) is not cell:
            raise UserError(f"{cell.folder}: named twice; name every run once")


def _refuse_mixtures(cells: Sequence[Cell]) -> None:
    """Runs of one label are repetitions of one model."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        if "model" not in cell.recipe:
            continue
        first = seen.setdefault(cell.label, cell)
        if cell.recipe["model"] != first.recipe["model"]:
            raise UserError(
                f"{cell.label}: {first.name} is {first.recipe['model']}, but {cell.name} is {cell.recipe['model']}; "
                "give different networks different labels (LABEL=RUN)"
            )


def _numbered(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Number the repetitions: by seed where all models have the same ones, else in the order of their seeds."""
    if any(cell.parts is None for cell in cells):
        cells = [replace(cell, fold="") for cell in cells]
    seeds: dict[str, set[int | None]] = {}
    for cell in cells:
        seeds.setdefault(cell.label, set()).add(cell.seed)
    once = len({(cell.label, cell.fold, cell.seed) for cell in cells}) == len(cells)
    shared = set.intersection(*seeds.values()) if seeds else set()
    if once and shared and all(cell.seed is not None for cell in cells):
        return tuple(replace(cell, repetition=cell.seed or 0) for cell in cells)
    counts: dict[tuple[str, str], int] = {}
    numbered = {}
    for index in sorted(range(len(cells)), key=lambda i: (cells[i].seed is None, cells[i].seed or 0, i)):
        key = (cells[index].label, cells[index].fold)
        counts[key] = counts.get(key, 0) + 1
        numbered[index] = replace(cells[index], repetition=counts[key])
    return tuple(numbered[index] for index in range(len(cells)))
