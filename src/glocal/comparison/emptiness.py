"""What cases without the class do to the numbers: counted, and every mean shown with and without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glocal.comparison.analysis import Result, analyse
from glocal.comparison.measures import CONVENTIONS, Convention, Study
from glocal.comparison.scores import MaskScores
from glocal.evaluation.policy import Empty

__all__ = ["Emptiness", "EmptyCount", "emptiness_of"]


@dataclass(frozen=True)
class EmptyCount:
    """Pairs of case and class whose true or predicted mask is empty, all cells of a model added up.

    Attributes:
        label: Of the model.
        pairs: All pairs of case and class.
        agreed: Neither there nor predicted.
        invented: Not there, yet predicted.
        missed: There, yet not predicted.
    """

    label: str
    pairs: int
    agreed: int
    invented: int
    missed: int


@dataclass(frozen=True, eq=False)
class Emptiness:
    """Empty masks of all models.

    Attributes:
        counts: By model.
        results: The first metric under each convention of :data:`~glocal.comparison.measures.CONVENTIONS`.
    """

    counts: tuple[EmptyCount, ...]
    results: Mapping[Convention, Result]

    @property
    def any(self) -> bool:
        """Whether there is an empty mask at all."""
        return any(count.agreed + count.invented + count.missed for count in self.counts)


def emptiness_of(
    study: Study, metric: str, classes: Sequence[int] | None, reference: int, options: Mapping[str, Any]
) -> Emptiness | None:
    """Count empty masks and measure under every convention; ``None`` for classifiers.

    Args:
        study: All evaluations.
        metric: Name.
        classes: Indices over which the mean is taken.
        reference: Index of the model that others are tested against.
        options: Of :func:`~glocal.comparison.analysis.analyse`.
    """
    counts = []
    for label, of_model in zip(study.labels, study.table, strict=True):
        states = []
        for scores in of_model:
            if not isinstance(scores, MaskScores):
                return None
            states.append(scores.empty[:, list(classes) if classes is not None else slice(1, None)])
        agreed, invented, missed = (
            sum(int((state == empty.value).sum()) for state in states)
            for empty in (Empty.BOTH, Empty.TRUTH, Empty.PREDICTION)
        )
        counts.append(EmptyCount(label, sum(state.size for state in states), agreed, invented, missed))
    results = {
        name: analyse(study.measure(metric, classes, name), study.labels, reference, **options) for name in CONVENTIONS
    }
    return Emptiness(tuple(counts), results)
