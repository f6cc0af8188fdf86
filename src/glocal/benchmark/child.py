"""Processes that compute for a benchmark: they end with the process that started them, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from glocal.benchmark.folder import BenchmarkFolder
from glocal.benchmark.plan import Cell, Plan
from glocal.errors import UserError
from glocal.files import write_text, writing

__all__ = ["NOT_RECORDED", "end_with_parent", "finish_cell", "python_child"]

NOT_RECORDED = 75
"""Exit code of a cell that could not be begun, such as one that another process is computing."""

_TAIL = 60
"""Lines of the log that are kept as traceback of a process that died without one."""


def end_with_parent() -> None:
    """Let this process end at once when its standard input, the pipe from its parent, is closed.

    The operating system closes it even when the parent is killed; so nothing goes on computing unseen.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def python_child(module: str, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs ``module``, writes what it says to ``log``, and does not outlive the block.

    Raises:
        UserError: The log cannot be written.
    """
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open("ab")
    with opened as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            start_new_session=True,  # an interrupt from the keyboard is for the parent
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def finish_cell(
    bench: BenchmarkFolder, plan: Plan, cell: Cell, while_waiting: Callable[[], None] | None = None
) -> None:
    """Run one cell in a process of its own, and record it as failed where that dies without a word.

    Args:
        bench: The benchmark.
        plan: Of the benchmark.
        cell: Which is not done.
        while_waiting: Called about once a second.

    Raises:
        UserError: Another process is computing it, or its folder cannot be used.
    """
    home = bench.cell(cell)
    with python_child("glocal.benchmark.cell", [str(bench.path.absolute()), cell.id], home / "log.txt") as process:
        while True:
            try:
                code = process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                if while_waiting is not None:
                    while_waiting()
    result = bench.read_cell(plan, cell)
    if result.status in ("done", "failed"):
        return
    lines = (home / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    if code == NOT_RECORDED:
        raise UserError(_said(lines))
    write_text(home / "traceback.txt", "\n".join(lines) + "\n")
    facts = {k: result.facts[k] for k in ("started", "starts", "host", "planned_epochs") if k in result.facts}
    bench.write_cell(cell, "failed", {**facts, "error": _cause(code, lines)})


def _cause(code: int, lines: Sequence[str]) -> str:
    """How a process ended, in words."""
    if code < 0:
        name = signal.Signals(-code).name
        often = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{often} (log.txt has what it said)"
    return f"its process ended with code {code} (log.txt): {_said(lines)}"


def _said(lines: Sequence[str]) -> str:
    """The last line that says something."""
    return next((line for line in reversed(lines) if line.strip()), "nothing").removeprefix("glocal: error: ")
