"""Sequences: every frame measured, outliers and gaps of the smoothed curve, the frame of the largest angle."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.biometry import measure_cine, smooth
from glocal.data.phantom import generate_case
from glocal.errors import UserError


def test_straight_lines_stay_as_they_are() -> None:
    line = 90 + 0.7 * np.arange(30)
    np.testing.assert_allclose(smooth(line), line, atol=1e-9)


def test_an_outlier_does_not_move_the_curve() -> None:
    rng = np.random.default_rng(0)
    truth = 100 + 20 * np.sin(np.arange(60) / 12)
    noisy = truth + rng.normal(0, 0.5, 60)
    noisy[20] += 60
    curve = smooth(noisy)
    assert np.abs(curve - truth).max() < 2
    assert np.abs(curve - truth).mean() < np.abs(np.delete(noisy - truth, 20)).mean()


def test_gaps_stay_and_small_ones_are_bridged() -> None:
    values = 100 + np.arange(40.0)
    values[[5, 6]] = np.nan
    values[15:30] = np.nan
    curve = smooth(values, 9)
    np.testing.assert_allclose(curve[[5, 6]], [105, 106], atol=1e-9)
    assert np.isnan(curve[17:28]).all()
    assert np.isfinite(curve[:14]).all()
    assert np.isfinite(curve[31:]).all()


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [101.0], [100.0, np.nan, 100.0]])
def test_short_sequences(values) -> None:
    assert smooth(values).shape == (len(values),)


def test_frames_of_a_sequence() -> None:
    masks = [generate_case(0, size=128).mask.copy() for _ in range(5)]
    masks[1] = np.roll(masks[1], 3, 0)
    masks[2][:] = 0
    masks[3][masks[3] == 1] = 0
    other = generate_case(1, size=128).mask
    cine = measure_cine(iter([*masks, other]), window=3)
    assert np.isnan(cine.aop).tolist() == [False, False, True, True, False, False]
    assert cine.largest == int(np.nanargmax(cine.aop))
    assert cine.frames[2].reasons == ("no_symphysis", "no_head")


def test_nothing_measurable_has_no_best_frame() -> None:
    cine = measure_cine(np.zeros((3, 20, 20), np.uint8))
    assert cine.largest is None
    assert cine.largest_smoothed is None


def test_unusable_arguments() -> None:
    with pytest.raises(UserError, match="no frame"):
        measure_cine([])
    with pytest.raises(UserError, match="odd number"):
        measure_cine(np.zeros((3, 20, 20), np.uint8), window=4)
