"""Are the probabilities of a classifier true? Temperature scaling, reliability, expected calibration error.

Legend: N cases, K classes, B bins.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from glocal.errors import UserError

__all__ = [
    "BINS",
    "TEMPERATURES",
    "Reliability",
    "expected_calibration_error",
    "fit_temperature",
    "log_loss",
    "probabilities",
    "reliability",
]

FloatArray = NDArray[np.float64]

TEMPERATURES = (0.01, 100.0)
"""Lowest and highest temperature that :func:`fit_temperature` gives."""

BINS = 15
"""Of the confidence, unless told otherwise (as Guo et al., 2017)."""

_log = logging.getLogger("glocal")


def probabilities(logits: NDArray[Any], temperature: float = 1.0, *, multi_label: bool = False) -> FloatArray:
    """Turn logits into probabilities.

    Args:
        logits: ``(…, K)``.
        temperature: T, above 0.
        multi_label: Each class for itself.

    Returns:
        float64 ``(…, K)``: softmax(logits / T), or sigmoid(logits / T) for ``multi_label``.

    Example:
        >>> probabilities(np.log([[1.0, 3.0]]))
        array([[0.25, 0.75]])
    """
    scaled = np.asarray(logits, np.float64) / temperature
    return np.asarray(expit(scaled) if multi_label else softmax(scaled, axis=-1), np.float64)


def log_loss(
    logits: NDArray[Any], truth: NDArray[Any], temperature: float = 1.0, *, multi_label: bool = False
) -> FloatArray:
    """Return the negative log-likelihood of each case, finite for finite logits, however sure and wrong.

    Args:
        logits: ``(N, K)``.
        truth: Class indices ``(N,)``, or 0 and 1 ``(N, K)`` for ``multi_label``.
        temperature: T, above 0.
        multi_label: Sigmoid for each class in place of the softmax; the mean over the classes of a case.

    Returns:
        float64 ``(N,)``, in nats.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    if multi_label:
        sign = 1 - 2 * np.asarray(truth, np.float64)
        return np.asarray(np.logaddexp(0, sign * scaled).mean(axis=1), np.float64)
    return np.asarray(-log_softmax(scaled, axis=1)[np.arange(len(scaled)), np.asarray(truth)], np.float64)


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any], *, multi_label: bool = False) -> float:
    """Find the temperature under which the true classes are likeliest (Guo et al., 2017, section 4.2).

    The mean negative log-likelihood is convex in 1/T. It has no lowest point where every case is right (T → 0): then
    the temperature stays 1. Otherwise the lowest point within :data:`TEMPERATURES` is returned; both exceptions are
    logged. A temperature changes no ranking of the classes of a case, so no prediction.

    Args:
        logits: ``(N, K)``, of validation cases.
        truth: Class indices ``(N,)``, or 0 and 1 ``(N, K)`` for ``multi_label``.
        multi_label: Probabilities are sigmoids.

    Returns:
        T, by which logits are to be divided; above 1 where the network is surer than it is right.

    Raises:
        UserError: There is no case, a logit is not finite, or ``truth`` does not fit the logits.

    Example:
        >>> fit_temperature(np.log([[3.0, 1.0]] * 4), np.array([0, 0, 0, 1]))  # 3 of 4 right at 75 %
        1.0
    """
    z, y = _check(logits, truth, multi_label)
    right = ((2 * y - 1) * z >= 0).all() if multi_label else (z[np.arange(len(z)), y] >= z.max(axis=1)).all()
    if right:
        _log.warning("no validation case is classified wrong: no temperature can be fitted to them, it stays 1")
        return 1.0
    found = minimize_scalar(
        lambda t: log_loss(z, y, math.exp(t), multi_label=multi_label).mean(),
        bounds=[math.log(end) for end in TEMPERATURES],
        method="bounded",
        options={"xatol": 1e-8},
    )
    temperature = math.exp(found.x)
    for end in TEMPERATURES:
        if abs(math.log(temperature / end)) < 1e-3:
            _log.warning(
                "the temperature fitted on the validation cases lies at the end of its range, %g: "
                "the probabilities say little about what is right",
                end,
            )
            return end
    return float(round(temperature, 6))


def _check(logits: NDArray[Any], truth: NDArray[Any], multi_label: bool) -> tuple[FloatArray, NDArray[np.int64]]:
    z, y = np.asarray(logits, np.float64), np.asarray(truth)
    if z.ndim != 2 or z.size == 0:
        raise UserError(f"a temperature is fitted to logits (N, K) of one case or more, got {z.shape}")
    if not np.isfinite(z).all():
        case = int(np.argwhere(~np.isfinite(z))[0, 0])
        raise UserError(f"validation case {case}: a logit is not finite; no temperature can be fitted to this network")
    wanted = z.shape if multi_label else z.shape[:1]
    highest = 1 if multi_label else z.shape[1] - 1
    if y.shape != wanted or not np.isin(y, np.arange(highest + 1)).all():
        raise UserError(f"the truth beside logits {z.shape} is {wanted} whole numbers in 0 … {highest}, got {y.shape}")
    return z, y.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what was said with a confidence came true, by bins of the confidence.

    Attributes:
        edges: ``(B + 1,)``, 0 … 1; a bin holds its upper edge (and the first one 0).
        count: Statements in each bin, ``(B,)``.
        confidence: Mean confidence in each bin, ``(B,)``, NaN where there is none.
        accuracy: Fraction that came true in each bin, ``(B,)``, NaN where there is none.
    """

    edges: FloatArray
    count: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def error(self) -> float:
        """ECE: mean over the statements of the distance of their bin's accuracy from its confidence; NaN for none."""
        gaps = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float(gaps @ self.count / self.count.sum()) if self.count.sum() else math.nan


def bin_index(confidence: FloatArray, bins: int = BINS) -> NDArray[np.intp]:
    """Return the index of the equal-width bin of each confidence in [0, 1], any shape."""
    return np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)


def reliability(confidence: NDArray[Any], correct: NDArray[Any], bins: int = BINS) -> Reliability:
    """Compare confidence with success, in bins of equal width.

    Args:
        confidence: Probabilities with which something was said, any shape: of the predicted class of each case, or (for
            several labels) of each label being there.
        correct: Whether it was so, same shape.
        bins: B.
    """
    said, was = np.ravel(np.asarray(confidence, np.float64)), np.ravel(np.asarray(correct, np.float64))
    index = bin_index(said, bins)
    count = np.bincount(index, minlength=bins)
    means = []
    for values in (said, was):
        mean = np.full(bins, np.nan)
        np.divide(np.bincount(index, values, bins), count, out=mean, where=count > 0)
        means.append(mean)
    return Reliability(np.linspace(0, 1, bins + 1), count, *means)


def expected_calibration_error(
    probability: NDArray[Any], truth: NDArray[Any], *, multi_label: bool = False, bins: int = BINS
) -> float:
    """Return the expected calibration error of the top label (Naeini et al., 2015; Guo et al., 2017, equation 3).

    Args:
        probability: ``(N, K)``.
        truth: Class indices ``(N,)``, or 0 and 1 ``(N, K)`` for ``multi_label``.
        multi_label: Compare, over all cases and labels, the probability of a label with how often it is there.
        bins: Of equal width.

    Example:
        >>> expected_calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    if multi_label:
        return reliability(probability, truth, bins).error
    return reliability(probability.max(axis=1), probability.argmax(axis=1) == truth, bins).error
