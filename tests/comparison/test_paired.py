"""Paired tests and effect sizes: closed forms, SciPy, and inputs that leave nothing to test."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from glocal.comparison.paired import hodges_lehmann, holm, rank_biserial, sign_flip, signed_rank, standardised

NONE = np.array([])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.7, 0.8, 0.9]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


def test_holm_counts_only_tests_that_were_made() -> None:
    found = holm([0.01, math.nan, 0.04])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.04)


@pytest.mark.parametrize("n", [6, 30, 200])
def test_signed_rank_is_scipys(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.wilcoxon(d)
    assert signed_rank(d) == pytest.approx((expected.statistic, expected.pvalue))


def test_signed_rank_by_counting_all_patterns() -> None:
    d = np.array([0.3, -0.1, 0.7, 0.45, 0.9, 0.2])
    ranks = stats.rankdata(np.abs(d))
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=6)]
    seen = ranks[d < 0].sum()
    assert signed_rank(d) == pytest.approx((seen, 2 * np.mean(np.array(sums) <= seen)))


def test_differences_of_nothing_are_left_out_of_ranks() -> None:
    d = np.random.default_rng(0).normal(0.5, 1, 25)
    assert signed_rank(np.concatenate([d, np.zeros(7)])) == signed_rank(d)


def test_equal_models_and_no_units() -> None:
    assert signed_rank(np.zeros(9)) == (0.0, 1.0)
    assert all(math.isnan(value) for value in signed_rank(NONE))
    assert sign_flip(np.zeros(4), np.arange(4)) == (0.0, 1.0)
    assert all(math.isnan(value) for value in sign_flip(NONE, np.array([], np.intp)))
    assert rank_biserial(np.zeros(3)) == 0
    assert math.isnan(rank_biserial(NONE))
    assert math.isnan(standardised(np.full(5, 0.1)))
    assert math.isnan(standardised(np.array([0.3])))
    assert hodges_lehmann(np.zeros(8)) == (0.0, 0.0, 0.0)
    assert all(math.isnan(value) for value in hodges_lehmann(NONE))


def test_one_unit_shows_nothing() -> None:
    one = np.array([0.4])
    assert signed_rank(one)[1] == 1
    assert sign_flip(one, np.array([0]))[1] == 1
    estimate, low, high = hodges_lehmann(one)
    assert estimate == 0.4
    assert math.isnan(low)
    assert math.isnan(high)


def test_sign_flip_is_scipys_exact_permutation_test() -> None:
    d = np.random.default_rng(4).normal(0.4, 1, 11)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d, np.arange(11)) == pytest.approx((d.mean(), expected.pvalue))


def test_sign_flip_of_many_cases_is_near_the_t_test_and_repeats() -> None:
    d = np.random.default_rng(5).normal(0.15, 1, 120)
    found = sign_flip(d, np.arange(120))
    assert found[1] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.01)
    assert sign_flip(d, np.arange(120)) == found
    assert sign_flip(d + 3, np.arange(120))[1] == pytest.approx(1 / 20001)


def test_whole_clusters_are_flipped() -> None:
    d = np.array([0.5, 0.4, 0.6, 0.3, 0.5, 0.7])
    assert sign_flip(d, np.arange(6))[1] == pytest.approx(2 / 64)
    assert sign_flip(d, np.array([5, 5, 5, 9, 9, 9]))[1] == pytest.approx(2 / 4)


def test_rank_biserial_by_hand() -> None:
    assert rank_biserial(np.array([1.0, 2.0, -3.0, 4.0])) == pytest.approx((1 + 2 - 3 + 4) / 10)
    assert rank_biserial(np.array([0.1, 0.2, 0.0])) == 1
    assert rank_biserial(np.array([-0.1, -0.2])) == -1


def test_standardised_difference_by_hand() -> None:
    assert standardised(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 31, 90])
def test_hodges_lehmann_is_the_median_of_all_walsh_averages(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1, n).round(1)
    walsh = [(d[i] + d[j]) / 2 for i in range(n) for j in range(i, n)]
    assert hodges_lehmann(d)[0] == pytest.approx(np.median(walsh), abs=1e-9)


@pytest.mark.parametrize("n", [6, 12, 40, 100])
def test_its_interval_is_what_the_signed_rank_test_does_not_reject(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1, n)
    _, low, high = hodges_lehmann(d)
    for shift, rejected in ((low - 1e-6, True), (low + 1e-6, False), (high - 1e-6, False), (high + 1e-6, True)):
        p = stats.wilcoxon(d - shift, method="exact" if n <= 60 else "approx").pvalue
        assert bool(p <= 0.05) is rejected or (n > 60 and abs(p - 0.05) < 0.001)


def test_five_units_give_no_interval_of_95_per_cent_and_one_of_90() -> None:
    d = np.array([0.1, 0.2, 0.4, 0.5, 0.9])
    assert math.isnan(hodges_lehmann(d)[1])
    assert hodges_lehmann(d, 0.9)[1:] == pytest.approx((0.1, 0.9))
