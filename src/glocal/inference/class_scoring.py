"""Evaluation of a classifier on the cases of a run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from glocal.data import Case, Dataset
from glocal.errors import UserError, counted, nearest
from glocal.evaluation import ClassificationEvaluation, ClassifiedCase, evaluate_classification
from glocal.inference._run_plan import Plan, Progress
from glocal.inference.classifier import Classification, Classifier
from glocal.inference.tta import TTA

__all__ = ["evaluate_classifier", "picture_of", "truth_of"]

log = logging.getLogger("glocal")


def evaluate_classifier(
    plan: Plan,
    classifier: Classifier,
    preset: str | None = None,
    progress: Progress | None = None,
    *,
    tta: bool | TTA = False,
    batch_size: int | None = None,
) -> ClassificationEvaluation:
    """Classify the cases of a plan and compare with the truth; classes of the data are found by their names.

    Args:
        plan: Which cases.
        classifier: The network.
        preset: Of :func:`glocal.evaluation.evaluate_classification`.
        progress: Called with (done, all).
        tta: As :class:`~glocal.inference.Classifier`.
        batch_size: As :class:`~glocal.inference.Classifier`.

    Raises:
        UserError: The data has a class that the network does not know, or a case cannot be read.
    """
    indices = _indices(plan.dataset, classifier)
    answers = classifier.predict_many([case.image for case in plan.cases], tta=tta, batch_size=batch_size)
    return evaluate_classification(
        _classified(plan, answers, indices, progress),
        classifier.classes,
        multi_label=classifier.record.multi_label,
        temperature=classifier.record.temperature,
        preset=preset,
    )


def truth_of(case: Case, indices: Mapping[int, int]) -> int | tuple[int, ...]:
    """The class of a case, or several, with ``indices`` in place of those of the data."""
    assert case.label is not None
    return indices[case.label] if isinstance(case.label, int) else tuple(indices[k] for k in case.label)


def picture_of(dataset: Dataset, case: Case) -> Callable[[], NDArray[np.uint8]]:
    """What reads the image of a case: ``uint8 (H, W, 1 or 3)``."""

    def read() -> NDArray[np.uint8]:
        picture = dataset.read_image(case)
        return np.rint(picture.unit(picture.channels) * 255).astype(np.uint8)

    return read


def _indices(dataset: Dataset, classifier: Classifier) -> dict[int, int]:
    """For the index of a class in the data that in the network."""
    kinds = {True: "several classes an image", False: "one class an image"}
    if dataset.multi_label is not classifier.record.multi_label:
        raise UserError(
            f"{dataset.root}: {kinds[dataset.multi_label]}, but {classifier.record.name} was trained for "
            f"{kinds[classifier.record.multi_label]}; name other data (--data DIR)"
        )
    for name in dataset.classes:
        if name not in classifier.classes:
            known = ", ".join(classifier.classes[:20])
            raise UserError(
                f"{dataset.root}: the network knows no class {name!r}, only {known}."
                f"{nearest(name, classifier.classes)} Rename the class in the data, or leave its images out"
            )
    return {index: classifier.classes.index(name) for index, name in enumerate(dataset.classes)}


def _classified(
    plan: Plan, answers: Iterator[Classification], indices: Mapping[int, int], progress: Progress | None
) -> Iterator[ClassifiedCase]:
    """The cases with their logits, one at a time."""
    notes: Counter[str] = Counter()
    for done, (case, answer) in enumerate(zip(plan.cases, answers, strict=True), 1):
        notes.update(answer.notes)
        yield ClassifiedCase(
            case.id,
            logits=answer.logits.numpy(),
            truth=truth_of(case, indices),
            group=case.group if plan.grouped else None,
            image=picture_of(plan.dataset, case),
        )
        if progress is not None:
            progress(done, len(plan.cases))
    for note, count in notes.most_common():
        log.info("%s: %s", counted(count, "image"), note)
