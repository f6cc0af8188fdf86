"""What ``glocal benchmark`` shows: a live table on a terminal, a line for each change elsewhere, a table at the end."""

from __future__ import annotations

import contextlib
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from glocal.benchmark import BenchmarkFolder, CellResult, Plan, Probe
from glocal.benchmark.watch import Sight, Watcher
from glocal.errors import counted

__all__ = ["print_plan", "print_results", "watching"]

_ROWS = 30
"""Cells beyond which the live table has a row for each variant."""

_STYLES = {"waiting": "dim", "running": "bold cyan", "done": "green", "failed": "red"}

Watch = Callable[[BenchmarkFolder, Plan], None]


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Show how far a benchmark is, on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.live import Live

    with Live(console=console, transient=True, auto_refresh=False) as live:
        watchers: list[Watcher] = []

        def watch(bench: BenchmarkFolder, plan: Plan) -> None:
            if not watchers or watchers[-1].bench != bench:
                watchers.append(Watcher(bench, plan))
            live.update(live_table(watchers[-1].look(), bench.path), refresh=True)

        yield watch


class _Lines:
    """A line whenever a cell begins, fails or is done."""

    def __init__(self) -> None:
        self.watcher: Watcher | None = None
        self.known: dict[str, str] = {}

    def __call__(self, bench: BenchmarkFolder, plan: Plan) -> None:
        first = self.watcher is None or self.watcher.bench != bench
        if self.watcher is None or first:
            self.watcher, self.known = Watcher(bench, plan), {}
        sights = self.watcher.look()
        ended = sum(sight.result.status in ("done", "failed") for sight in sights)
        if first:
            print(f"{bench.path}: {counted(len(sights), 'cell')}, {ended} of them ended before", file=sys.stderr)
        for sight in sights:
            result = sight.result
            changed = result.status != self.known.get(result.id, result.status if first else "waiting")
            self.known[result.id] = result.status
            if changed:
                rest = {"done": f"  {_score(result)}  {_time(result.seconds)}", "failed": f"  {result.error}"}
                line = f"[{ended}/{len(sights)}] {result.id}  {result.status}{rest.get(result.status, '')}"
                print(line, file=sys.stderr, flush=True)


def live_table(sights: Sequence[Sight], folder: Path) -> Table:
    """The table of a moment: a row for each cell, or for each variant where there are many."""
    ended = sum(sight.result.status in ("done", "failed") for sight in sights)
    left = [sight.seconds_left for sight in sights]
    known = [seconds for seconds in left if seconds is not None]
    more = "" if len(known) == len(left) else "more than "
    rest = f", {more}{_time(sum(known))} of training left" if sum(known) and ended < len(left) else ""
    table = Table(
        title=f"{escape(str(folder))}: {ended} of {counted(len(sights), 'cell')}{rest}", title_justify="left", box=None
    )
    if len(sights) <= _ROWS:
        _row_of_each_cell(table, sights)
    else:
        _row_of_each_variant(table, sights)
    return table


def _row_of_each_cell(table: Table, sights: Sequence[Sight]) -> None:
    for name in ("network", "fold", "seed", "state", "epoch", "score", "left"):
        table.add_column(name, justify="left" if name in ("network", "state") else "right", no_wrap=name != "network")
    for sight in sights:
        result = sight.result
        planned = f"/{result.planned_epochs}" if result.planned_epochs else ""
        score = _score(result) if sight.validation is None else f"val {sight.validation:.4f}"
        table.add_row(
            escape(result.label),
            str(result.fold),
            str(result.seed),
            f"[{_STYLES[result.status]}]{result.status}[/]",
            "" if result.status == "waiting" or sight.epoch is None else f"{sight.epoch}{planned}",
            score,
            "" if result.status in ("done", "failed") else _time(sight.seconds_left),
        )


def _row_of_each_variant(table: Table, sights: Sequence[Sight]) -> None:
    for name in ("network", "waiting", "running", "done", "failed", "epoch", "score", "left"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=name != "network")
    for label in dict.fromkeys(sight.result.label for sight in sights):
        own = [sight for sight in sights if sight.result.label == label]
        states = [sight.result.status for sight in own]
        left = [sight.seconds_left for sight in own]
        running = [f"{s.epoch}/{s.result.planned_epochs}" for s in own if s.result.status == "running"]
        table.add_row(
            escape(label),
            *(str(states.count(state)) for state in ("waiting", "running", "done", "failed")),
            " ".join(running[:3]),
            mean_and_deviation([sight.result for sight in own])[1],
            _time(None if None in left else sum(seconds for seconds in left if seconds is not None)),
        )


