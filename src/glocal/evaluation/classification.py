"""Logits and truths of classified cases in, numbers out: :func:`evaluate_classification` and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.classification_metrics import Sample
from glocal.evaluation.classification_presets import ClassificationPreset, get_classification_preset
from glocal.evaluation.statistics import Bootstrap

__all__ = ["ClassificationEvaluation", "ClassifiedCase", "evaluate_classification"]


@dataclass(frozen=True, eq=False)
class ClassifiedCase:
    """What a network says of an image of K classes, beside what is true.

    Attributes:
        id: Name of the case, unique.
        logits: ``(K,)``, before any softmax, sigmoid or temperature.
        truth: Class index; in a multi-label evaluation the indices of the classes that are there, maybe none.
        group: What the case shares with others (a patient); ``None`` for a case of its own.
        image: Gives the picture, ``(H, W)`` or ``(H, W, 1 or 3)`` bytes; called for the few cases that the report
            shows. ``None`` for no picture.
    """

    id: str
    logits: NDArray[Any]
    truth: int | tuple[int, ...]
    group: str | None = None
    image: Callable[[], NDArray[Any]] | None = None


@dataclass(frozen=True, eq=False)
class ClassificationEvaluation:
    """The numbers of all cases; N cases, K classes.

    Attributes:
        classes: Names, in the order of the class indices.
        cases: In the order in which they came.
        sample: Their logits and truths as arrays, at the fitted temperature.
        bootstrap: Of the intervals; its clusters are the groups.
        preset: Published evaluation computed beside ours.
        notes: What a reader must be told beside what the numbers themselves tell.
    """

    classes: tuple[str, ...]
    cases: tuple[ClassifiedCase, ...]
    sample: Sample
    bootstrap: Bootstrap
    preset: ClassificationPreset | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Cases by true and predicted class ``(K, K)``; for several labels by class, there and predicted ``(K, 2, 2)``.

        In ``(K, 2, 2)`` index 0 is "no" and 1 "yes": ``[k, 1, 0]`` counts where class k was missed.
        """
        truth, predicted = self.sample.truth, self.sample.predicted
        if not self.sample.multi_label:
            return np.asarray(truth.astype(np.int64).T @ predicted.astype(np.int64), np.int64)
        cells = [[(truth == t) & (predicted == p) for p in (False, True)] for t in (False, True)]
        return np.moveaxis(np.sum(cells, axis=2), 2, 0)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``: plain numbers, strings, lists and ``None``."""
        from glocal.evaluation.classification_summary import summarise_classification

        return summarise_classification(self)

    def write(
        self,
        folder: str | Path,
        *,
        title: str = "Evaluation",
        manifest: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Path]:
        """Write ``cases.csv``, ``summary.json`` and ``report.html`` into ``folder``, each whole or not at all.

        Args:
            folder: Made when it is missing; files of the same names are replaced.
            title: Of the report.
            manifest: What the report shows of the run: versions, data fingerprint, recipe. Any nesting of plain values.
            history: Rows of the run's ``metrics.csv``, one an epoch, for the training curves; numbers may be text.

        Returns:
            The paths by file name.

        Raises:
            UserError: The folder cannot be written, an image that is shown cannot be read, or matplotlib or Pillow is
                not installed.
        """
        from glocal.evaluation.classification_report import render_classification
        from glocal.evaluation.classification_table import write_classified
        from glocal.files import write_json, write_text

        page = render_classification(self, title=title, manifest=manifest or {}, history=history)
        paths = {name: Path(folder) / name for name in ("cases.csv", "summary.json", "report.html")}
        write_classified(paths["cases.csv"], self)
        write_json(paths["summary.json"], self.summary)
        write_text(paths["report.html"], page)
        return paths


def evaluate_classification(
    cases: Iterable[ClassifiedCase],
    classes: Sequence[str],
    *,
    multi_label: bool = False,
    temperature: float = 1.0,
    preset: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> ClassificationEvaluation:
    """Compare the predictions of a classifier with the truth.

    The predicted class is that of the highest logit, the first of equals; of several labels those of logit 0 or more,
    a probability of 50 % or more. Neither depends on the temperature.

    Args:
        cases: See :class:`ClassifiedCase`; a generator will do. Of the images only the callables are kept.
        classes: Names in the order of the class indices: two or more; one or more for ``multi_label``.
        multi_label: Each class is there or not by itself.
        temperature: Fitted on validation cases; calibration is told with and without it.
        preset: Name of a published evaluation to compute beside ours, such as ``"hifuse"``.
        confidence: Of the bootstrap intervals, in (0, 1).
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The numbers, with :attr:`ClassificationEvaluation.summary` and :meth:`ClassificationEvaluation.write`.

    Raises:
        UserError: There is no case, one has logits or a truth that do not fit the classes (its name is in the message),
            two cases have one name, or an argument is unusable.

    Example:
        >>> import numpy as np
        >>> cases = [ClassifiedCase(f"{i}.png", np.array([1.0, i]), truth=int(i > 1)) for i in range(4)]
        >>> evaluate_classification(cases, ["benign", "malignant"]).summary["overall"]["accuracy"]["value"]
        1.0
    """
    names = _check_arguments(classes, multi_label, temperature, confidence, resamples)
    published = get_classification_preset(preset) if preset is not None else None
    if published is not None and multi_label:
        raise UserError(f"preset {published.name!r} knows one label a case; evaluate several labels without it")
    kept: list[ClassifiedCase] = []
    logits: list[NDArray[np.float64]] = []
    truth: list[NDArray[np.bool_]] = []
    seen = set[str]()
    for case in cases:
        if case.id in seen:
            raise UserError(f"case {case.id!r} comes twice; give every case a name of its own")
        seen.add(case.id)
        logits.append(_check_logits(case, len(names)))
        truth.append(_check_truth(case, len(names), multi_label))
        kept.append(case)
    if not kept:
        raise UserError("there is no case to evaluate; is the split empty?")
    sample = Sample(np.stack(logits), np.stack(truth), multi_label, float(temperature))
    bootstrap = Bootstrap.over([case.group for case in kept], resamples=resamples, confidence=confidence, seed=seed)
    return ClassificationEvaluation(names, tuple(kept), sample, bootstrap, published)


def _check_arguments(
    classes: Sequence[str], multi_label: bool, temperature: float, confidence: float, resamples: int
) -> tuple[str, ...]:
    names = tuple(classes)
    if len(names) < (1 if multi_label else 2) or len(set(names)) < len(names):
        wanted = "one or more different names" if multi_label else "two or more different names"
        raise UserError(f"classes {list(names)} must be {wanted}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature {temperature} must be above 0; 1 leaves the probabilities as they are")
    if not 0 < confidence < 1 or resamples < 1:
        raise UserError(f"confidence {confidence} must lie between 0 and 1 and resamples {resamples} be 1 or more")
    return names


def _check_logits(case: ClassifiedCase, num_classes: int) -> NDArray[np.float64]:
    logits = np.asarray(case.logits)
    if logits.shape != (num_classes,) or logits.dtype.kind not in "fiu":
        raise UserError(
            f"case {case.id!r}: its logits have shape {logits.shape} and type {logits.dtype}, but there are "
            f"{num_classes} classes; give one number a class"
        )
    if not np.isfinite(logits).all():
        raise UserError(f"case {case.id!r}: its logits are not finite ({logits.tolist()}); the network is unusable")
    return logits.astype(np.float64)


def _check_truth(case: ClassifiedCase, num_classes: int, multi_label: bool) -> NDArray[np.bool_]:
    indices = case.truth if isinstance(case.truth, tuple) else (case.truth,)
    if isinstance(case.truth, tuple) is not multi_label:
        wanted = "a tuple of class indices, maybe empty" if multi_label else "one class index"
        raise UserError(f"case {case.id!r}: its truth is {case.truth!r}; give {wanted}")
    for index in indices:
        if isinstance(index, bool | np.bool_) or not isinstance(index, int | np.integer):
            raise UserError(f"case {case.id!r}: its truth is {case.truth!r}; give class indices as whole numbers")
        if not 0 <= index < num_classes:
            raise UserError(
                f"case {case.id!r}: its truth is class {index}, but the {num_classes} classes are "
                f"0 … {num_classes - 1}; name every class"
            )
    if len(set(indices)) < len(indices):
        raise UserError(f"case {case.id!r}: its truth {case.truth!r} names a class twice; name it once")
    row = np.zeros(num_classes, bool)
    row[list(indices)] = True
    return row
