"""The most confident mistakes of a classifier: which they are, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glocal.evaluation.classification_metrics import Sample
from glocal.evaluation.overlays import picture
from glocal.evaluation.page import Markup, element, join, table
from glocal.evaluation.thumbnails import small_image

if TYPE_CHECKING:
    from glocal.evaluation.classification import ClassificationEvaluation

__all__ = ["Mistake", "gallery", "most_confident"]

MOST = 12


@dataclass(frozen=True)
class Mistake:
    """Something said with confidence that is not so.

    Attributes:
        case: Index of the case.
        label: Index of the class that was predicted, or of the label that is wrong.
        confidence: Probability of what was said; of a label that was missed, that it is not there.
    """

    case: int
    label: int
    confidence: float


def most_confident(sample: Sample, most: int = MOST) -> list[Mistake]:
    """Return up to ``most`` mistakes, the most confident first; ties in the order of the cases.

    One label a case: cases whose predicted class is not the true one. Several: pairs of case and label.
    """
    said = sample.predicted
    sure = np.where(said, sample.probability, 1 - sample.probability)
    wrong = (said != sample.truth) if sample.multi_label else said & ~sample.truth
    cases, labels = np.nonzero(wrong)
    order = np.argsort(-sure[cases, labels], kind="stable")[:most]
    return [Mistake(int(cases[i]), int(labels[i]), float(sure[cases[i], labels[i]])) for i in order]


def gallery(evaluation: ClassificationEvaluation) -> Markup:
    """Show the most confident mistakes; only their images are read.

    Raises:
        UserError: An image cannot be read, or Pillow is not installed.
    """
    mistakes = most_confident(evaluation.sample)
    if not mistakes:
        return element("p", "There is none: every prediction is right.")
    texts = [_said(evaluation, mistake) for mistake in mistakes]
    wrong = int((evaluation.sample.truth != evaluation.sample.predicted).any(axis=1).sum())
    text = element("p", f"{wrong} of {len(evaluation.cases)} cases are not predicted right. Surest first.")
    shown = [_picture(evaluation, mistake, said) for mistake, said in zip(mistakes, texts, strict=True)]
    if not any(shown):
        rows = [[evaluation.cases[m.case].id, said] for m, said in zip(mistakes, texts, strict=True)]
        return join(
            [text, element("div", table(["case", "mistake"], rows, caption="Without pictures"), class_="words")]
        )
    figures = []
    for mistake, said, drawn in zip(mistakes, texts, shown, strict=True):
        caption = element("figcaption", element("b", evaluation.cases[mistake.case].id), said)
        figures.append(element("figure", drawn or element("p", "no picture", class_="soft"), caption))
    return join([text, element("div", *figures, class_="gallery")])


def _said(evaluation: ClassificationEvaluation, mistake: Mistake) -> str:
    sample, names = evaluation.sample, evaluation.classes
    label, p = names[mistake.label], sample.probability[mistake.case]
    given = f"{100 * p[mistake.label]:.1f} %"
    if sample.multi_label:
        return f"{label} {'missed' if sample.truth[mistake.case, mistake.label] else 'not there'}, given {given}"
    true = int(sample.truth[mistake.case].argmax())
    return f"predicted {label} at {given}, is {names[true]} ({100 * p[true]:.1f} %)"


def _picture(evaluation: ClassificationEvaluation, mistake: Mistake, said: str) -> Markup | None:
    case = evaluation.cases[mistake.case]
    small = small_image(case.image()) if case.image is not None else None
    return picture(small, f"{case.id}: {said}") if small is not None else None
