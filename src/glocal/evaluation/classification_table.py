"""``cases.csv`` of a classifier, one row for every case; and tables of predictions of any program, read strictly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glocal.errors import UserError, nearest
from glocal.evaluation.surface import FloatArray
from glocal.evaluation.table import guard, unguard
from glocal.files import atomic, read_text

if TYPE_CHECKING:
    from glocal.evaluation.classification import ClassificationEvaluation

__all__ = ["SEPARATOR", "classified_columns", "logits_of", "read_prediction_table", "write_classified"]

SEPARATOR = ";"
"""Between the names of several classes in one field."""

SMALLEST = 1e-7
"""What a probability of 0 (or 1) in a table counts as being away from it, so that its logarithm is finite."""

_SUM_TOLERANCE = 1e-3
_ROUNDING = 1e-4


def classified_columns(classes: Sequence[str]) -> list[str]:
    """The columns of ``cases.csv``; later versions add columns at the end only."""
    return ["case", "group", "truth", "prediction", "probability", "correct", *(f"p:{name}" for name in classes)]


def write_classified(path: str | Path, evaluation: ClassificationEvaluation) -> None:
    """Write the table, UTF-8 with a comma; numbers in full precision.

    ``probability`` is that of the most probable class; ``correct`` is 1 where the prediction is the truth, of several
    labels all of them.

    Raises:
        UserError: As :func:`glocal.files.writing`.
    """
    sample = evaluation.sample
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(classified_columns(evaluation.classes))
        for case, truth, predicted, p in zip(
            evaluation.cases, sample.truth, sample.predicted, sample.probability, strict=True
        ):
            writer.writerow(
                [
                    guard(case.id),
                    guard(case.group or ""),
                    *(
                        guard(SEPARATOR.join(evaluation.classes[k] for k in np.flatnonzero(row)))
                        for row in (truth, predicted)
                    ),
                    repr(float(p.max())),
                    int((truth == predicted).all()),
                    *map(repr, p.tolist()),
                ]
            )


def read_prediction_table(
    path: str | Path, classes: Sequence[str], *, multi_label: bool = False
) -> dict[str, FloatArray]:
    """Read the table of ``glocal predict`` on a classifier, or another program's of the same form.

    Columns: ``image``; one ``p:CLASS`` with a probability for each class, in any order; ``prediction``, if it is there,
    must agree with them. Others are not read.

    Args:
        path: CSV, UTF-8.
        classes: Names, all of which have a column.
        multi_label: The probabilities of a row need not add up to 1; ``prediction`` holds the names of 50 % or more,
            separated by semicolons.

    Returns:
        By image, as named in the table, the probabilities in the order of ``classes``, ``(K,)``.

    Raises:
        UserError: The file cannot be read; a column is missing, comes twice or is of no class; or in a row, named by
            its line, a value is no probability, they do not add up to 1 (± 0.001), the prediction is not the most
            probable class, or the image is missing, comes twice or could not be read when it was predicted.
    """
    path = Path(path)
    try:
        lines = [(number, row) for number, row in enumerate(_rows(read_text(path)), 1) if any(row)]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table ({error}); is it the right file?") from None
    if not lines:
        raise UserError(f"{path}: the table is empty; give one row an image")
    columns = _columns(path, lines[0][1], classes)
    found: dict[str, FloatArray] = {}
    for line, row in lines[1:]:
        where = f"{path}: line {line}"
        if len(row) != len(lines[0][1]):
            raise UserError(f"{where}: {len(row)} values under {len(lines[0][1])} columns; write the table again")
        image = unguard(row[columns["image"]])
        if not image or image in found:
            what = f"image {image!r} comes twice; keep one row" if image else "no image is named; name it"
            raise UserError(f"{where}: {what}")
        if not any(row[columns[f"p:{name}"]] for name in classes):
            raise UserError(f"{where}: {image!r} has no probabilities; mend the image and predict again")
        p = np.array([_probability(where, name, row[columns[f"p:{name}"]]) for name in classes])
        if not multi_label and abs(p.sum() - 1) > _SUM_TOLERANCE:
            raise UserError(f"{where}: the probabilities add up to {p.sum():.4g}, not 1; are they of several labels?")
        if "prediction" in columns and not (multi_label and any(SEPARATOR in name for name in classes)):
            _check_prediction(where, unguard(row[columns["prediction"]]), p, classes, multi_label)
        found[image] = p
    if not found:
        raise UserError(f"{path}: the table has no rows; give one row an image")
    return found


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]


def _columns(path: Path, header: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: column {twice!r} comes twice; remove one")
    wanted = ["image", *(f"p:{name}" for name in classes)]
    missing = next((name for name in wanted if name not in header), None)
    if missing is not None:
        raise UserError(f"{path}: there is no column {missing!r}; its columns are {', '.join(header[:8])}")
    foreign = next((name for name in header if name.startswith("p:") and name not in wanted), None)
    if foreign is not None:
        near = nearest(foreign[2:], classes)
        raise UserError(
            f"{path}: column {foreign!r} is of no class of this data ({', '.join(classes[:8])}); rename it.{near}"
        )
    return {name: index for index, name in enumerate(header)}


def _probability(where: str, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UserError(f"{where}: p:{name} is {cell!r}; give a probability between 0 and 1")
    return value


def _check_prediction(where: str, cell: str, p: FloatArray, classes: Sequence[str], multi_label: bool) -> None:
    names = [name for name in cell.split(SEPARATOR) if name] if multi_label else [cell]
    unknown = next((name for name in names if name not in classes), None)
    if unknown is not None:
        near = nearest(unknown, classes)
        raise UserError(
            f"{where}: prediction {unknown!r} is no class of this data ({', '.join(classes[:8])}); rename it.{near}"
        )
    said = np.isin(np.array(classes), names)
    if multi_label:
        wrong = bool((said & (p < 0.5 - _ROUNDING) | ~said & (p > 0.5 + _ROUNDING)).any())
        rule = "every class of probability 0.5 or more"
    else:
        wrong = bool(p[said].max() < p.max() - _ROUNDING)
        rule = f"the most probable class, {classes[int(p.argmax())]!r}"
    if wrong:
        raise UserError(
            f"{where}: the prediction {cell!r} is not {rule}; leave the column out to evaluate by probability"
        )


def logits_of(probability: FloatArray, *, multi_label: bool = False) -> FloatArray:
    """Return logits whose softmax, or sigmoid for ``multi_label``, is ``probability``.

    Args:
        probability: ``(…, K)``; 0 and, for several labels, 1 are taken as 1e-7 away from themselves.
        multi_label: Each class is there or not by itself.
    """
    p = np.clip(probability, SMALLEST, 1 - SMALLEST if multi_label else 1)
    return np.asarray(np.log(p) - (np.log1p(-p) if multi_label else 0), np.float64)