def mean_and_deviation(results: Sequence[CellResult]) -> tuple[str, str]:
    """Name of the score, and mean ± standard deviation over the cells that are done."""
    scores = [r.score for r in results if r.status == "done" and r.score is not None and r.score["value"] is not None]
    if not scores:
        return "score", ""
    values = [float(score["value"]) for score in scores]
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return str(scores[0]["name"]), f"{statistics.mean(values):.4f}{spread}"


def print_results(results: Sequence[CellResult], folder: Path) -> None:
    """The table at the end, on stdout."""
    console = Console()
    by_label = {label: [r for r in results if r.label == label] for label in dict.fromkeys(r.label for r in results)}
    name = next((mean_and_deviation([r])[0] for r in results if r.score is not None), "score")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    for column in ("done", f"{name} ({results[0].evaluated})", "epochs", "training", "params", "MACs", "latency"):
        table.add_column(column, justify="right", no_wrap=True)
    for label, own in by_label.items():
        done = [r for r in own if r.status == "done"]
        costs = next((r.costs for r in done if r.costs is not None), None)
        table.add_row(
            escape(label),
            f"{len(done)}/{len(own)}",
            mean_and_deviation(own)[1] or "–",
            _range([r.epochs for r in done if r.epochs is not None]),
            _time(sum(r.seconds or 0 for r in done)) if done else "–",
            *(("–",) * 3 if costs is None else _costs(costs)),
        )
    console.print(table)
    if any(len(own) > 1 for own in by_label.values()):
        console.print("mean ± standard deviation over folds and seeds", style="dim", highlight=False)
    for result in results:
        if result.status == "failed":
            console.print(f"failed: {result.id}: {result.error}", style="red", highlight=False, markup=False)
        elif result.stopped_by == "budget":
            said = (
                f"{result.id}: its time was spent after {result.epochs} of {result.planned_epochs} epochs, before its"
            )
            console.print(f"{said} schedule ended", style="yellow", highlight=False)
    if any(result.status == "done" for result in results):
        print(f"compare: glocal compare {shlex.quote(str(folder))}")


def print_plan(plan: Plan, folder: Path, probes: Mapping[str, Probe]) -> None:
    """What a dry run says, on stdout."""
    console = Console()
    height, width = plan.facts["size"]
    split = f"{counted(plan.folds, 'fold')}" if plan.folds > 1 else "one split"
    counts = f"{counted(len(plan.variants), 'variant')} × {split} × {counted(len(plan.seeds), 'seed')}"
    console.print(f"[bold]{counted(len(plan.cells), 'cell')}[/] = {counts}, to {escape(str(folder))}", highlight=False)
    for note in plan.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    for column in ("cells", "epochs", "an epoch", "a cell", "all", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    number = plan.folds * len(plan.seeds)
    for label, probe in probes.items():
        cells: list[Any] = ["–"] * 5
        if probe.error is None:
            times = (probe.seconds_per_epoch, probe.seconds, probe.seconds * number)
            cells = [str(probe.epochs), *map(_time, times), f"{probe.memory_bytes / 2**20:.0f} MiB"]
        table.add_row(escape(label), str(number), *cells)
    console.print(table)
    for label, probe in probes.items():
        if probe.error is not None:
            console.print(f"{label}: {probe.error}", style="red", highlight=False, markup=False)
        elif probe.memory_bytes > probe.available_bytes:
            free = f"{probe.available_bytes / 2**20:.0f} MiB"
            console.print(f"{label}: more memory than is free ({free})", style="red", highlight=False, markup=False)
        elif plan.share_s is not None and probe.seconds_per_epoch > plan.share_s:
            console.print(f"{label}: one epoch takes longer than the share of a cell", style="red", markup=False)
    total = sum(probe.seconds * number for probe in probes.values())
    device = next((probe.device for probe in probes.values() if probe.device), "no device")
    if plan.share_s is not None:
        console.print(f"budget {_time(plan.budget_s)}: {_time(plan.share_s)} of training a cell", highlight=False)
    top = "decoding and evaluation come on top"
    console.print(f"about {_time(total)} of training, one cell after another; {top}", highlight=False)
    how = f"two steps of each network at {height}×{width} on images of the data, scaled to an epoch"
    console.print(f"measured on this machine ({device}): {how}", style="dim", highlight=False)
    print("nothing was written")


def _score(result: CellResult) -> str:
    value = None if result.score is None else result.score["value"]
    return "" if value is None else f"{value:.4f}"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "–"
    return str(numbers[0]) if min(numbers) == max(numbers) else f"{min(numbers)}–{max(numbers)}"


def _costs(costs: Mapping[str, Any]) -> tuple[str, str, str]:
    latency = f"{1e3 * costs['latency_seconds']:.1f} ms"
    return f"{costs['parameters'] / 1e6:.2f} M", f"{costs['multiply_adds'] / 1e9:.3f} G", latency


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
