"""What a metric is worth where a mask is empty and its formula says nothing: named policies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from glocal.errors import lookup
from glocal.evaluation.metrics import Metric

__all__ = ["POLICIES", "Empty", "EmptyPolicy", "get_policy"]


class Empty(Enum):
    """Which mask of a class is empty in a case."""

    NEITHER = ""
    BOTH = "both"
    TRUTH = "truth"
    PREDICTION = "prediction"

    @classmethod
    def of(cls, predicted: int, true: int) -> Empty:
        """Return the state for two pixel counts."""
        if predicted and true:
            return cls.NEITHER
        if predicted:
            return cls.TRUTH
        return cls.PREDICTION if true else cls.BOTH


@dataclass(frozen=True)
class EmptyPolicy:
    """How undefined values are filled.

    It touches only values that the formula leaves undefined: Dice, IoU and NSD of a structure missed or invented are 0
    under every policy.

    Attributes:
        name: As given and as written beside the numbers.
        both: Where the class is neither there nor predicted: ``"best"`` value or ``"skip"`` (left out and counted).
        one: Where it was missed or invented: ``"worst"`` value or ``"skip"``.
        description: One sentence.
    """

    name: str
    both: Literal["best", "skip"]
    one: Literal["worst", "skip"]
    description: str

    def fill(self, metric: Metric, empty: Empty, diagonal: float) -> float:
        """Return what stands for an undefined value, NaN to leave it out.

        Args:
            metric: Whose value is undefined.
            empty: Which mask is empty.
            diagonal: Of the image, in the unit of the distances.
        """
        if empty is Empty.BOTH:
            return metric.best if self.both == "best" else float("nan")
        if empty is Empty.NEITHER or self.one == "skip" or metric.worst is None:
            return float("nan")
        return diagonal if metric.worst == "diagonal" else metric.worst


POLICIES: dict[str, EmptyPolicy] = {
    policy.name: policy
    for policy in (
        EmptyPolicy(
            "penalty",
            "skip",
            "worst",
            "a class that is neither there nor predicted is left out; one missed or invented gets the worst value "
            "(overlap 0, distance = image diagonal)",
        ),
        EmptyPolicy(
            "zero_one",
            "best",
            "worst",
            "a class that is neither there nor predicted gets the best value (overlap 1, distance 0); one missed or "
            "invented the worst (overlap 0, distance = image diagonal)",
        ),
        EmptyPolicy("skip", "skip", "skip", "whatever the formula leaves undefined is left out and counted"),
    )
}
"""By name; the first is the default."""


def get_policy(name: str) -> EmptyPolicy:
    """Return the policy called ``name``.

    Raises:
        UserError: There is none of that name.
    """
    return lookup("policy {} for empty masks is unknown", name, POLICIES)
