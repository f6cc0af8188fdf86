"""``glocal benchmark``: train and evaluate several networks under equal conditions."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli._grid_options import add_running_options, seconds, seeds, settings, words
from glocal.cli._grid_running import require_success, say_how_to_submit, show_plan
from glocal.cli._parser import Parser
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.benchmark import CellResult, Plan

__all__ = ["run"]

_PLANNING = ("models", "recipes", "folds", "seeds", "budget", "set", "splits", "output")


def _parser() -> Parser:
    parser = Parser(
        "benchmark",
        "Train and evaluate networks on equal data, splits, augmentation and budget. Every cell (network x recipe x "
        "fold x seed) is an ordinary run in a process of its own. Killed or interrupted, the same command goes on: "
        "finished cells are never run again, and a cell that crashed is recorded while the rest goes on.",
        """
        glocal benchmark polyps --models lmnet,unet,"*dssa*" --recipes lmnet --folds 5 --seeds 3 --budget 2h
        glocal benchmark polyps --models "lmnet_tiny,unet_tiny" --recipes quick --set train.epochs=3 --dry-run
        glocal benchmark lesions --models hifuse_tiny,resnet50 --recipes default,mine.yaml --output bench/lesions
        glocal benchmark bench/polyps                       # go on with it, whatever it was begun with
        glocal benchmark bench/polyps --retry-failed
        glocal benchmark polyps --models lmnet,unet --folds 5 --engine ray --cell_cpus 4
        glocal benchmark polyps --models lmnet,unet --folds 5 --engine slurm --cell_cpus 8 --cell_gpus 1
        """,
    )
    add = parser.add_argument
    add("dir", type=str, metavar="DIR", help="folder of the data, or of a benchmark to go on with")
    add(
        "--models", type=str, help="registered names and patterns, with commas between them; `glocal models` lists them"
    )
    add("--recipes", type=str, help="shipped recipes and YAML files, with commas between them (default: default)")
    add("--folds", type=int, help="folds of a cross-validation beside a common test part (default: a single split)")
    add("--seeds", type=str, help="how many (3: seeds 0, 1, 2), or which (7,8,9) (default: 1)")
    add(
        "--budget",
        type=str,
        help="time of all trainings together, shared equally by the cells: 2h, 90m, 1h30m, 45s; epochs are estimated "
        "so that the schedule ends within the share. Default: the epochs of the recipe, equal for all",
    )
    add(
        "--set", type=str, action="append", metavar="NAME=VALUE", help="a recipe setting for all cells; may be repeated"
    )
    add("--splits", type=str, help="a splits.json (default: that of the data, or made once for all cells)")
    add("--output", type=str, help="folder of the benchmark (default: bench/DIR)")
    add_running_options(parser)
    add(
        "--cell", type=str, metavar="ID", help="bring this one cell of the benchmark DIR to an end (a task of an array)"
    )
    add("--json", action="store_true", help="print all cells as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal benchmark``.

    Raises:
        UserError: As :func:`glocal.benchmark.make_plan` and :func:`glocal.benchmark.run_plan`; or a cell failed.
    """
    given = _parser().parse_args(arguments)
    if given.cell is not None:
        from glocal.benchmark.run import run_one

        results = [run_one(given.dir, given.cell)]
        print(f"{results[0].id}: {results[0].status}", file=sys.stderr)
        require_success(results)
        return
    plan, folder = _planned(given)
    if given.dry_run:
        show_plan(plan, folder, given.json)
        return
    from glocal.benchmark import run_plan
    from glocal.benchmark.run import Resources
    from glocal.cli._benchmark_view import print_results, watching

    for note in plan.notes:
        print(note, file=sys.stderr)
    resources = Resources(given.cell_cpus, given.cell_gpus, given.ray_address)
    with watching() as watch:
        results = run_plan(
            plan, folder, engine=given.engine, resources=resources, retry_failed=given.retry_failed, watch=watch
        )
    if given.json:
        print(json.dumps({"benchmark": str(folder), "cells": [_facts(result) for result in results]}, indent=2))
    else:
        print_results(results, folder)
    if given.engine == "slurm":
        say_how_to_submit(folder, results)
    require_success(results)


def _planned(given: Any) -> tuple[Plan, Path]:
    """The plan, and the folder of the benchmark."""
    from glocal.benchmark import BenchmarkFolder, choose_variants, make_plan

    if (Path(given.dir) / "benchmark.json").is_file():
        for name in _PLANNING:
            if given[name] is not None:
                raise UserError(
                    f"{given.dir}: a benchmark, which goes on as it was begun; leave --{name} out, or name the folder "
                    f"of the data and --output {shlex.quote(str(given.dir))} to add cells"
                )
        return BenchmarkFolder(Path(given.dir)).read_plan(), Path(given.dir)
    if given.models is None:
        raise UserError("name the networks: --models lmnet,unet (`glocal models` lists them)")
    plan = make_plan(
        given.dir,
        choose_variants(words(given.models), words(given.recipes or "default")),
        folds=given.folds,
        seeds=seeds(given.seeds or "1"),
        budget_s=None if given.budget is None else seconds(given.budget),
        settings=settings(given.set or []),
        splits=given.splits,
    )
    return plan, Path(given.output or Path("bench") / Path(given.dir).resolve().name)


def _facts(result: CellResult) -> dict[str, Any]:
    facts = {**result.facts, "id": result.id, "label": result.label, "fold": result.fold, "seed": result.seed}
    return {**facts, "run": str(result.run), "evaluated": result.evaluated}
