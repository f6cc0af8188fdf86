"""Ranks of several models: SciPy, published critical values, ties, and shares that add up."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from glocal.comparison.costs import pareto
from glocal.comparison.ranking import cliques, critical_difference, rank_models, stability


def test_friedman_is_scipys_with_ties() -> None:
    values = np.random.default_rng(0).normal([0, 0.1, 0.4, 0.9], size=(40, 4)).round(1)
    found = rank_models(values)
    expected = stats.friedmanchisquare(*values.T)
    assert found is not None
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert sum(found.average) == pytest.approx(10)
    assert np.argmin(found.average) == 3


@pytest.mark.parametrize(("models", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_difference_by_the_table_of_demsar(models: int, q: float) -> None:
    assert critical_difference(models, 14) == pytest.approx(q * np.sqrt(models * (models + 1) / 84), rel=1e-3)


def test_cliques_are_the_largest_ones() -> None:
    assert cliques(np.array([3.0, 1.0, 1.5, 4.5]), 1.5) == ((1, 2), (2, 0), (0, 3))
    assert cliques(np.array([1.0, 2.0, 3.0]), 2.0) == ((0, 1, 2),)
    assert cliques(np.array([1.0, 2.0, 3.0]), 0.5) == ()


def test_equal_models_are_one_clique() -> None:
    found = rank_models(np.ones((9, 3)))
    assert found is not None
    assert found.average == (2.0, 2.0, 2.0)
    assert (found.p, found.cliques) == (1.0, ((0, 1, 2),))


def test_two_models_or_one_unit_have_no_ranks_and_nan_is_left_out() -> None:
    assert rank_models(np.ones((9, 2))) is None
    assert rank_models(np.ones((1, 3))) is None
    values = np.random.default_rng(1).normal(size=(20, 3))
    gaps = np.concatenate([values, [[np.nan, 1.0, 2.0]]])
    assert rank_models(gaps) == rank_models(values)


def test_stability_by_hand() -> None:
    draws = np.array([[0.9, 0.5, 0.1], [0.9, 0.95, 0.1], [0.7, 0.7, 0.1], [np.nan, 1.0, 1.0]])
    expected = np.array([[1.5, 1.5, 0], [1.5, 1.5, 0], [0, 0, 3]]) / 3
    assert stability(draws) == pytest.approx(expected)
    assert np.isnan(stability(np.full((3, 2), np.nan))).all()


def test_identical_models_share_every_rank() -> None:
    assert stability(np.ones((5, 4))) == pytest.approx(np.full((4, 4), 0.25))


def test_pareto_front_by_hand() -> None:
    costs = [1.0, 2.0, 3.0, 2.0, None, 1.0]
    scores = [0.5, 0.7, 0.7, 0.6, 0.9, float("nan")]
    assert pareto(costs, scores) == (True, True, False, False, False, False)
    assert pareto([1.0, 1.0], [0.5, 0.5]) == (True, True)
