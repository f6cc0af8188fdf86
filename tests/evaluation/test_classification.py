"""From classified cases to numbers and files: what a user relies on, and what bad input gets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glocal.errors import UserError
from glocal.evaluation import ClassifiedCase, evaluate_classification, get_classification_preset, probabilities
from glocal.evaluation.classification_presets import CLASSIFICATION_PRESETS
from glocal.evaluation.classification_table import classified_columns
from glocal.evaluation.table import unguard

CLASSES = ["benign", "malignant", "normal"]


def example(count: int = 30, multi_label: bool = False, **options: Any) -> Iterator[ClassifiedCase]:
    random = np.random.default_rng(1)
    for index in range(count):
        truth: Any = index % 3
        logits = random.normal(0, 1, 3) + 1.5 * np.eye(3)[truth]
        if multi_label:
            truth = tuple(k for k in range(3) if (index >> k) % 2)
            logits = random.normal(0, 1, 3) + np.isin(range(3), truth) - 0.5
        yield ClassifiedCase(f"case {index}", logits, truth, group=f"patient {index // 2}", **options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def strict(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_files_agree_with_each_other(tmp_path: Path, multi_label: bool) -> None:
    evaluation = evaluate_classification(
        example(multi_label=multi_label), CLASSES, multi_label=multi_label, temperature=1.7, resamples=50
    )
    paths = evaluation.write(tmp_path / "evaluation" / "test")
    assert sorted(path.name for path in (tmp_path / "evaluation" / "test").iterdir()) == sorted(paths)
    table, summary = rows(paths["cases.csv"]), strict(paths["summary.json"])
    assert list(table[0]) == classified_columns(CLASSES)
    assert summary == json.loads(json.dumps(evaluation.summary))
    right = np.mean([int(row["correct"]) for row in table])
    assert summary["overall"]["subset_accuracy" if multi_label else "accuracy"]["value"] == pytest.approx(right)
    p = np.array([[float(row[f"p:{name}"]) for name in CLASSES] for row in table])
    assert np.array_equal(p, evaluation.sample.probability)
    assert [float(row["probability"]) for row in table] == p.max(axis=1).tolist()
    for k, name in enumerate(CLASSES):
        truth = [name in row["truth"].split(";") for row in table]
        predicted = [name in row["prediction"].split(";") for row in table]
        facts = summary["per_class"][name]
        assert (facts["n_truth"], facts["n_prediction"]) == (sum(truth), sum(predicted))
        assert facts["n_both"] == sum(t and said for t, said in zip(truth, predicted, strict=True))
        found = np.array(summary["confusion"])
        assert facts["n_both"] == (found[k, 1, 1] if multi_label else found[k, k])
    assert summary["groups"] == summary["conventions"]["interval"]["clusters"] == 15


def test_the_numbers_are_those_of_the_confusion_matrix() -> None:
    evaluation = evaluate_classification(example(), CLASSES, resamples=50)
    counts = evaluation.confusion
    assert counts.sum() == 30
    assert counts.sum(axis=1).tolist() == [10, 10, 10]
    assert evaluation.summary["overall"]["accuracy"]["value"] == pytest.approx(np.trace(counts) / 30)
    assert np.array(evaluation.summary["confusion_rows"]) == pytest.approx(counts / 10)
    low, high = evaluation.summary["overall"]["accuracy"]["ci"]
    assert low <= np.trace(counts) / 30 <= high


def test_calibration_is_told_with_and_without_the_temperature() -> None:
    summary = evaluate_classification(example(), CLASSES, temperature=2.5, resamples=20).summary
    before, after = summary["calibration"]["uncalibrated"], summary["calibration"]["calibrated"]
    assert (before["temperature"], after["temperature"]) == (1.0, 2.5)
    assert before == evaluate_classification(example(), CLASSES, resamples=20).summary["calibration"]["uncalibrated"]
    assert after["ece"] == summary["overall"]["ece"]["value"] != before["ece"]
    assert sum(after["reliability"]["count"]) == 30
    plain = evaluate_classification(example(), CLASSES, resamples=20).summary
    assert list(plain["calibration"]) == ["uncalibrated"]
    for block in ("accuracy", "kappa", "mcc", "balanced_accuracy"):
        assert plain["overall"][block] == summary["overall"][block]
    assert plain["macro"]["f1"] == summary["macro"]["f1"]


def test_undefined_is_null_left_out_counted_and_told(tmp_path: Path) -> None:
    logits = np.array([[3.0, 1, 0, -9], [1, 3, 0, -9], [3, 1, 0, -9], [2, 1, 0, -9]])
    cases = [ClassifiedCase(str(i), z, truth) for i, (z, truth) in enumerate(zip(logits, [0, 1, 0, 2], strict=True))]
    evaluation = evaluate_classification(cases, [*CLASSES, "unicorn"], resamples=20)
    summary = evaluation.summary
    unicorn, normal = (summary["per_class"][name]["metrics"] for name in ("unicorn", "normal"))
    nothing = {"value": None, "ci": [None, None]}
    assert all(unicorn[name] == nothing for name in ("precision", "recall", "f1", "auroc", "auprc"))
    assert unicorn["specificity"]["value"] == 1
    assert (normal["precision"], normal["recall"]["value"]) == (nothing, 0)
    macro = summary["macro"]["precision"]
    assert (macro["n_classes"], macro["n_undefined"]) == (2, 2)
    assert summary["confusion_rows"][3] == [None] * 4
    told = " ".join(summary["notes"])
    assert "no case is of 'unicorn'" in told
    assert "never predicted: 'normal', 'unicorn'; precision" in told
    assert "only 4 independent cases or groups" in told
    strict(evaluation.write(tmp_path)["summary.json"])


def test_labels_that_are_everywhere_or_nowhere_are_told() -> None:
    cases = [ClassifiedCase(str(i), np.array([1.0, -1]), (0,)) for i in range(3)]
    summary = evaluate_classification(cases, ["a", "b"], multi_label=True, resamples=10).summary
    assert summary["macro"]["auroc"]["value"] is None
    assert summary["overall"]["subset_accuracy"]["value"] == 1
    assert any("every case is of 'a'" in note for note in summary["notes"])
    assert summary["micro"]["f1"]["value"] == 1


def test_what_the_caller_tells_comes_first(tmp_path: Path) -> None:
    evaluation = replace(evaluate_classification(example(6), CLASSES, resamples=5), notes=("<one> thing",))
    paths = evaluation.write(tmp_path)
    assert strict(paths["summary.json"])["notes"][0] == "<one> thing"
    assert "<li>&lt;one&gt; thing</li>" in paths["report.html"].read_text(encoding="utf-8")


def test_groups_widen_the_interval_and_the_seed_repeats_it() -> None:
    copies = [ClassifiedCase(f"{c.id} {i}", c.logits, c.truth, group=c.id) for c in example() for i in range(6)]
    blind = [ClassifiedCase(c.id, c.logits, c.truth) for c in copies]
    grouped, alone, again = (
        evaluate_classification(cases, CLASSES, resamples=300, seed=2).summary for cases in (copies, blind, copies)
    )
    assert grouped == again
    width = [np.diff(summary["overall"]["accuracy"]["ci"])[0] for summary in (grouped, alone)]
    assert width[1] < 0.6 * width[0]


def test_the_first_of_equals_is_predicted_and_half_is_enough_for_a_label() -> None:
    evaluation = evaluate_classification([ClassifiedCase("a", np.zeros(3), 1)], CLASSES, resamples=5)
    assert evaluation.sample.predicted.tolist() == [[True, False, False]]
    several = evaluate_classification([ClassifiedCase("a", np.array([0.0, -0.1, 1]), ())], CLASSES, multi_label=True)
    assert several.sample.predicted.tolist() == [[True, False, True]]


def test_only_the_pictures_that_are_shown_are_read(tmp_path: Path) -> None:
    read: list[int] = []

    def image(index: int) -> Any:
        read.append(index)
        return np.zeros((40, 30, 3), np.uint8)

    random = np.random.default_rng(0)
    cases = [ClassifiedCase(str(i), random.normal(0, 3, 3), i % 3, image=partial(image, i)) for i in range(200)]
    evaluation = evaluate_classification(iter(cases), CLASSES, resamples=5)
    assert read == []
    evaluation.write(tmp_path)
    p = probabilities(np.stack([case.logits for case in cases]))
    wrong = p.argmax(axis=1) != np.arange(200) % 3
    assert sorted(read) == sorted(np.argsort(-np.where(wrong, p.max(axis=1), 0))[:12].tolist())


def test_a_picture_that_cannot_be_read_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    def gone() -> Any:
        raise UserError("x.png: no such file")

    case = ClassifiedCase("x", np.array([1.0, 0, 0]), 2, image=gone)
    with pytest.raises(UserError, match="no such file"):
        evaluate_classification([case], CLASSES, resamples=5).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_a_spreadsheet_would_run_are_quoted(tmp_path: Path) -> None:
    cases = [ClassifiedCase("=1+1", np.array([1.0, 0]), 0, group="@x"), ClassifiedCase("-a,b", np.array([1.0, 0]), 1)]
    table = rows(evaluate_classification(cases, ["=a", "b"], resamples=5).write(tmp_path)["cases.csv"])
    assert [unguard(row["case"]) for row in table] == ["=1+1", "-a,b"]
    assert [row["truth"] for row in table] == ["'=a", "b"]
    assert table[0]["group"] == "'@x"


def test_the_published_evaluation_by_hand() -> None:
    # Class 2 has cases, but is never predicted; class 3 has none.
    logits = np.array([[5.0, 1, 0, 0], [1, 6, 0, 0], [4, 1, 3, 0], [0, 2, 1, 0]])
    cases = [ClassifiedCase(str(i), z, truth) for i, (z, truth) in enumerate(zip(logits, [0, 1, 2, 1], strict=True))]
    published = evaluate_classification(cases, list("abcd"), preset="hifuse", resamples=10).summary["published"]
    found = {figure["name"]: figure for figure in published["figures"]}
    assert found["Accuracy"]["value"] == 3 / 4
    assert found["Precision"]["value"] == pytest.approx((1 / 2 + 1 + 0 + 0) / 4)
    assert found["Recall"]["value"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert found["F1"]["value"] == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert found["F1"]["ours"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["AUC"]["value"] == pytest.approx((1 + 1 + 1) / 3)
    assert (found["AUC"]["n"], found["AUC"]["n_undefined"]) == (3, 1)
    assert found["MCC"]["value"] == pytest.approx((4 * 3 - 6) / np.sqrt((16 - 8) * (16 - 6)))


def test_the_published_evaluation_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    cases = list(example(60))
    published = evaluate_classification(cases, CLASSES, preset="hifuse", temperature=3.0, resamples=10).summary
    found = {figure["name"]: figure["value"] for figure in published["published"]["figures"]}
    logits, truth = np.stack([case.logits for case in cases]), np.array([case.truth for case in cases])
    said = logits.argmax(axis=1)
    wanted = {
        "Accuracy": metrics.accuracy_score(truth, said),
        "Precision": metrics.precision_score(truth, said, average="macro", zero_division=0),
        "Recall": metrics.recall_score(truth, said, average="macro", zero_division=0),
        "F1": metrics.f1_score(truth, said, average="macro", zero_division=0),
        "AUC": np.mean([metrics.roc_auc_score(truth == k, logits[:, k]) for k in range(3)]),
        "MCC": metrics.matthews_corrcoef(truth, said),
        "Kappa": metrics.cohen_kappa_score(truth, said),
    }
    assert found == pytest.approx(wanted)


def test_presets_are_found_by_name() -> None:
    assert all(name == preset.name for name, preset in CLASSIFICATION_PRESETS.items())
    with pytest.raises(UserError, match=r"'hi-fuse' is unknown.*Did you mean 'hifuse'"):
        get_classification_preset("hi-fuse")


def bad(logits: Any = (1.0, 0.0, 0.0), truth: Any = 0, name: str = "bad.png") -> ClassifiedCase:
    return ClassifiedCase(name, np.asarray(logits), truth)


HOSTILE: dict[str, tuple[ClassifiedCase, bool, str]] = {
    "NaN": (bad([0.0, np.nan, 1]), False, "'bad.png': its logits are not finite"),
    "infinite": (bad([0.0, np.inf, 1]), False, "'bad.png': its logits are not finite"),
    "too few": (bad([0.0, 1]), False, r"'bad.png': its logits have shape \(2,\)"),
    "a batch": (bad([[0.0, 1, 2]]), False, r"'bad.png': its logits have shape \(1, 3\)"),
    "text": (bad(["a", "b", "c"]), False, "'bad.png': its logits have shape .* type <U1"),
    "class too high": (bad(truth=3), False, r"'bad.png': its truth is class 3, but the 3 classes are 0 … 2"),
    "negative class": (bad(truth=-1), False, "'bad.png': its truth is class -1"),
    "half a class": (bad(truth=0.5), False, "'bad.png': its truth is 0.5; give class indices as whole numbers"),
    "a boolean": (bad(truth=True), False, "'bad.png': its truth is True; give class indices"),
    "several": (bad(truth=(0, 1)), False, r"'bad.png': its truth is \(0, 1\); give one class index"),
    "one": (bad(truth=1), True, "'bad.png': its truth is 1; give a tuple of class indices, maybe empty"),
    "one of several too high": (bad(truth=(0, 9)), True, "'bad.png': its truth is class 9"),
    "a label twice": (bad(truth=(1, 1)), True, r"'bad.png': its truth \(1, 1\) names a class twice"),
    "the same name": (bad(name="first"), False, "'first' comes twice"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_case_that_cannot_be_evaluated_is_named_in_one_line(what: str) -> None:
    case, multi_label, message = HOSTILE[what]
    first = bad(truth=(0,) if multi_label else np.int64(0), name="first")
    with pytest.raises(UserError, match=message) as raised:
        evaluate_classification([first, case], CLASSES, multi_label=multi_label)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a"]}, r"\['a'\] must be two or more"),
        ({"classes": ["a", "a"]}, "two or more different names"),
        ({"temperature": 0.0}, "temperature 0.0 must be above 0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"confidence": 95}, "confidence 95"),
        ({"resamples": 0}, "resamples 0"),
        ({"preset": "nope"}, "preset 'nope' is unknown"),
        ({"preset": "hifuse", "multi_label": True}, "preset 'hifuse' knows one label a case"),
        ({}, "no case to evaluate"),
    ],
)
def test_unusable_arguments_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_classification([], **({"classes": CLASSES} | options))
