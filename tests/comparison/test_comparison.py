"""What a comparison says about evaluations on disk."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from makers_evaluations import write_benchmark, write_classes, write_masks, write_run
from scipy import stats

from glocal.comparison import compare
from glocal.comparison.analysis import Units
from glocal.comparison.scores import MaskScores, read_scores

CASES = [f"case {n}" for n in range(30)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison") / "bench"
    errors = {"sure": 0.3, "near": 0.35, "poor": 2.0}
    return write_benchmark(folder, errors, cases=CASES, images=2, failed=[("near", 1, 1)], empty=CASES[:3])


def _dice(folder: Path) -> np.ndarray:
    scores = read_scores(folder)
    assert isinstance(scores, MaskScores)
    return scores.values[:, 1, 0]


def test_a_run_against_another_by_scipy(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, error, cases=CASES) for name, error in (("a", 0.4), ("b", 0.9))]
    found = compare(runs, costs=False)
    a, b = (_dice(run / "evaluation" / "test") for run in runs)
    (pair,) = found.results[0].pairs
    assert (pair.model, pair.other, found.reference) == ("b", "a", "a")
    assert pair.p == pytest.approx(stats.wilcoxon(b - a).pvalue)
    assert pair.difference == pytest.approx((b - a).mean())
    assert pair.d_z == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    assert pair.low < pair.difference < pair.high
    assert (pair.better, pair.worse) == ((b > a).sum(), (b < a).sum())
    row = found.results[0].rows[0]
    assert (row.mean, row.cells, row.cases) == (pytest.approx(a.mean()), 1, 30)
    assert math.isnan(row.sd)
    assert pair.verdict == "worse"


def test_a_benchmark_is_compared_on_the_cells_that_all_models_have(bench: Path) -> None:
    found = compare([bench])
    assert found.labels == ("sure", "near", "poor")
    assert [row.cells for row in found.results[0].rows] == [3, 3, 3]
    assert [(cell.label, cell.fold, cell.seed, cell.error) for cell in found.missing] == [
        ("near", 1, 1, "out of memory")
    ]
    assert any("left out" in note and "sure 1 of 4" in note and "poor 1 of 4" in note for note in found.notes)
    cells = [
        _dice(bench / f"cells/poor-f{fold}-s{seed}/run/evaluation/test") for fold, seed in ((0, 0), (0, 1), (1, 0))
    ]
    means = [np.nanmean(cell) for cell in cells]
    row = found.results[0].rows[2]
    assert (row.mean, row.sd) == pytest.approx((np.mean(means), np.std(means, ddof=1)))


def test_units_of_tests_are_groups_and_case_values_are_averaged_over_trainings(bench: Path) -> None:
    found = compare([bench])
    cells = {}
    for label in ("sure", "poor"):
        folders = [bench / f"cells/{label}-{key}/run/evaluation/test" for key in ("f0-s0", "f0-s1", "f1-s0")]
        cells[label] = np.mean([_dice(folder) for folder in folders], axis=0)
    d = cells["poor"] - cells["sure"]
    groups = np.nanmean(np.append(d[3:4], d[4:]).reshape(-1, 1), axis=1)  # the first three cases are empty
    means = np.array([groups[0], *groups[1:].reshape(-1, 2).mean(axis=1)])
    pair = found.results[0].pairs[1]
    assert found.design["test"]["units"] == "group"
    assert (pair.units, pair.left_out) == (14, 1)
    assert pair.p == pytest.approx(stats.wilcoxon(means).pvalue)
    by_case = compare([bench], by="case")
    assert by_case.results[0].pairs[1].units == 27
    assert any("independent (asked for)" in note for note in by_case.notes)


def test_p_values_are_adjusted_for_the_models_and_the_verdict_follows(bench: Path) -> None:
    pairs = compare([bench]).results[0].pairs
    smaller, larger = sorted(pairs, key=lambda pair: pair.p)
    assert smaller.p_holm == pytest.approx(2 * smaller.p)
    assert larger.p_holm == pytest.approx(max(2 * smaller.p, larger.p))
    assert {pair.model: pair.verdict for pair in pairs} == {"near": "not shown to differ", "poor": "worse"}
    assert len(compare([bench]).results[0].everyone) == 3


def test_effects_point_to_the_better_model_whatever_the_metric(bench: Path) -> None:
    by_metric = {result.facts.name: result.pairs[1] for result in compare([bench]).results}
    assert by_metric["dice"].difference < 0 < by_metric["hd95"].difference
    assert by_metric["dice"].rank_biserial < -0.5
    assert by_metric["hd95"].rank_biserial < -0.5
    assert by_metric["hd95"].verdict == "worse"


def test_the_reference_and_the_first_metric_can_be_chosen(bench: Path) -> None:
    found = compare([bench], reference="poor", metrics=["hd95", "rad"])
    assert [result.facts.name for result in found.results][:3] == ["hd95", "rad", "dice"]
    assert [pair.model for pair in found.results[0].pairs] == ["sure", "near"]
    assert found.results[1].facts.label == "|RAD|"
    assert all(row.estimate >= 0 for row in found.results[1].rows)
    assert found.stability[2, 2] > 0.99


def test_permutation_flips_whole_groups(bench: Path) -> None:
    pair = compare([bench], test="permutation").results[0].pairs[1]
    assert pair.test == "permutation"
    assert pair.p == pytest.approx(2 / 2**14)


def test_cross_validation_joins_the_cases_of_the_folds(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "bench", {"a": 0.5, "b": 0.9}, folds=3, seeds=(0,), cases=CASES, part="val")
    found = compare([folder])
    assert (found.design["cases"], found.design["folds"], found.design["cells"]) == (30, 3, 3)
    assert found.results[0].rows[0].cases == 30


def test_empty_masks_are_counted_and_shown_both_ways(tmp_path: Path) -> None:
    options = {"cases": CASES, "empty": CASES[:6]}
    write_masks(tmp_path / "careful", 0.5, **options)
    write_masks(tmp_path / "rash", 0.5, predicted=CASES[:6], **options)
    found = compare([tmp_path / "careful", tmp_path / "rash"])
    assert found.emptiness is not None
    careful, rash = found.emptiness.counts
    assert (careful.agreed, careful.invented, careful.missed) == (6, 0, 0)
    assert (rash.agreed, rash.invented, rash.missed) == (0, 6, 0)
    means = {name: [row.estimate for row in result.rows] for name, result in found.emptiness.results.items()}
    present = means["present"]
    assert present[0] == pytest.approx(present[1])  # the same predictions where there is something
    assert means["agreed"] == pytest.approx([0.8 * present[0] + 0.2, 0.8 * present[0]])
    assert means["evaluated"] == pytest.approx([present[0], 0.8 * present[0]])
    assert [row.cases for row in found.emptiness.results["evaluated"].rows] == [24, 30]
    told = [note for note in found.notes if "different numbers of cases (careful 24, rash 30)" in note]
    assert [all(name in note for name in ("Dice", "IoU", "HD95")) for note in told] == [True]


def test_ranks_are_of_the_cases_that_all_models_have_a_value_for(tmp_path: Path) -> None:
    options = {"cases": CASES, "images": 3, "empty": CASES[::3], "policy": "penalty"}
    write_masks(tmp_path / "same", 0.5, **options)
    write_masks(tmp_path / "inventor", 0.5, predicted=CASES[::3], **options)
    write_masks(tmp_path / "third", 0.5, **options)
    found = compare([tmp_path / name for name in ("same", "inventor", "third")])
    assert found.ranks is not None
    assert found.ranks.average == (2, 2, 2)  # alike wherever all have a mask


def test_values_that_are_equal_but_for_rounding_are_ties() -> None:
    seeds = np.array([[0.7, 0.1, 0.3], [0.1, 0.3, 0.7]])  # the same trainings in another order
    values = np.stack([(a + b + c) / 3 for a, b, c in seeds])
    assert values[0] != values[1]
    units = Units("case", np.arange(1))
    assert units.means(values[None, :])[0, 0] == units.means(values[None, :])[0, 1]


def test_two_identical_runs_do_not_differ(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 0.5) for name in "abc"]
    found = compare(runs, costs=False)
    for pair in found.results[0].pairs:
        assert (pair.p, pair.p_holm, pair.difference, pair.low, pair.high) == (1, 1, 0, 0, 0)
        assert pair.verdict == "not shown to differ"
    assert found.ranks is not None
    assert found.ranks.p == 1
    assert found.stability == pytest.approx(np.full((3, 3), 1 / 3))


@pytest.mark.parametrize("cases", [["only"], ["one", "two"]])
def test_next_to_no_cases(tmp_path: Path, cases: list[str]) -> None:
    runs = [write_run(tmp_path / f"run {error}", error, cases=cases) for error in (0.3, 0.9, 1.5)]
    found = compare(runs, costs=False)
    assert all(pair.verdict == "not shown to differ" for pair in found.results[0].pairs)
    assert any("independent" in note for note in found.notes)
    found.write(tmp_path / "out")
    assert "NaN" not in (tmp_path / "out" / "comparison.json").read_text()


def test_one_model_has_a_table_and_no_tests(tmp_path: Path) -> None:
    found = compare([write_run(tmp_path / "alone", 0.5)], costs=False)
    assert found.results[0].pairs == ()
    assert any(note.startswith("one model") for note in found.notes)
    paths = found.write(tmp_path / "out")
    assert paths["pairwise.csv"].read_text() == "metric\n"


def test_a_metric_without_any_value(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 0.5, empty=[f"case {n}" for n in range(12)]) for name in "ab"]
    found = compare(runs, costs=False)
    assert math.isnan(found.results[0].rows[0].mean)
    found.write(tmp_path / "out")


def test_classes_are_compared_one_by_one_and_can_be_chosen(tmp_path: Path) -> None:
    classes = ("background", "organ", "lesion")
    runs = [write_run(tmp_path / name, error, classes=classes) for name, error in (("a", 0.3), ("b", 0.6))]
    found = compare(runs, costs=False)
    groups = [result.group for result in found.per_class if result.facts.name == "dice"]
    assert groups == ["organ", "lesion"]
    lesion = compare(runs, costs=False, classes=["lesion"])
    assert lesion.per_class == ()
    same = next(r for r in found.per_class if (r.group, r.facts.name) == ("lesion", "dice"))
    assert lesion.results[0].rows[0].mean == pytest.approx(same.rows[0].mean)


@pytest.mark.parametrize("several", [False, True])
def test_classifiers_have_intervals_and_tests_for_every_metric(tmp_path: Path, several: bool) -> None:
    for name, strength in (("good", 4.0), ("bad", 0.5)):
        write_classes(tmp_path / name, strength, several=several)
    found = compare([tmp_path / "good", tmp_path / "bad"], resamples=400)
    by_metric = {result.facts.name: result for result in found.results}
    summary = json.loads((tmp_path / "good" / "summary.json").read_text())
    for name, block in ((found.results[0].facts.name, "overall"), ("auroc", "macro"), ("f1", "macro")):
        assert by_metric[name].rows[0].mean == pytest.approx(summary[block][name]["value"]), name
        assert by_metric[name].pairs[0].verdict == "worse"
    assert by_metric["auroc"].pairs[0].test == "bootstrap"
    assert by_metric["nll"].pairs[0].test == "wilcoxon"
    assert by_metric["nll"].rows[1].mean > by_metric["nll"].rows[0].mean
    assert found.emptiness is None
    assert {result.group for result in found.per_class} == {"benign", "malignant", "normal"}
    if several:
        found.write(tmp_path / "out")


def test_the_auroc_interval_of_a_difference_is_paired(tmp_path: Path) -> None:
    """Two models that are wrong on the same cases differ far less surely than their own intervals suggest."""
    for name, strength in (("a", 1.5), ("b", 1.6)):
        write_classes(tmp_path / name, strength)
    found = next(r for r in compare([tmp_path / "a", tmp_path / "b"], resamples=500).results if r.facts.name == "auroc")
    pair, row = found.pairs[0], found.rows[0]
    assert pair.high - pair.low < 0.5 * (row.high - row.low)


def test_the_files_agree_with_each_other(bench: Path, tmp_path: Path) -> None:
    found = compare([bench])
    paths = found.write(tmp_path / "out")
    plain = json.loads(paths["comparison.json"].read_text())
    table = list(csv.DictReader(io.StringIO(paths["table.csv"].read_text())))
    tests = list(csv.DictReader(io.StringIO(paths["pairwise.csv"].read_text())))
    first = plain["metrics"][0]["rows"][0]
    assert (table[0]["model"], float(table[0]["mean"])) == (first["label"], first["mean"])
    assert float(tests[0]["p"]) == plain["metrics"][0]["pairs"][0]["p"]
    assert {row["family"] for row in tests} == {"reference", "all"}
    text = f"{first['mean']:.3f} ± {first['sd']:.3f}"
    assert text in paths["table.md"].read_text()
    assert text.replace("±", r"$\pm$") in paths["table.tex"].read_text()
    page = paths["report.html"].read_text()
    assert text in page
    assert "out of memory" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} >= {
        f"{name}.{suffix}"
        for name in ("intervals", "differences", "critical-difference", "rank-stability", "cost-latency")
        for suffix in ("svg", "png")
    }


def test_costs_come_from_the_benchmark_and_front_and_units_are_right(bench: Path) -> None:
    found = compare([bench])
    assert [cost.parameters for cost in found.costs] == [10**6, 10**7, 10**8]
    assert found.costs[0].source == "benchmark"
    assert found.costs[2].latency == pytest.approx(0.03)


def test_names_that_would_break_tables_are_escaped(tmp_path: Path) -> None:
    names = {"=a|b": 0.4, "50%_<b>&": 0.8}
    for name, error in names.items():
        write_masks(tmp_path / name, error)
    paths = compare([tmp_path / name for name in names]).write(tmp_path / "out")
    assert r"=a\|b" in paths["table.md"].read_text()
    assert r"50\%\_\textless{}b\textgreater{}\&" in paths["table.tex"].read_text()
    assert "'=a|b" in paths["table.csv"].read_text()
    page = paths["report.html"].read_text()
    assert "<b>&" not in page
    assert "50%_&lt;b&gt;&amp;" in page


def test_the_same_input_gives_the_same_output(bench: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        compare([bench], resamples=200).write(tmp_path / name)
    for path in (tmp_path / "one").rglob("*.*"):
        if path.is_file() and path.suffix != ".png":
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path.name
