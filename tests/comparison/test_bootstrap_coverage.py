"""The intervals of means hold the true mean as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.evaluation.statistics import Bootstrap

SETS = 1500


def _share(values: NDArray[np.float64], groups: list[str | None], mean: float) -> float:
    ends = Bootstrap.over(groups, resamples=800).means(values)
    return float(((ends[:, 0] <= mean) & (mean <= ends[:, 1])).mean())


@pytest.mark.parametrize("n", [50, 100])
@pytest.mark.parametrize("missed", [0.0, 0.1])
def test_95_per_cent_of_skewed_dice(n: int, missed: float) -> None:
    random = np.random.default_rng(7)
    values = random.beta(8, 1.6, (n, SETS)) * (random.random((n, SETS)) >= missed)
    assert 0.93 <= _share(values, [None] * n, (1 - missed) * 8 / 9.6) <= 0.97


def test_95_per_cent_of_patients_with_several_images_and_far_fewer_if_they_are_ignored() -> None:
    random = np.random.default_rng(8)
    images = random.integers(1, 11, 50)
    middle = np.repeat(np.clip(random.beta(6, 1.5, (50, SETS)), 1e-3, 1 - 1e-3), images, axis=0)
    values = random.beta(20 * middle, 20 * (1 - middle))
    groups: list[str | None] = [f"patient {patient}" for patient in np.repeat(np.arange(50), images)]
    assert 0.93 <= _share(values, groups, 0.8) <= 0.97
    assert _share(values, [None] * len(values), 0.8) < 0.75


def test_few_skewed_cases_are_covered_better_than_by_percentiles() -> None:
    random = np.random.default_rng(9)
    values = random.lognormal(1.0, 0.8, (12, SETS))
    mean = float(np.exp(1.0 + 0.32))
    bootstrap = Bootstrap.over([None] * 12, resamples=800)
    means = np.concatenate([weights.T @ values / 12 for weights in bootstrap.case_weights()])
    plain = bootstrap.interval(means)
    percentile = float(((plain[:, 0] <= mean) & (mean <= plain[:, 1])).mean())
    assert _share(values, [None] * 12, mean) > percentile + 0.03


def test_the_studentised_interval_by_hand() -> None:
    """Ends are mean − t·se, with t the quantiles of (resampled mean − mean) / its own standard error,
    which counts at least half that of all cases.
    """
    values = np.array([0.1, 0.5, 0.6, 0.9, 0.95, 0.97])
    bootstrap = Bootstrap.over([None] * 6, resamples=400, seed=3)
    whole = values.std() / np.sqrt(6)
    t = []
    for drawn in np.random.default_rng(3).multinomial(6, [1 / 6] * 6, size=400):
        sample = np.repeat(values, drawn)
        t.append((sample.mean() - values.mean()) / max(sample.std() / np.sqrt(6), 0.5 * whole))
    low, high = np.percentile(t, [2.5, 97.5])
    expected = np.clip([values.mean() - high * whole, values.mean() - low * whole], 0.1, 0.97)
    assert bootstrap.means(values[:, None])[0] == pytest.approx(expected)


def test_one_outlier_does_not_stretch_the_interval_over_the_whole_range() -> None:
    values = np.append(np.random.default_rng(0).normal(0.95, 0.005, 39), 0.0)
    low, high = Bootstrap.over([None] * 40).means(values[:, None])[0]
    error = values.std(ddof=1) / np.sqrt(40)
    assert 0.8 < low < values.mean() - 1.5 * error
    assert high <= values.max()
