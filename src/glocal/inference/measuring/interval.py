"""How far the angle moves with what a network leaves open: its outlines at several thresholds, in several views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from glocal.biometry import measure_aop
from glocal.errors import UserError
from glocal.inference.prediction import Prediction
from glocal.inference.predictor import Predictor
from glocal.inference.tta import choose_views

__all__ = ["THRESHOLDS", "AopInterval", "Spread", "aop_interval", "structures_of", "views_of"]

Spread: TypeAlias = Literal["thresholds", "views", "none"]
"""What is varied: outlines at :data:`THRESHOLDS`; these in every view of :func:`views_of`; nothing."""

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities of foreground against background at which outlines are drawn; 0.5 is the mask itself."""
_GAMMAS = (0.8, 1.25)


@dataclass(frozen=True)
class AopInterval:
    """The range of AoP over variants of one mask. No confidence interval: nothing says how often it holds the truth.

    Attributes:
        low: Smallest AoP in degrees; ``None`` if no variant could be measured.
        high: Largest.
        measured: Variants with an AoP.
        variants: All of them.
    """

    low: float | None
    high: float | None
    measured: int
    variants: int


def aop_interval(
    probabilities: Sequence[NDArray[np.float32]], classes: tuple[int, int], aop: float | None, **options: Any
) -> AopInterval:
    """Measure the outlines at every threshold in every view.

    At threshold t a pixel is foreground where its likeliest structure has t / (1 − t) times the probability of the
    background.

    Args:
        probabilities: ``(K, H, W)`` of each view, aligned; class 0 is the background.
        classes: Indices of symphysis and head.
        aop: Of the mask itself, which the interval includes.
        **options: As :func:`glocal.biometry.measure_aop`.
    """
    found = [] if aop is None else [aop]
    variants = measured = 0
    for view in probabilities:
        likeliest = view[1:].argmax(axis=0).astype(np.uint8) + 1
        ratio = view[1:].max(axis=0) / np.maximum(view[0], 1e-12)
        for threshold in THRESHOLDS:
            mask = np.where(ratio > threshold / (1 - threshold), likeliest, 0)
            value = measure_aop(mask, symphysis=classes[0], head=classes[1], **options).aop
            variants += 1
            if value is not None:
                measured += 1
                found.append(value)
    return AopInterval(min(found, default=None), max(found, default=None), measured, variants)


def views_of(predictor: Predictor, prediction: Prediction, spread: Spread) -> Iterator[NDArray[np.float32]]:
    """Probabilities ``(K, H, W)`` of one image as the network sees it from several sides, all turned back.

    ``"views"``: the image, its flips (those that training had), and the image at gamma 0.8 and 1.25.
    """
    yield prediction.probabilities
    if spread != "views":
        return
    pixels = prediction.picture.pixels
    for upside_down, mirrored in _flips(predictor.record.manifest):
        order = np.s_[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
        yield predictor(np.ascontiguousarray(pixels[order])).probabilities[(slice(None), *order)]
    top = float(np.iinfo(pixels.dtype).max)
    for gamma in _GAMMAS:
        curved = np.rint(top * (pixels / top) ** gamma).astype(pixels.dtype)
        yield predictor(curved).probabilities


def _flips(manifest: Mapping[str, Any]) -> list[tuple[bool, bool]]:
    """Whether top and bottom, left and right are exchanged in each view but the first."""
    try:
        views = choose_views(True, manifest)
    except UserError:  # trained without flips
        return []
    return [(turns == 2, mirrored != (turns == 2)) for turns, mirrored in views if (turns, mirrored) != (0, False)]


def structures_of(classes: Sequence[str]) -> tuple[tuple[int, int], str | None]:
    """Indices of symphysis and head among the classes of a network, and a note where the names do not say it.

    Raises:
        UserError: It has not three classes.
    """
    if len(classes) != 3:
        raise UserError(
            f"the network knows {len(classes)} classes ({', '.join(classes)}), and biometry needs background, pubic "
            "symphysis and fetal head; name another run"
        )
    names = [name.lower() for name in classes]
    bones = [k for k, name in enumerate(names) if k and ("symph" in name or name == "ps")]
    heads = [k for k, name in enumerate(names) if k and ("head" in name or name == "fh")]
    if len(bones) == len(heads) == 1 and bones != heads:
        return (bones[0], heads[0]), None
    return (1, 2), f"class 1 ({classes[1]}) is taken for the symphysis and class 2 ({classes[2]}) for the head"
