"""Classification of files: one table of predictions and probabilities, written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.classification_table import SEPARATOR
from glocal.evaluation.table import guard
from glocal.files import write_text
from glocal.inference.classifier import Classification
from glocal.inference.files import find_images, require_folder, require_free

if TYPE_CHECKING:
    from glocal.inference.classifier import Classifier
    from glocal.inference.tta import TTA

__all__ = ["ClassifiedFile", "classify_files", "plan_table"]


@dataclass(frozen=True)
class ClassifiedFile:
    """What became of one image."""

    image: Path
    prediction: str | tuple[str, ...] | None = None
    """As :attr:`Classification.prediction`; ``None`` if the image could not be read."""
    probabilities: NDArray[np.float32] | None = None
    """``(K,)``."""
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why there is no prediction: one line."""

    @property
    def probability(self) -> float | None:
        """Of the most probable class."""
        return None if self.probabilities is None else float(self.probabilities.max())


def plan_table(inputs: Sequence[str | Path], output: str | Path, *, overwrite: bool = False) -> list[Path]:
    """The images that are meant, once it is certain that the table may be written.

    Args:
        inputs: Files and folders. A folder stands for the images in it and below, known by their endings; hidden files
            are left out. A file named twice is taken once.
        output: The table; its name ends in ``.csv``.
        overwrite: Replace a table that is there.

    Raises:
        UserError: A folder without images, ``output`` is no ``.csv`` file or cannot be written, or is there already.
    """
    output = Path(output)
    if output.suffix.lower() != ".csv" or output.is_dir():
        raise UserError(f"{output}: a classifier writes one table; let its name end in .csv (--output table.csv)")
    require_folder(output.parent, "tables")
    images: dict[str, Path] = {}
    for image, _ in find_images(inputs, output):
        images.setdefault(os.path.abspath(image), image)
    require_free(list(images.values()), [output], "table", overwrite)
    return list(images.values())


def classify_files(
    classifier: Classifier,
    images: Sequence[Path],
    output: str | Path,
    *,
    tta: bool | TTA = False,
    batch_size: int | None = None,
) -> Iterator[ClassifiedFile]:
    """Classify files, and write the table once the last is done: ``image,prediction,probability,p:CLASS,…``.

    UTF-8 with commas; ``probability`` is that of the most probable class. Several predicted classes of a multi-label
    network are joined by semicolons. An image that cannot be read has a row with nothing after its name; where none can
    be read no table is written. A name that a spreadsheet would run as a formula has an apostrophe before it
    (:func:`glocal.evaluation.table.guard`).

    Args:
        classifier: The network.
        images: Of :func:`plan_table`.
        output: The table.
        tta: As :meth:`Classifier.__call__`.
        batch_size: As :meth:`Classifier.outcomes`.

    Returns:
        One result for each image, in their order, as they come.

    Raises:
        UserError: The table cannot be written, or as :meth:`Classifier.outcomes`.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "prediction", "probability", *(f"p:{name}" for name in classifier.classes)])
    good = 0
    for image, outcome in zip(images, classifier.outcomes(images, tta=tta, batch_size=batch_size), strict=True):
        result = _result(image, outcome)
        good += result.error is None
        writer.writerow(_row(result, len(classifier.classes)))
        yield result
    if good:
        write_text(output, stream.getvalue().encode("utf-8", "backslashreplace").decode())


def _result(image: Path, outcome: Classification | UserError) -> ClassifiedFile:
    if isinstance(outcome, UserError):
        return ClassifiedFile(image, error=str(outcome))
    return ClassifiedFile(image, outcome.prediction, outcome.probabilities, outcome.notes)


def _row(result: ClassifiedFile, classes: int) -> list[str]:
    name = guard(str(result.image))
    if result.prediction is None or result.probabilities is None:
        return [name, *[""] * (2 + classes)]
    several = isinstance(result.prediction, tuple)
    prediction = SEPARATOR.join(result.prediction) if several else str(result.prediction)
    return [name, guard(prediction), str(result.probabilities.max()), *map(str, result.probabilities)]
