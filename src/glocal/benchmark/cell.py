"""One cell in a process of its own: train or resume, evaluate, measure what the network costs, write ``cell.json``.

``python -m glocal.benchmark.cell BENCH ID`` is started by :mod:`glocal.benchmark.child` and ends with it: its standard
input is a pipe whose other end only its parent holds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import platform
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from glocal.benchmark.child import NOT_RECORDED, end_with_parent
from glocal.benchmark.folder import BenchmarkFolder
from glocal.benchmark.plan import Cell, Plan
from glocal.benchmark.recipes import cell_recipe
from glocal.errors import UserError
from glocal.files import read_json, write_text
from glocal.training import resume, train
from glocal.training.run_folder import now, versions

if TYPE_CHECKING:
    from glocal.training import RunResult

__all__ = ["run_cell"]

log = logging.getLogger("glocal")

_WAIT = 30.0
"""Seconds to wait for the process of a killed benchmark to notice that its parent has gone."""

_PASSES = 10
"""Timed forward passes."""


def run_cell(folder: Path, id: str) -> None:
    """Do what is not done yet of a cell; a failure is recorded, not raised.

    Raises:
        UserError: It is no benchmark, has no such cell, or another process is computing it.
        KeyboardInterrupt: On SIGINT; the cell stays as one that is continued by the next command.
    """
    bench = BenchmarkFolder(folder)
    plan = bench.read_plan()
    cell = plan.cell(id)
    home = bench.cell(cell)
    home.mkdir(parents=True, exist_ok=True)
    with _held(home):
        before = bench.read_cell(plan, cell)
        if before.status == "done":
            return
        facts: dict[str, Any] = {
            "started": before.facts.get("started", now()),
            "starts": [*before.facts.get("starts", []), now()],
            "host": platform.node(),
            "peak_memory_bytes": before.peak_memory_bytes,
        }
        for part in home.rglob(".partial-*"):  # what a killed process was writing
            shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)
        try:
            recipe = cell_recipe(plan, cell, bench.splits_file)
            facts["planned_epochs"] = recipe.train.epochs
            bench.write_cell(cell, "running", facts)
            facts |= _computed(plan, bench, cell, home / "run")
        except Exception as error:
            write_text(home / "traceback.txt", traceback.format_exc())
            log.error("%s", traceback.format_exc())
            bench.write_cell(cell, "failed", {**facts, "error": one_line(error), **_memory(before.peak_memory_bytes)})
            return
        (home / "traceback.txt").unlink(missing_ok=True)
        facts |= {"finished": now(), "versions": versions(), **_memory(before.peak_memory_bytes)}
        bench.write_cell(cell, "done", facts)


def one_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split()) or "without a message"
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text[:500]}"


@contextlib.contextmanager
def _held(home: Path) -> Iterator[None]:
    lock = FileLock(home / ".lock")
    try:
        lock.acquire(timeout=_WAIT)
    except Timeout:
        raise UserError(f"{home}: another process is computing this cell; wait until it ends, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _computed(plan: Plan, bench: BenchmarkFolder, cell: Cell, run: Path) -> dict[str, Any]:
    """Train, evaluate and measure; what is there already is not made again."""
    if (run / "manifest.json").exists():
        result = resume(run, plan.data)
    else:
        if run.exists():  # killed before the run had begun
            shutil.rmtree(run)
        result = train(plan.data, cell_recipe(plan, cell, bench.splits_file), run)
    evaluation = run / "evaluation" / plan.evaluated
    if not evaluation.is_dir():
        from glocal.inference import evaluate_run

        evaluate_run(run, plan.evaluated, data=plan.data, device=_device(plan, cell))
    summary = read_json(evaluation / "summary.json")
    return {**_training_facts(plan, cell, result), "score": score_of(summary), "costs": _costs(plan, cell, run)}


def _device(plan: Plan, cell: Cell) -> str:
    return str(plan.recipes[cell.variant.label].get("train.device", "auto"))


def _training_facts(plan: Plan, cell: Cell, result: RunResult) -> dict[str, Any]:
    seconds, epochs = sum(row["seconds"] for row in result.history), len(result.history)
    planned = cell_recipe(plan, cell, None).train.epochs
    spent = plan.share_s is not None and seconds >= plan.share_s
    stopped = "epochs" if epochs >= planned else "budget" if spent else "early stopping"
    best = int(result.best["epoch"])
    return {"seconds": seconds, "epochs": epochs, "best_epoch": best, "stopped_by": stopped}


def score_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The number a table of cells shows: mean Dice of the foreground, balanced accuracy, or AUROC of several labels."""
    if summary.get("task") != "classification":
        return {"name": "dice", "value": summary["macro"]["foreground"]["dice"]["mean"]}
    block, name = ("macro", "auroc") if summary["multi_label"] else ("overall", "balanced_accuracy")
    return {"name": name, "value": summary[block][name]["value"]}


def _costs(plan: Plan, cell: Cell, run: Path) -> dict[str, Any]:
    """Of one image of the training size through the trained network in eval mode, branches not merged."""
    from glocal.devices import choose_device
    from glocal.inference.profiling import profile_network
    from glocal.models.weights import load_model

    loaded = load_model(run / "model")
    size = loaded.record.preprocessing.size
    profile = profile_network(loaded.network, size=size, device=choose_device(_device(plan, cell)), runs=_PASSES)
    latency = profile.latency
    return {
        "parameters": profile.parameters,
        "multiply_adds": profile.multiply_adds,
        "papers_parameters": profile.papers_parameters,
        "papers_multiply_adds": profile.papers_multiply_adds,
        "latency_seconds": latency.median,
        "latency": {
            "first_quartile": latency.first_quartile,
            "third_quartile": latency.third_quartile,
            "runs": _PASSES,
        },
        "memory_bytes": profile.memory,
        "size": list(size),
        "in_channels": profile.in_channels,
        "batch": profile.batch,
        "deployed": False,
        "device": profile.device,
        "threads": profile.threads,
    }


def _memory(before: int | None) -> dict[str, int | None]:
    """Highest memory of this process and those before it: of the GPU where it was used, else resident."""
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        with contextlib.suppress(OSError):  # getrusage would count the parent before exec
            found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
            if found is not None:
                return {"peak_memory_bytes": max(before or 0, 1024 * int(found[1]))}
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"peak_memory_bytes": max(before or 0, peak)}


def main(arguments: Sequence[str]) -> int:
    """Run the cell ``[BENCH, ID]``; the exit code is not 0 where nothing could be recorded."""
    end_with_parent()
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    folder, id = arguments
    try:
        run_cell(Path(folder), id)
    except UserError as error:
        print(f"glocal: error: {one_line(error)}", file=sys.stderr)
        return NOT_RECORDED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
