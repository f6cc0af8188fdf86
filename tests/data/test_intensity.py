"""Values of volumes come to [0, 1] by limits that are exact, read in pieces and kept in JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from glocal.data.intensity import Intensity, percentiles
from glocal.errors import UserError


class Stored:
    """A volume in memory."""

    path = Path("scan.nii.gz")

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = self.values.dtype

    def slices(self):
        return iter(self.values)


def volume(seed=0, kind=np.int16):
    values = np.random.default_rng(seed).normal(0, 400, (5, 7, 9))
    return Stored(values.astype(kind))


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.uint8])
@pytest.mark.parametrize("percents", [(0.5, 99.5), (0, 100), (25, 50)])
def test_percentiles_in_pieces_are_those_of_the_whole(kind, percents):
    stored = volume(kind=kind)
    found = percentiles(lambda: stored.slices(), percents)
    np.testing.assert_allclose(found, np.percentile(stored.values.astype(np.float64), percents), rtol=1e-6, atol=1e-6)


def test_one_enormous_value_does_not_coarsen_the_others():
    values = np.linspace(0, 1, 1000, dtype=np.float32)
    values[-1] = 1e30
    np.testing.assert_allclose(percentiles(lambda: [values], [50]), np.percentile(values, 50), rtol=1e-6)


def test_limits_of_every_kind():
    stored = volume()
    values = stored.values.astype(float)
    assert Intensity("window", -125, 275).limits(stored) == (-125, 275)
    assert Intensity("full").limits(stored) == (values.min(), values.max())
    assert Intensity("full").limits(Stored(np.full((2, 3, 3), 7, np.uint8))) == (0, 255)
    mean, deviation = values.mean(), values.std()
    expected = (mean - 2 * deviation, mean + 3 * deviation)
    np.testing.assert_allclose(Intensity("zscore", -2, 3).limits(stored), expected, rtol=1e-9)
    np.testing.assert_allclose(Intensity("percentiles").limits(stored), np.percentile(values, [0.5, 99.5]), rtol=1e-6)


def test_unit_is_linear_between_the_limits_and_clipped_beyond():
    found = Intensity("window", -100, 300).unit(np.array([-1024, -100, 100, 300, 3000], np.int16), (-100, 300))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=1e-7)
    assert Intensity().unit(np.array([5, 5]), (5, 5)).tolist() == [0, 0], "a constant volume is no division by zero"


@pytest.mark.parametrize("given", [("full", None, None), ("window", -125.0, 275.0), ("percentiles", 1.0, 99.0)])
def test_what_is_written_is_read(given):
    intensity = Intensity(*given)
    assert Intensity.from_json(json.loads(json.dumps(intensity.to_json()))) == intensity


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"kind": "gamma"},
        {"kind": "window"},
        {"kind": "window", "low": 3, "high": 3},
        {"kind": "window", "low": float("nan"), "high": 1},
        {"kind": "percentiles", "low": -1, "high": 101},
        {"kind": "full", "low": 0, "high": 1},
        {"kind": "window", "low": "0", "high": 1},
        {"kind": "window", "low": 0, "high": 1, "gamma": 2},
    ],
)
def test_what_makes_no_sense_is_refused(value):
    with pytest.raises(ValueError, match="intensity"):
        Intensity.from_json(value)


def test_a_volume_with_nan_is_named():
    values = np.zeros((2, 3, 3), np.float32)
    values[1, 0, 0] = np.nan
    with pytest.raises(UserError, match=r"^scan\.nii\.gz: holds NaN"):
        Intensity("percentiles").limits(Stored(values))
