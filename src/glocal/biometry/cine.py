"""A sequence of frames: every frame measured, a robust curve through the angles, the frame of the largest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glocal.biometry.ellipse import Floats
from glocal.biometry.measurement import Measurement
from glocal.biometry.measuring import measure_aop
from glocal.errors import UserError

__all__ = ["WINDOW", "CineMeasurement", "measure_cine", "smooth"]

WINDOW = 9
"""Frames of :func:`smooth` unless told otherwise."""
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class CineMeasurement:
    """The frames of a sequence.

    Attributes:
        frames: One measurement a frame, in order.
        smoothed: AoP in degrees after :func:`smooth`, ``(T,)``; NaN in gaps.
        window: Of the smoothing, in frames.
    """

    frames: tuple[Measurement, ...]
    smoothed: Floats
    window: int

    @classmethod
    def of(cls, frames: Sequence[Measurement], window: int = WINDOW) -> CineMeasurement:
        """The curve through frames that are measured already.

        Raises:
            UserError: There is no frame, or ``window`` is no odd number from 3.
        """
        if not frames:
            raise UserError("there is no frame to measure; give masks (T, H, W)")
        angles = [math.nan if frame.aop is None else frame.aop for frame in frames]
        return cls(tuple(frames), smooth(angles, window), window)

    @property
    def aop(self) -> Floats:
        """AoP of each frame in degrees, ``(T,)``; NaN where it was not measurable."""
        return np.array([math.nan if frame.aop is None else frame.aop for frame in self.frames])

    @property
    def largest(self) -> int | None:
        """The frame of the largest AoP, the first of equal ones, counted from 0; ``None`` if there is none."""
        return _argmax(self.aop)

    @property
    def largest_smoothed(self) -> int | None:
        """The measured frame where the smoothed curve is highest, which no single bad mask moves; or ``None``."""
        return _argmax(np.where(np.isnan(self.aop), math.nan, self.smoothed))


def measure_cine(masks: Iterable[NDArray[Any]], *, window: int = WINDOW, **options: Any) -> CineMeasurement:
    """Measure every frame of a sequence.

    Args:
        masks: Label maps ``(H, W)`` in order of time; a generator, or an array ``(T, H, W)``.
        window: Of :func:`smooth`, in frames.
        **options: As :func:`glocal.biometry.measure_aop`.

    Raises:
        UserError: There is no frame, ``window`` is no odd number from 3, or as :func:`glocal.biometry.measure_aop`.
    """
    _check(window)
    return CineMeasurement.of([measure_aop(mask, **options) for mask in masks], window)


def smooth(values: ArrayLike, window: int = WINDOW) -> Floats:
    """Robust local straight lines (LOWESS; Cleveland, J. Am. Stat. Assoc. 1979; 74:829) over a fixed window.

    Every point is the value at its centre of the line that fits the frames of the window, weighted by the tricube of
    their distance and, in three rounds, by Tukey's bisquare of their residual over six median absolute residuals. At
    the ends the window is cut. A point with fewer than half the window's frames measured around it is NaN: gaps stay.

    Args:
        values: ``(T,)``, NaN for what was not measured.
        window: Frames of the window, an odd number from 3.

    Returns:
        ``(T,)``.

    Raises:
        UserError: ``window`` is no odd number from 3.
    """
    _check(window)
    known = np.asarray(values, np.float64)
    curve = np.full_like(known, math.nan)
    if not known.size:
        return curve
    half = window // 2
    offsets = np.arange(-half, half + 1)
    padded = np.pad(known, half, constant_values=math.nan)
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, window)
    seen = ~np.isnan(neighbours)
    in_cine = np.convolve(np.ones(len(known)), np.ones(window))[half : half + len(known)]
    near = (1 - np.abs(offsets / (half + 1)) ** 3) ** 3 * seen
    trust = np.ones_like(known)
    filled = np.where(seen, neighbours, 0.0)
    enough = (2 * seen.sum(axis=1) >= in_cine) & seen.any(axis=1)
    for _ in range(_ROUNDS + 1):
        weights = near * np.lib.stride_tricks.sliding_window_view(np.pad(trust, half), window)
        curve = np.where(enough, _lines(offsets, filled, weights), math.nan)
        residuals = np.abs(known - curve)
        scale = 6 * np.nanmedian(residuals) if np.isfinite(residuals).any() else 0.0
        if not scale > 1e-9:
            break
        trust = np.clip(1 - np.nan_to_num(residuals / scale) ** 2, 0.0, None) ** 2
    return curve


def _lines(offsets: NDArray[np.int64], values: Floats, weights: Floats) -> Floats:
    """Value at offset 0 of the line through each row ``(T, window)``; the weighted mean where none is determined."""
    total = weights.sum(axis=1)
    first, second = weights @ offsets, weights @ offsets**2
    level, tilt = (weights * values).sum(axis=1), (weights * values) @ offsets
    spread = total * second - first**2
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = np.where(spread > 1e-9, (second * level - first * tilt) / spread, level / total)
    return value


def _argmax(values: Floats) -> int | None:
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def _check(window: int) -> None:
    if window < 3 or window % 2 == 0:
        raise UserError(f"window {window} must be an odd number of frames from 3")
