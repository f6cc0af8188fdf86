"""Statistics over cases and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.evaluation import statistics
from glocal.evaluation.metrics import overlap_metrics
from glocal.evaluation.statistics import Bootstrap, describe


def test_description_by_hand() -> None:
    found = describe(np.array([1.0, 2.0, np.nan, 3.0, 10.0]))
    assert found == pytest.approx(
        {
            "n": 4,
            "n_undefined": 1,
            "mean": 4.0,
            "sd": np.sqrt((9 + 4 + 1 + 36) / 3),
            "median": 2.5,
            "q1": 1.75,
            "q3": 4.75,
            "iqr": 3.0,
            "min": 1.0,
            "max": 10.0,
        }
    )
    assert describe(np.array([np.nan]))["mean"] is None
    assert describe(np.array([5.0]))["sd"] is None


def test_the_interval_of_many_independent_cases_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(5, 2, (500, 1))
    low, high = Bootstrap.over([None] * 500, resamples=4000).means(values)[0]
    half = 1.96 * values.std(ddof=1) / np.sqrt(500)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.08 * half)


def test_wider_confidence_gives_a_wider_interval_and_the_seed_decides_it() -> None:
    values = np.random.default_rng(1).random((40, 1))
    widths = [
        np.diff(Bootstrap.over([None] * 40, confidence=confidence).means(values)[0]) for confidence in (0.5, 0.9, 0.99)
    ]
    assert widths[0] < widths[1] < widths[2]
    first, again, other = (Bootstrap.over([None] * 40, seed=seed).means(values) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_copies_within_a_group_add_no_certainty() -> None:
    values = np.random.default_rng(2).random((30, 1))
    alone = Bootstrap.over([None] * 30).means(values)
    names = [f"patient {index}" for index in range(30) for _ in range(5)]
    grouped = Bootstrap.over(names).means(np.repeat(values, 5, axis=0))
    blind = Bootstrap.over([None] * 150).means(np.repeat(values, 5, axis=0))
    assert grouped == pytest.approx(alone)
    assert np.diff(blind[0]) < 0.6 * np.diff(grouped[0])


def test_cases_without_a_group_stand_alone() -> None:
    assert Bootstrap.over(["a", None, "a", None, "0"]).clusters.tolist() == [0, 1, 0, 2, 3]


def test_undefined_values_are_left_out_and_too_few_give_no_interval() -> None:
    values = np.array([[0.2, np.nan, np.nan], [0.8, 0.5, np.nan], [np.nan, np.nan, np.nan]])
    ends = Bootstrap.over([None] * 3).means(values)
    assert 0.2 <= ends[0, 0] <= 0.5 <= ends[0, 1] <= 0.8
    assert np.isnan(ends[1:]).all()
    assert np.isnan(Bootstrap.over(["a", "a"]).means(np.array([[0.0], [1.0]]))).all()


def test_equal_values_give_an_interval_of_no_width() -> None:
    assert Bootstrap.over([None] * 7).means(np.full((7, 1), 0.1)).tolist() == [[0.1, 0.1]]


def test_the_number_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    values = random.random((20, 3))
    counts = np.sort(random.integers(1, 50, (20, 2, 3)), axis=2)
    pixels = np.full(20, 200)
    whole = Bootstrap.over([None] * 20)
    means, pooled = whole.means(values), whole.pooled(counts, pixels)
    monkeypatch.setattr(statistics, "_CHUNK_VALUES", 100)
    assert np.array_equal(whole.means(values), means)
    assert all(np.array_equal(value, pooled[name]) for name, value in whole.pooled(counts, pixels).items())


def test_pooled_intervals_are_those_of_resampled_totals() -> None:
    random = np.random.default_rng(5)
    counts = np.sort(random.integers(1, 50, (12, 2, 3)), axis=2)
    pixels = np.full(12, 200)
    bootstrap = Bootstrap.over([None] * 12, resamples=300, seed=9)
    drawn = np.random.default_rng(9).multinomial(12, [1 / 12] * 12, size=300)
    naive = [
        float(overlap_metrics(sum(times * case for times, case in zip(row, counts, strict=True)), 2400)["dice"].mean())
        for row in drawn
    ]
    assert bootstrap.pooled(counts, pixels)["dice"][3] == pytest.approx(np.percentile(naive, [2.5, 97.5]))
