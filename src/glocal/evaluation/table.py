"""``cases.csv``: one row for every case and class."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.evaluation.metrics import METRIC_NAMES
from glocal.files import atomic

if TYPE_CHECKING:
    from glocal.evaluation.evaluation import Evaluation

__all__ = ["COLUMNS", "guard", "unguard", "write_cases", "write_published"]

COLUMNS: tuple[str, ...] = (
    "case",
    "group",
    "class",
    "class_index",
    *METRIC_NAMES,
    "n_truth",
    "n_prediction",
    "n_both",
    "n_pixels",
    "empty",
    "policy",
    "tolerance",
    "unit",
    "spacing",
)
"""In this order; later versions add columns at the end only."""

_FORMULA = "'=+-@\t\r\n"


def guard(text: str) -> str:
    """Put an apostrophe before a name that a spreadsheet would run as a formula (or that begins with an apostrophe)."""
    return f"'{text}" if text and text[0] in _FORMULA else text


def unguard(text: str) -> str:
    """Return the name that :func:`guard` was given."""
    return text[1:] if text[:1] == "'" and text[1:2] and text[1] in _FORMULA else text


def write_cases(path: str | Path, evaluation: Evaluation) -> None:
    """Write the table, UTF-8 with a comma; numbers in full precision, an empty field for what is left out.

    Raises:
        UserError: As :func:`glocal.files.writing`.
    """
    settings = evaluation.settings
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in evaluation.results:
            for k, name in enumerate(evaluation.classes):
                both, predicted, true = result.counts[k].tolist()
                writer.writerow(
                    [
                        guard(result.id),
                        guard(result.group or ""),
                        guard(name),
                        k,
                        *("" if math.isnan(value) else repr(value) for value in result.values[k].tolist()),
                        true,
                        predicted,
                        both,
                        result.pixels,
                        result.empty[k].value,
                        settings.policy.name,
                        settings.tolerance,
                        settings.unit,
                        "×".join(map(repr, result.spacing)),
                    ]
                )


def write_published(path: str | Path, evaluation: Evaluation) -> None:
    """Write what the preset measured, one row a case: numbers in full precision, an empty field for NaN.

    Raises:
        UserError: As :func:`glocal.files.writing`.
    """
    columns = evaluation.published
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "group", *columns])
        for n, result in enumerate(evaluation.results):
            values = [float(column[n]) for column in columns.values()]
            row = ["" if math.isnan(value) else repr(value) for value in values]
            writer.writerow([guard(result.id), guard(result.group or ""), *row])
