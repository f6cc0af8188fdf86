"""What a published evaluation is, to compare with its tables: one :class:`Preset` each, in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.cases import EvaluatedCase
from glocal.evaluation.surface import FloatArray

__all__ = ["Figure", "Preset"]


@dataclass(frozen=True)
class Figure:
    """One number of a published evaluation.

    Attributes:
        name: As the publication prints it, with a suffix where we offer several readings of one name.
        value: A fraction, not per cent, a distance or an angle; NaN where it is undefined.
        unit: ``""``, ``"px"``, ``"mm"`` or ``"°"``.
        definition: How it is computed here, with what happens to undefined values.
        n: Cases that went into it; of a mean over classes, classes.
        n_undefined: Those left out of it.
    """

    name: str
    value: float
    unit: str
    definition: str
    n: int
    n_undefined: int = 0


@dataclass(frozen=True)
class Preset:
    """How a publication evaluates.

    Attributes:
        name: As given.
        source: Publication, and where its evaluation is described.
        resolution: Height and width at which it evaluates, ``None`` for the original; the caller resizes.
        measure: ``(case, number of classes)`` → the numbers that pixel counts do not give, of the same names for every
            case.
        figures: ``(confusion (K, K) of all cases pooled, those numbers by name, each (cases,))`` → published metrics.
        remarks: What a reader must know before comparing.
        resizing: How predictions are made for it. ``"scores"``: as ever, the image bilinear, the scores back, then the
            highest wins. ``"spline"``: the image by a cubic spline, the highest wins, that mask back to the nearest.
        volumes: Whether it measures volumes ``(D, H, W)``, too.
    """

    name: str
    source: str
    resolution: tuple[int, int] | None
    measure: Callable[[EvaluatedCase, int], dict[str, float]]
    figures: Callable[[NDArray[np.int64], Mapping[str, FloatArray]], list[Figure]]
    remarks: tuple[str, ...] = ()
    resizing: Literal["scores", "spline"] = "scores"
    volumes: bool = False
