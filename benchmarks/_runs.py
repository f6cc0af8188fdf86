"""What the scripts that train on real images share: finished runs are kept and never repeated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from glocal.cli import main
from glocal.files import read_json

__all__ = ["percent", "torch_versions", "train_and_evaluate"]


def train_and_evaluate(command: Sequence[str], run: Path) -> None:
    """Train by the words of ``command`` (or go on where it was interrupted) and evaluate on the test split.

    Raises:
        SystemExit: Training or evaluation failed.
    """
    words: list[str] = []
    if not (run / "manifest.json").exists():
        words = list(command)
    elif not (run / "model" / "model.json").exists():
        words = ["train", "--resume", str(run)]
    if words and main(words):
        raise SystemExit(f"{run}: training failed")
    if not (run / "evaluation" / "test" / "summary.json").exists() and main(["evaluate", str(run)]):
        raise SystemExit(f"{run}: evaluation failed")


def percent(entry: dict[str, Any], value: str = "mean") -> str:
    """A value and, where there is one, its interval in per cent."""
    low, high = entry["ci"] or (None, None)
    if low is None or high is None:
        return f"{100 * entry[value]:.1f} (one group: no interval)"
    return f"{100 * entry[value]:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def torch_versions(runs: Iterable[Path]) -> str:
    """The versions of torch the runs were made with."""
    return ", ".join(sorted({str(read_json(run / "manifest.json")["versions"]["torch"]) for run in runs}))
