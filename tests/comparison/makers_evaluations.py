"""Evaluations, runs and benchmarks on disk, made without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.benchmark import Plan, Variant
from glocal.benchmark.folder import BenchmarkFolder
from glocal.evaluation import ClassifiedCase, EvaluatedCase, evaluate, evaluate_classification
from glocal.evaluation.classification_table import write_classified
from glocal.evaluation.table import write_cases

SIZE = 24
DATA = {"fingerprint": "0123456789abcdef", "task": "segmentation", "encoding": None}


def disc(row: float, column: float, radius: float, size: int = SIZE) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:size, :size]
    return ((y - row) ** 2 + (x - column) ** 2 <= radius**2).astype(np.uint8)


def write_masks(
    folder: Path,
    error: float,
    *,
    cases: Sequence[str] = tuple(f"case {n}" for n in range(12)),
    seed: int = 0,
    images: int = 1,
    empty: Sequence[str] = (),
    predicted: Sequence[str] = (),
    classes: Sequence[str] = ("background", "polyp"),
    size: int = SIZE,
    **options: Any,
) -> Path:
    """An evaluation whose discs are shifted by about ``error`` pixels.

    The truth of a case depends on its name alone. ``images`` successive cases share a patient; the truth of cases in
    ``empty`` is empty, and so is the prediction unless the case is in ``predicted``.
    """
    random = np.random.default_rng(seed)
    measured = []
    for n, case in enumerate(cases):
        own = np.random.default_rng(list(case.encode()))
        row, column = own.uniform(0.4 * size, 0.6 * size, 2)
        radius = own.uniform(4, 7)
        truth, found = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
        for k in range(1, len(classes)):
            shift = random.normal(0, error, 2)
            hidden = case in empty
            if not hidden:
                truth[disc(row, column, radius / k, size) > 0] = k
            if not hidden or case in predicted:
                found[disc(row + shift[0], column + shift[1], radius / k, size) > 0] = k
        measured.append(EvaluatedCase(case, found, truth, group=f"patient {n // images}" if images > 1 else None))
    evaluation = evaluate(measured, classes, **options)
    folder.mkdir(parents=True)
    write_cases(folder / "cases.csv", evaluation)
    (folder / "summary.json").write_text(json.dumps(evaluation.summary))
    return folder


def write_classes(folder: Path, strength: float, *, n: int = 60, seed: int = 0, several: bool = False) -> Path:
    """An evaluation of a classifier of three classes, better the higher ``strength``."""
    own, random = np.random.default_rng(1), np.random.default_rng(seed)
    truth = own.integers(0, 3, n)
    noise = own.normal(size=(n, 3)) + 0.5 * random.normal(size=(n, 3))
    logits = strength * np.eye(3)[truth] + noise - (1.0 if several else 0.0)
    cases = [
        ClassifiedCase(f"{i}.png", logits[i], (int(truth[i]),) if several else int(truth[i]), group=f"p{i // 2}")
        for i in range(n)
    ]
    evaluation = evaluate_classification(cases, ["benign", "malignant", "normal"], multi_label=several)
    folder.mkdir(parents=True)
    write_classified(folder / "cases.csv", evaluation)
    (folder / "summary.json").write_text(json.dumps(evaluation.summary))
    return folder


def write_run(
    run: Path,
    error: float,
    *,
    cases: Sequence[str] = tuple(f"case {n}" for n in range(12)),
    train: Sequence[str] = ("t1", "t2"),
    seed: int = 42,
    data: Mapping[str, Any] = DATA,
    recipe: str = "train: {epochs: 3}\n",
    **options: Any,
) -> Path:
    """A run folder with an evaluation of its test split."""
    write_masks(run / "evaluation" / "test", error, cases=cases, seed=seed, **options)
    manifest = {"format": 1, "data": dict(data), "seeds": {"train": seed}, "network": {"name": "x", "parameters": 10}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    splits = {"format": 1, "splits": {"train": list(train), "val": ["v"], "test": list(cases)}}
    (run / "splits.json").write_text(json.dumps(splits))
    (run / "recipe.yaml").write_text(recipe)
    return run


def write_benchmark(
    folder: Path,
    errors: Mapping[str, float],
    *,
    folds: int = 2,
    seeds: Sequence[int] = (0, 1),
    failed: Sequence[tuple[str, int, int]] = (),
    costs: bool = True,
    part: str = "test",
    **options: Any,
) -> Path:
    """A benchmark folder of ``label: error``; cells ``(label, fold, seed)`` in ``failed`` have no numbers."""
    variants = tuple(Variant(label, "unet") for label in errors)
    test = list(options.get("cases", [f"case {n}" for n in range(12)]))
    val = [test[fold::folds] for fold in range(folds)] if part == "val" else [[f"v{fold}"] for fold in range(folds)]
    splits = {
        "format": 1,
        "folds": [{"train": ["t"], "val": ids} for ids in val],
        "test": [] if part == "val" else test,
    }
    facts = {**DATA, "classes": ["background", "polyp"], "multi_label": False, "cases": 20, "channels": 3}
    plan = Plan(folder, facts, variants, {}, splits, folds, tuple(seeds), evaluated=part)  # type: ignore[arg-type]
    bench = BenchmarkFolder(folder)
    bench.write_plan(plan)
    for number, cell in enumerate(plan.cells):
        label = cell.variant.label
        if (label, cell.fold, cell.seed) in failed:
            bench.write_cell(cell, "failed", {"error": "out of memory"})
            continue
        train = [f"t{cell.fold}"]
        of_cell = {**options, "cases": val[cell.fold] if part == "val" else test}
        run = write_run(bench.cell(cell) / "run", errors[label], seed=number, train=train, **of_cell)
        if part == "val":
            (run / "evaluation" / "test").rename(run / "evaluation" / "val")
        position = list(errors).index(label)
        known = {"parameters": 10 ** (6 + position), "multiply_adds": 3 * 10 ** (8 + position), "size": [24, 24]}
        known |= {"latency_seconds": 0.01 * (1 + position), "memory_bytes": 2e7 * (1 + position)}
        known |= {"device": "a processor", "threads": 1}
        bench.write_cell(cell, "done", {"costs": known if costs else None})
    return folder
