"""A trained classification network with everything between an image and the probabilities of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from glocal.data.readers import Picture
from glocal.errors import UserError
from glocal.evaluation.calibration import probabilities
from glocal.inference.base import BasePredictor, Prepared
from glocal.inference.tta import AugmentedClassifier, View

__all__ = ["Classification", "Classifier"]


@dataclass(frozen=True, eq=False)
class Classification:
    """What a network says about one image, of K classes.

    Attributes:
        classes: Their names.
        picture: The image, upright.
        logits: ``(K,)`` float32; ``probabilities`` is softmax(logits / T), or sigmoid(logits / T) where classes do not
            exclude each other.
        temperature: T, fitted on validation images.
        multi_label: Each class is present or absent by itself.
        notes: What was done to the image on its way, one phrase each.
    """

    classes: tuple[str, ...]
    picture: Picture
    logits: Tensor
    temperature: float = 1.0
    multi_label: bool = False
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image, in pixels."""
        return self.picture.size

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of each class: ``float32 (K,)``; they add up to 1 unless ``multi_label``."""
        exact = probabilities(self.logits.numpy(), self.temperature, multi_label=self.multi_label)
        return exact.astype(np.float32)

    @property
    def prediction(self) -> str | tuple[str, ...]:
        """Name of the most probable class; in a multi-label classification the names of those from 0.5 on, maybe none.

        The first of several that are equally probable.
        """
        if self.multi_label:
            return tuple(name for name, logit in zip(self.classes, self.logits.tolist(), strict=True) if logit >= 0)
        return self.classes[int(self.logits.numpy().argmax())]

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` most probable classes with their probabilities, or all where there are fewer.

        Raises:
            UserError: ``k`` is below 1.
        """
        if k < 1:
            raise UserError(f"the top {k} classes asked for; ask for 1 or more")
        order = np.argsort(-self.logits.numpy(), kind="stable")[:k]
        return [(self.classes[index], float(self.probabilities[index])) for index in order]


class Classifier(BasePredictor[Classification]):
    """Classifies images; :meth:`load` makes one, calling it predicts.

    Every image is seen whole. Probabilities are softmax(logits / T), or sigmoid(logits / T) of a multi-label network,
    with the temperature T of ``model.json``. All else as :class:`~glocal.inference.base.BasePredictor`.
    """

    task = "classification"

    def _augmented(self, views: tuple[View, ...]) -> nn.Module:
        return AugmentedClassifier(self.network, views, self.record.temperature, multi_label=self.record.multi_label)

    def _outcome(self, image: Prepared, scores: Tensor, notes: tuple[str, ...]) -> Classification:
        record = self.record
        return Classification(self.classes, image.picture, scores, record.temperature, record.multi_label, notes)

    def check_tiling(self, tiling: str) -> None:
        """Refuse windows, too: a classifier sees images whole."""
        super().check_tiling(tiling)
        if tiling == "always":
            raise UserError(
                f"{self.record.name} classifies whole images, so they cannot be cut into windows; leave --tiling out"
            )
