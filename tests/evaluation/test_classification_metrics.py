"""Metrics of classifiers: by hand, against scikit-learn, under permutation and relabelling, resampled."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glocal.evaluation import statistics
from glocal.evaluation.calibration import expected_calibration_error
from glocal.evaluation.classification_metrics import BY_CLASS, OVERALL, Sample, intervals, measure
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.statistics import Bootstrap

Found = dict[tuple[str, str], Any]


def one_label(logits: Any, truth: Any, temperature: float = 1.0) -> Sample:
    logits = np.asarray(logits, np.float64)
    return Sample(logits, np.arange(logits.shape[1]) == np.asarray(truth)[:, None], False, temperature)


def estimate(sample: Sample) -> Found:
    return {key: values[0] for key, values in measure(sample, np.ones((len(sample.truth), 1))).items()}


def random_sample(seed: int, multi_label: bool = False, ties: bool = True) -> Sample:
    """Also samples in which classes are missing from the truth or the predictions, and scores that tie."""
    random = np.random.default_rng(seed)
    cases, classes = int(random.integers(2, 60)), int(random.integers(2, 6))
    logits = random.normal(0, 2, (cases, classes))
    if ties and seed % 3 == 0:
        logits = np.round(logits)
    if multi_label:
        return Sample(logits, random.random(logits.shape) < random.random(classes), True, 1.0)
    return one_label(logits, random.choice(classes, cases, p=random.dirichlet(np.full(classes, 0.7))), 1.5)


def test_three_classes_by_hand() -> None:
    # rows true, columns predicted: [[2, 1, 0], [0, 1, 1], [1, 0, 3]]
    truth = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    predicted = [0, 0, 1, 1, 2, 0, 2, 2, 2]
    found = estimate(one_label(np.eye(3)[predicted], truth))
    assert found["overall", "accuracy"] == 6 / 9
    assert found["overall", "balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 3 / 4) / 3)
    assert found["per_class", "precision"] == pytest.approx([2 / 3, 1 / 2, 3 / 4])
    assert found["per_class", "recall"] == pytest.approx([2 / 3, 1 / 2, 3 / 4])
    assert found["per_class", "specificity"] == pytest.approx([5 / 6, 6 / 7, 4 / 5])
    assert found["per_class", "f1"] == pytest.approx([2 / 3, 1 / 2, 3 / 4])
    chance = (3 * 3 + 2 * 2 + 4 * 4) / 81
    assert found["overall", "kappa"] == pytest.approx((6 / 9 - chance) / (1 - chance))
    assert found["overall", "mcc"] == pytest.approx((54 - 29) / (81 - 29))
    assert found["weighted", "recall"] == pytest.approx(6 / 9)


def test_a_perfect_classifier_is_best_in_everything() -> None:
    found = estimate(one_label(np.eye(3)[[0, 1, 2, 2]] * 1000, [0, 1, 2, 2]))
    for score in (*OVERALL, *BY_CLASS):
        for (_, name), value in found.items():
            if name == score.name:
                assert np.allclose(value, 1 if score.direction > 0 else 0), name


def test_four_scores_by_hand() -> None:
    # Of the class: 0.9 and 0.5; others: 0.5 and 0.1. Pairs: won, won, tied, won.
    ranking = Ranking(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    auroc, precision = ranking.areas(np.ones((4, 1)))
    assert auroc == [3.5 / 4]
    assert precision == pytest.approx([0.5 * 1 + 0.5 * 2 / 3])
    roc, curve = ranking.curves()
    assert roc.tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert curve == pytest.approx(np.array([[0.5, 1], [1, 2 / 3], [1, 0.5]]))
    assert (np.diff(roc[:, 0]) * (roc[1:, 1] + roc[:-1, 1]) / 2).sum() == pytest.approx(auroc[0])


@pytest.mark.parametrize("seed", range(40))
def test_one_label_equals_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    sample = random_sample(seed)
    found = estimate(sample)
    labels = list(range(sample.logits.shape[1]))
    truth, predicted = sample.truth.argmax(axis=1), sample.logits.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted: Found = {
            ("overall", "accuracy"): metrics.accuracy_score(truth, predicted),
            ("overall", "balanced_accuracy"): metrics.balanced_accuracy_score(truth, predicted),
            ("overall", "kappa"): metrics.cohen_kappa_score(truth, predicted),
            ("overall", "nll"): metrics.log_loss(truth, sample.probability, labels=labels),
        }
        if len(set(truth)) > 1 and len(set(predicted)) > 1:  # otherwise 0/0, there 0 and here NaN
            wanted["overall", "mcc"] = metrics.matthews_corrcoef(truth, predicted)
        for block, average in (("per_class", None), ("macro", "macro"), ("weighted", "weighted")):
            values = metrics.precision_recall_fscore_support(
                truth, predicted, labels=labels, average=average, zero_division=np.nan
            )
            wanted |= {(block, name): value for name, value in zip(("precision", "recall", "f1"), values, strict=False)}
        for key, value in wanted.items():
            assert found[key] == pytest.approx(value, nan_ok=True, rel=1e-9), key
        check_ranks(metrics, sample, found, {"auroc": sample.probability, "auroc_logits": sample.logits})
    assert found["overall", "ece"] == pytest.approx(expected_calibration_error(sample.probability, truth))


@pytest.mark.parametrize("seed", range(40))
def test_several_labels_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    sample = random_sample(seed, multi_label=True)
    found = estimate(sample)
    truth, predicted = sample.truth, sample.probability >= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted: Found = {
            ("overall", "subset_accuracy"): metrics.accuracy_score(truth, predicted),
            ("overall", "hamming_loss"): metrics.hamming_loss(truth, predicted),
            ("overall", "brier"): np.mean((sample.probability - truth) ** 2),
            ("overall", "nll"): metrics.log_loss(truth.ravel(), sample.probability.ravel(), labels=[False, True]),
        }
        for block in ("macro", "micro", "weighted"):
            values = metrics.precision_recall_fscore_support(truth, predicted, average=block, zero_division=np.nan)
            wanted |= {(block, name): value for name, value in zip(("precision", "recall", "f1"), values, strict=False)}
        for key, value in wanted.items():
            assert found[key] == pytest.approx(value, nan_ok=True, rel=1e-9), key
        check_ranks(metrics, sample, found, {"auroc": sample.probability})
    assert found["overall", "ece"] == pytest.approx(
        expected_calibration_error(sample.probability, truth, multi_label=True)
    )


def check_ranks(metrics: Any, sample: Sample, found: Found, by: dict[str, NDArray[np.float64]]) -> None:
    for k, truth in enumerate(sample.truth.T):
        for name, scores in by.items():
            wanted = metrics.roc_auc_score(truth, scores[:, k]) if 0 < truth.sum() < len(truth) else math.nan
            assert found["per_class", name][k] == pytest.approx(wanted, nan_ok=True)
        wanted = metrics.average_precision_score(truth, sample.probability[:, k]) if truth.any() else math.nan
        assert found["per_class", "auprc"][k] == pytest.approx(wanted, nan_ok=True)


def test_two_classes_have_one_brier_score_doubled() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    sample = one_label(np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2)
    wanted = 2 * metrics.brier_score_loss(sample.truth[:, 1], sample.probability[:, 1])
    assert estimate(sample)["overall", "brier"] == pytest.approx(wanted)


def test_what_is_undefined_is_nan_and_left_out_of_the_means() -> None:
    # Class 1 is never predicted; class 2 neither there nor predicted.
    found = estimate(one_label([[2, 1, 0], [3, 0, 0], [3, 2, 1]], [0, 1, 0]))
    assert np.isnan(found["per_class", "precision"]).tolist() == [False, True, True]
    assert np.isnan(found["per_class", "recall"]).tolist() == [False, False, True]
    assert found["per_class", "f1"] == pytest.approx([0.8, 0, math.nan], nan_ok=True)
    assert found["per_class", "specificity"] == pytest.approx([0, 1, 1])
    assert np.isnan(found["per_class", "auroc"]).tolist() == [False, False, True]
    assert np.isnan(found["per_class", "auprc"]).tolist() == [False, False, True]
    assert found["macro", "f1"] == pytest.approx(0.4)
    assert found["macro", "precision"] == pytest.approx(2 / 3)
    alone = estimate(one_label([[1, 0], [2, 0]], [0, 0]))
    assert {name for (block, name), value in alone.items() if block == "overall" and np.isnan(value)} == {
        "kappa",
        "mcc",
    }
    assert np.isnan(alone["macro", "auroc"])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000), st.booleans())
def test_neither_the_order_of_the_cases_nor_of_the_classes_matters(seed: int, multi_label: bool) -> None:
    sample = random_sample(seed, multi_label, ties=False)
    random = np.random.default_rng(seed)
    cases, classes = (random.permutation(size) for size in sample.logits.shape)
    moved = Sample(sample.logits[cases][:, classes], sample.truth[cases][:, classes], multi_label, sample.temperature)
    first, second = estimate(sample), estimate(moved)
    assert first.keys() == second.keys()
    for (block, name), value in first.items():
        turned = value[classes] if block == "per_class" else value
        assert np.allclose(turned, second[block, name], equal_nan=True), (block, name)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000), st.booleans())
def test_weights_are_repetitions(seed: int, multi_label: bool) -> None:
    sample = random_sample(seed, multi_label)
    times = np.random.default_rng(seed).integers(0, 3, len(sample.truth))
    times[0] = 1
    repeated = Sample(
        sample.logits.repeat(times, axis=0), sample.truth.repeat(times, axis=0), multi_label, sample.temperature
    )
    wanted = estimate(repeated)
    for key, value in measure(sample, times[:, None]).items():
        assert np.allclose(value[0], wanted[key], equal_nan=True), key


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 100_000))
def test_what_must_be_equal_is(seed: int) -> None:
    sample = random_sample(seed)
    found = estimate(sample)
    assert found["weighted", "recall"] == pytest.approx(found["overall", "accuracy"])
    hotter = estimate(Sample(sample.logits, sample.truth, False, 4.0))
    for key in (("overall", "accuracy"), ("macro", "f1"), ("macro", "auroc_logits")):
        assert found[key] == pytest.approx(hotter[key], nan_ok=True)


def test_intervals_cover_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    names = [("overall", "accuracy"), ("macro", "f1"), ("macro", "auroc"), ("overall", "brier")]
    many = estimate(drawn(random, 100_000))
    covered = np.zeros(len(names))
    for _ in range(100):
        ends = intervals(drawn(random, 150), Bootstrap.over([None] * 150, resamples=200))
        covered += [ends[name][0] <= many[name] <= ends[name][1] for name in names]
    assert (covered >= 87).all()
    assert (covered <= 100).all()


def drawn(random: np.random.Generator, cases: int) -> Sample:
    truth = random.integers(0, 3, cases)
    return one_label(random.normal(0, 1, (cases, 3)) + 1.5 * np.eye(3)[truth], truth)


def test_intervals_are_those_of_resampled_cases() -> None:
    sample = random_sample(4)
    groups = [f"patient {index // 3}" for index in range(len(sample.truth))]
    bootstrap = Bootstrap.over(groups, resamples=80, seed=5)
    size = bootstrap.num_clusters
    times = np.random.default_rng(5).multinomial(size, [1 / size] * size, size=80)[:, bootstrap.clusters]
    f1 = [estimate(Sample(sample.logits.repeat(t, axis=0), sample.truth.repeat(t, axis=0), False, 1.5)) for t in times]
    wanted = np.nanpercentile([found["macro", "f1"] for found in f1], [2.5, 97.5])
    assert intervals(sample, bootstrap)["macro", "f1"] == pytest.approx(wanted)


def test_the_interval_of_the_calibration_error_holds_the_estimate() -> None:
    random = np.random.default_rng(1)
    for cases in (20, 80, 300):
        sample = drawn(random, cases)
        low, high = intervals(sample, Bootstrap.over([None] * cases, resamples=200))["overall", "ece"]
        assert 0 <= low <= estimate(sample)["overall", "ece"] <= high


def test_too_few_cases_of_a_class_have_no_interval() -> None:
    sample = one_label([[2, 1, 0], [3, 0, 0], [1, 2, 0], [1, 0, 3]], [0, 0, 0, 2])
    ends = intervals(sample, Bootstrap.over([None] * 4, resamples=50))
    assert np.isnan(ends["per_class", "recall"][:, 0]).tolist() == [False, True, True]
    assert np.isnan(ends["per_class", "specificity"][:, 0]).tolist() == [True, False, False]
    alone = intervals(sample, Bootstrap.over(["a"] * 4, resamples=50))
    assert all(np.isnan(value).all() for value in alone.values())


def test_the_number_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, bootstrap = random_sample(5), Bootstrap.over([None] * len(random_sample(5).truth), resamples=50)
    whole = intervals(sample, bootstrap)
    monkeypatch.setattr(statistics, "_CHUNK_VALUES", 150)
    for key, value in intervals(sample, bootstrap).items():
        assert np.allclose(value, whole[key], equal_nan=True, rtol=1e-12)
