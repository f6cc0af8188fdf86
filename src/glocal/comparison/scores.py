"""One evaluation on disk: ``cases.csv`` and ``summary.json``, read strictly."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.classification_metrics import Sample
from glocal.evaluation.classification_table import SEPARATOR, classified_columns, logits_of
from glocal.evaluation.metrics import METRIC_NAMES
from glocal.evaluation.policy import Empty
from glocal.evaluation.surface import FloatArray
from glocal.evaluation.table import COLUMNS, unguard
from glocal.files import read_json, read_text

__all__ = ["ClassScores", "MaskScores", "Scores", "read_scores"]


@dataclass(frozen=True, eq=False)
class MaskScores:
    """The table of a segmentation; N cases, K classes, M metrics in the order of ``METRIC_NAMES``.

    Attributes:
        classes: Names; the first is the background.
        cases: Ids, ``N``.
        groups: Of each case, ``None`` for a case of its own.
        values: float64 ``(N, K, M)``, NaN where left out.
        truth: True pixels, int64 ``(N, K)``.
        pixels: Of each case, int64 ``(N,)``.
        empty: Which mask of a class is empty, ``(N, K)`` values of :class:`~glocal.evaluation.policy.Empty`.
        conventions: Policy, tolerance and unit.
        notes: Of the summary.
    """

    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str | None, ...]
    values: FloatArray
    truth: NDArray[np.int64]
    pixels: NDArray[np.int64]
    empty: NDArray[np.str_]
    conventions: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The table of a classifier.

    Attributes:
        classes: Names.
        cases: Ids, ``N``.
        groups: Of each case, ``None`` for a case of its own.
        sample: Truth and prediction of all cases.
        conventions: Whether a case has several labels.
        notes: Of the summary.
    """

    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str | None, ...]
    sample: Sample
    conventions: Mapping[str, Any]
    notes: tuple[str, ...]


Scores = MaskScores | ClassScores


def read_scores(folder: Path) -> Scores:
    """Read an evaluation.

    Raises:
        UserError: A file is missing or damaged, or the two do not belong together.
    """
    summary = read_json(folder / "summary.json")
    path = folder / "cases.csv"
    if not isinstance(summary, dict) or summary.get("format") != 1 or not isinstance(summary.get("classes"), list):
        raise UserError(f"{folder / 'summary.json'}: not the summary of an evaluation; run `glocal evaluate` again")
    try:
        header, *rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        classes = tuple(map(str, summary["classes"]))
        if summary.get("task") == "classification":
            found: Scores = _classified(header, rows, classes, summary)
        else:
            found = _measured(header, rows, classes, summary)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not the cases of an evaluation ({error}); run `glocal evaluate` again") from None
    if len(found.cases) != summary.get("cases") or len(set(found.cases)) < len(found.cases):
        raise UserError(f"{path}: does not belong to the summary.json beside it; run `glocal evaluate` again")
    return found


def _measured(
    header: Sequence[str], rows: Sequence[Sequence[str]], classes: tuple[str, ...], summary: Mapping[str, Any]
) -> MaskScores:
    if tuple(header[: len(COLUMNS)]) != COLUMNS:
        raise ValueError("other columns")
    if len(rows) % len(classes) or not rows:
        raise ValueError("rows are missing")
    column = {name: header.index(name) for name in COLUMNS}
    of_first = rows[:: len(classes)]
    named = [(row[column["case"]], int(row[column["class_index"]])) for row in rows]
    if named != [(row[column["case"]], k) for row in of_first for k in range(len(classes))]:
        raise ValueError("the classes of a case do not stand together")
    shape = (len(of_first), len(classes))

    def counts(name: str) -> NDArray[np.int64]:
        return np.array([int(row[column[name]]) for row in rows], np.int64).reshape(shape)

    values = [[float(row[column[name]]) if row[column[name]] else np.nan for name in METRIC_NAMES] for row in rows]
    conventions = summary["conventions"]
    return MaskScores(
        classes,
        tuple(unguard(row[0]) for row in of_first),
        tuple(unguard(row[1]) or None for row in of_first),
        np.array(values, np.float64).reshape(*shape, len(METRIC_NAMES)),
        counts("n_truth"),
        counts("n_pixels")[:, 0],
        np.array([Empty(row[column["empty"]]).value for row in rows]).reshape(shape),
        {
            "policy": conventions["policy"]["name"],
            "tolerance": conventions["tolerance"],
            "unit": conventions["unit"],
        },
        tuple(map(str, summary.get("notes", ()))),
    )


def _classified(
    header: Sequence[str], rows: Sequence[Sequence[str]], classes: tuple[str, ...], summary: Mapping[str, Any]
) -> ClassScores:
    columns = classified_columns(classes)
    if list(header[: len(columns)]) != columns or not rows:
        raise ValueError("other columns, or no rows")
    several = bool(summary["multi_label"])
    index = {name: k for k, name in enumerate(classes)}
    truth = np.zeros((len(rows), len(classes)), bool)
    for n, row in enumerate(rows):
        text = unguard(row[2])
        for name in text.split(SEPARATOR) if several and text else [text] if text else []:
            truth[n, index[name]] = True
    p = np.array([[float(cell) for cell in row[len(columns) - len(classes) : len(columns)]] for row in rows])
    sample = Sample(logits_of(p, multi_label=several), truth, several, 1.0)
    return ClassScores(
        classes,
        tuple(unguard(row[0]) for row in rows),
        tuple(unguard(row[1]) or None for row in rows),
        sample,
        {"labels": "several" if several else "one"},
        tuple(map(str, summary.get("notes", ()))),
    )
