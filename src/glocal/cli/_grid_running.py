"""What the commands that run grids of trainings say before, after, and when something failed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.benchmark import CellResult, Plan

__all__ = ["plan_facts", "require_success", "say_how_to_submit", "show_plan"]


def plan_facts(plan: Plan, folder: Path) -> dict[str, Any]:
    """What a dry run says, as plain values: the plan, its cells and what they are estimated to take."""
    probes = _probed(plan)
    return {
        "benchmark": str(folder),
        "cells": [cell.id for cell in plan.cells],
        "estimates": {label: {**vars(probe), "seconds": probe.seconds} for label, probe in probes.items()},
        **plan.to_json(),
    }


def show_plan(plan: Plan, folder: Path, as_json: bool = False) -> None:
    """Measure every variant here and print what would be trained, on stdout."""
    if as_json:
        print(json.dumps(plan_facts(plan, folder), indent=2))
        return
    from glocal.cli._benchmark_view import print_plan

    print_plan(plan, folder, _probed(plan))


def _probed(plan: Plan) -> dict[str, Any]:
    from glocal.benchmark import probe_plan

    return probe_plan(plan, progress=lambda label: print(f"measuring {label} …", file=sys.stderr))


def say_how_to_submit(folder: Path, results: Sequence[CellResult]) -> None:
    """Name the script of an array of Slurm jobs, on stderr; nothing where there is nothing left to compute."""
    from glocal.benchmark import BenchmarkFolder
    from glocal.benchmark.slurm import latest_script

    script = latest_script(BenchmarkFolder(folder))
    if script is not None and any(result.status in ("waiting", "running") for result in results):
        print(f"submit:  sbatch {shlex.quote(str(script))}", file=sys.stderr)
        print(f"watch:   squeue --me; then glocal compare {shlex.quote(str(folder))}", file=sys.stderr)


def require_success(results: Sequence[CellResult]) -> None:
    """Say that trainings failed, and why the first of them did.

    Raises:
        UserError: One failed.
    """
    failed = [result for result in results if result.status == "failed"]
    if failed:
        first = failed[0]
        raise UserError(
            f"{counted(len(failed), 'cell')} of {len(results)} failed; {first.id}: {first.error} "
            f"({first.folder / 'traceback.txt'}); mend it and repeat the command with --retry-failed"
        )
