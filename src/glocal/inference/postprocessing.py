"""What is done to a mask after the network: holes filled, specks and all but the largest component removed.

Which of it is done to which class is chosen on validation cases (:func:`choose_postprocessing`) and stored with the
model; in two dimensions for pictures, in three for volumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["SIZES", "Choice", "Postprocessing", "Trial", "Trials", "choose_postprocessing"]

SIZES = (8, 32, 128, 512, 2048, 8192)
"""Minimum sizes that are tried, in pixels or voxels."""

MARGIN = 1e-3
"""By how much the mean Dice of a class must rise for a step to be kept."""


@dataclass(frozen=True)
class Postprocessing:
    """The steps, by class index; applied in the order of the fields. The background (0) has none.

    A hole is background that the class encloses on all sides (neighbours share an edge or face); a component is joined
    over corners, too. What is removed becomes background.
    """

    fill_holes: tuple[int, ...] = ()
    """Classes whose holes are filled; other classes inside them stay."""
    minimum_size: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """Class -> pixels or voxels of the smallest component that is kept."""
    largest_component: tuple[int, ...] = ()
    """Classes of which only the largest component is kept (of several equally large, the first)."""

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return bool(self.fill_holes or self.minimum_size or self.largest_component)

    def __call__(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask ``(H, W)`` or ``(D, H, W)`` of class indices after the steps; the one given stays as it is."""
        changed = mask.copy()
        self.apply_to(changed)
        return changed

    def scaled(self, factor: float) -> Postprocessing:
        """The same for masks with ``factor`` times as many pixels: minimum sizes grow with them."""
        if factor == 1:
            return self
        return replace(self, minimum_size={k: size * factor for k, size in self.minimum_size.items()})

    def apply_to(self, mask: NDArray[np.uint8]) -> None:
        """Change a mask ``(H, W)`` or ``(D, H, W)`` in place; memory is needed for the box around one class."""
        boxes = ndimage.find_objects(mask)
        for k in self.fill_holes:
            if k <= len(boxes) and boxes[k - 1] is not None:
                part = mask[boxes[k - 1]]
                part[_holes(part == k) & (part == 0)] = k
        for k in sorted({*self.minimum_size, *self.largest_component}):
            if k <= len(boxes) and boxes[k - 1] is not None:
                part = mask[boxes[k - 1]]  # filling holes does not make the box larger
                labels, sizes = _components(part == k)
                kept = sizes >= self.minimum_size.get(k, 0)
                if k in self.largest_component:
                    kept &= _only_largest(sizes)
                if not kept.all():
                    removed = np.append(False, ~kept)
                    for plane, of_plane in zip(part, labels, strict=True):  # one at a time: indices take 8 bytes each
                        plane[removed[of_plane]] = 0

    def describe(self, classes: Sequence[str]) -> tuple[str, ...]:
        """One phrase a step, with the names of its classes."""
        phrases = []
        if self.fill_holes:
            phrases.append(f"holes filled in {', '.join(classes[k] for k in self.fill_holes)}")
        phrases += [f"components of {classes[k]} below {size:g} removed" for k, size in self.minimum_size.items()]
        if self.largest_component:
            phrases.append(f"largest component kept of {', '.join(classes[k] for k in self.largest_component)}")
        return tuple(phrases)

    def to_json(self) -> dict[str, Any]:
        """The steps as JSON values, as ``model.json`` holds them; none: empty."""
        if not self:
            return {}
        return {
            "fill_holes": list(self.fill_holes),
            "minimum_size": {str(k): size for k, size in self.minimum_size.items()},
            "largest_component": list(self.largest_component),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Postprocessing:
        """What :meth:`to_json` gave, as a checked :class:`~glocal.models.weights.ModelRecord` holds it."""
        sizes = {int(k): size for k, size in value.get("minimum_size", {}).items()}
        lists = (tuple(value.get(name, ())) for name in ("fill_holes", "largest_component"))
        filled, largest = lists
        return cls(filled, MappingProxyType(sizes), largest)


@dataclass(frozen=True)
class Trial:
    """One step tried on one class: mean Dice over the cases before and after."""

    name: str
    """Of the class."""
    step: str
    before: float
    after: float
    better: int
    """Cases whose Dice rose."""
    worse: int
    kept: bool


@dataclass(frozen=True)
class Choice:
    """What :func:`choose_postprocessing` settled on, and what it tried."""

    postprocessing: Postprocessing
    trials: tuple[Trial, ...]
    cases: int


def choose_postprocessing(
    predictions: Iterable[NDArray[np.uint8]], truths: Iterable[NDArray[np.uint8]], classes: Sequence[str]
) -> Choice:
    """Choose the steps that help on validation cases; see :class:`Trials`.

    Args:
        predictions: Class indices ``(H, W)`` or ``(D, H, W)``; one is held at a time.
        truths: The same of the truth, in the same order. Never of test cases: numbers on them would be too good.
        classes: Names, the background first.

    Raises:
        ValueError: There are no cases, or a prediction and its truth differ in size.
    """
    trials = Trials(classes)
    for prediction, truth in zip(predictions, truths, strict=True):
        trials.add(prediction, truth)
    return trials.choose()


class Trials:
    """Steps tried on cases one by one, of which nothing but numbers is kept; then chosen, one step after the other.

    For each class by itself, in this order: filling holes, keeping the largest component, then (unless that was kept)
    the best of :data:`SIZES` as minimum. A step is kept if the mean over the cases of the Dice of the class rises by at
    least 0.001 and the Dice of more cases rises than falls. A case where prediction and truth are both empty counts
    as 1.

    Args:
        classes: Names, the background first.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._scores: list[list[dict[Step, float]]] = [[] for _ in classes[1:]]

    def add(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Try everything on one case: class indices ``(H, W)`` or ``(D, H, W)``.

        Raises:
            ValueError: Prediction and truth differ in size.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in size")
        for k, scores in enumerate(self._scores, 1):
            scores.append(_every_way(prediction, truth, k))

    def choose(self) -> Choice:
        """The steps that help.

        Raises:
            ValueError: There are no cases.
        """
        if not self._scores or not self._scores[0]:
            raise ValueError("no cases to choose post-processing on")
        filled, largest, trials = [], [], []
        minimum: dict[int, float] = {}
        for k, scores in enumerate(self._scores, 1):
            (fill, keep), tried = _settle(self._classes[k], scores)
            trials += tried
            if fill:
                filled.append(k)
            if keep == _LARGEST:
                largest.append(k)
            elif keep:
                minimum[k] = keep
        chosen = Postprocessing(tuple(filled), MappingProxyType(minimum), tuple(largest))
        return Choice(chosen, tuple(trials), len(self._scores[0]))


Step = tuple[bool, int]
"""Whether holes are filled; smallest size kept, 0 for all, or ``_LARGEST``."""

_LARGEST = -1


def _settle(name: str, cases: list[dict[Step, float]]) -> tuple[Step, list[Trial]]:
    current, trials = (False, 0), []

    def attempt(candidate: Step, step: str) -> None:
        nonlocal current
        old, new = (np.array([case[key] for case in cases]) for key in (current, candidate))
        better, worse = int((new > old).sum()), int((new < old).sum())
        kept = bool(new.mean() - old.mean() >= MARGIN and better > worse)
        trials.append(Trial(name, step, float(old.mean()), float(new.mean()), better, worse, kept))
        current = candidate if kept else current

    attempt((True, 0), "fill holes")
    attempt((current[0], _LARGEST), "largest component")
    if current[1] != _LARGEST:
        means = {size: np.mean([case[current[0], size] for case in cases]) for size in SIZES}
        size = max(SIZES, key=lambda size: means[size])  # the smallest of equals
        attempt((current[0], size), f"minimum size {size}")
    return current, trials


def _every_way(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], k: int) -> dict[Step, float]:
    """Dice of class ``k`` after every combination of steps, each component counted once."""
    true = int(np.count_nonzero(truth == k))
    box = _box(prediction == k)
    if box is None:
        empty = 1.0 if true == 0 else 0.0
        return {(fill, keep): empty for fill in (False, True) for keep in (0, _LARGEST, *SIZES)}
    area, inside = prediction[box] == k, truth[box] == k
    holes = _holes(area) & (prediction[box] == 0)
    found: dict[Step, float] = {}
    for fill in (False, True):
        if fill and not holes.any():
            found |= {(True, keep): dice for (_, keep), dice in found.items()}
            break
        labels, sizes = _components(area | holes if fill else area)
        hits = np.bincount(labels[inside], minlength=len(sizes) + 1)[1:]
        ways = {0: sizes > 0, _LARGEST: _only_largest(sizes), **{size: sizes >= size for size in SIZES}}
        for keep, kept in ways.items():
            total = int(sizes[kept].sum()) + true
            found[fill, keep] = 2 * float(hits[kept].sum()) / total if total else 1.0
    return found


def _box(area: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    found: list[tuple[slice, ...]] = ndimage.find_objects(area.view(np.uint8))
    return found[0] if found else None


def _components(area: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label of every component, from 1 (0 elsewhere), and how many pixels each has."""
    labels, count = ndimage.label(area, np.ones((3,) * area.ndim))
    sizes = sum((np.bincount(plane.ravel(), minlength=count + 1) for plane in labels), np.zeros(count + 1, np.int64))
    return labels, sizes[1:]


def _only_largest(sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    largest: NDArray[np.bool_] = np.arange(len(sizes)) == sizes.argmax()
    return largest


def _holes(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What ``area`` encloses: parts of its complement that touch no side of the array."""
    labels, count = ndimage.label(~area)
    outside = np.zeros(count + 1, bool)
    outside[0] = True
    for axis in range(area.ndim):
        for side in (0, -1):
            outside[labels.take(side, axis)] = True
    enclosed: NDArray[np.bool_] = np.stack([~outside[plane] for plane in labels])
    return enclosed
