"""From cases to the three files: what a user relies on, and what bad input gets."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, evaluate
from glocal.evaluation.table import COLUMNS, guard, unguard

CLASSES = ["background", "head", "symphysis"]


def example(count: int = 6, **options: Any) -> Iterator[EvaluatedCase]:
    """Two discs each; the second class is missing from case 1 and invented in case 2; case 3 has nothing right."""
    y, x = np.mgrid[:48, :64]
    for index in range(count):
        truth = np.zeros((48, 64), np.uint8)
        truth[(y - 20) ** 2 + (x - 20) ** 2 < 100] = 1
        truth[(y - 30) ** 2 + (x - 50) ** 2 < 36] = 2
        prediction = np.roll(truth, index, axis=1)
        if index == 1:
            prediction[prediction == 2] = 0
        if index == 2:
            truth[truth == 2] = 0
        if index == 3:
            prediction = np.where(truth == 0, 0, 3 - truth).astype(np.uint8)
        yield EvaluatedCase(
            f"case {index}",
            prediction,
            truth,
            group=f"patient {index // 2}",
            image=np.zeros((48, 64), np.uint8),
            **options,
        )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_files_agree_with_each_other(tmp_path: Path) -> None:
    evaluation = evaluate(example(), CLASSES, resamples=50)
    paths = evaluation.write(tmp_path / "evaluation" / "test")
    assert sorted(path.name for path in (tmp_path / "evaluation" / "test").iterdir()) == sorted(paths)
    table = rows(paths["cases.csv"])
    summary = json.loads(paths["summary.json"].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert tuple(table[0]) == COLUMNS
    assert [(row["case"], row["class"]) for row in table[:4]] == [
        *(("case 0", name) for name in CLASSES),
        ("case 1", "background"),
    ]
    for name in ("dice", "hd95", "rad"):
        for label in CLASSES[1:]:
            column = [float(row[name]) for row in table if row["class"] == label and row[name]]
            facts = summary["per_class"][label]["metrics"][name]
            assert facts["mean"] == pytest.approx(np.mean(column), rel=1e-14)
            assert facts["median"] == pytest.approx(np.median(column), rel=1e-14)
            assert (facts["n"], facts["n_undefined"]) == (len(column), 6 - len(column))
    pixels = [
        sum(int(row[name]) for row in table if row["class"] == "head") for name in ("n_both", "n_prediction", "n_truth")
    ]
    confusion = np.array(summary["confusion"])
    assert pixels == [confusion[1, 1], confusion[:, 1].sum(), confusion[1].sum()]
    assert summary["pooled"]["per_class"]["head"]["dice"]["value"] == pytest.approx(2 * pixels[0] / sum(pixels[1:]))
    assert confusion.sum() == 6 * 48 * 64


def test_policy_counts_and_conventions_stand_beside_the_numbers(tmp_path: Path) -> None:
    evaluation = evaluate(example(), CLASSES, policy="penalty", tolerance=1.5, resamples=50)
    summary = evaluation.summary
    assert summary["per_class"]["symphysis"]["empty"] == {"neither": 4, "both": 0, "truth": 1, "prediction": 1}
    facts = summary["per_class"]["symphysis"]["metrics"]["hd"]
    assert (facts["policy"], facts["n_by_policy"], facts["max"]) == ("penalty", 2, math.hypot(48, 64))
    conventions = summary["conventions"]
    assert (conventions["unit"], conventions["tolerance"], conventions["policy"]["name"]) == ("px", 1.5, "penalty")
    assert conventions["interval"]["clusters"] == summary["groups"] == 3
    table = rows(evaluation.write(tmp_path)["cases.csv"])
    flagged = {(row["case"], row["class"]): row["empty"] for row in table if row["empty"]}
    assert flagged == {("case 1", "symphysis"): "prediction", ("case 2", "symphysis"): "truth"}
    assert {(row["policy"], row["tolerance"], row["unit"], row["spacing"]) for row in table} == {
        ("penalty", "1.5", "px", "")
    }
    skipped = evaluate(example(), CLASSES, policy="skip", resamples=50).summary
    assert skipped["per_class"]["symphysis"]["metrics"]["hd"]["n_undefined"] == 2


def test_macro_is_the_mean_over_classes_then_cases() -> None:
    evaluation = evaluate(example(), CLASSES, resamples=50)
    dice = evaluation.values[:, :, 0]
    macro = evaluation.summary["macro"]
    assert macro["foreground"]["dice"]["mean"] == pytest.approx(np.nanmean(np.nanmean(dice[:, 1:], axis=1)))
    assert macro["with_background"]["dice"]["mean"] == pytest.approx(np.nanmean(np.nanmean(dice, axis=1)))
    assert macro["foreground"]["dice"]["ci"][0] <= macro["foreground"]["dice"]["mean"]
    assert "hd" in macro["foreground"]
    assert "hd" not in macro["with_background"]


def test_spacing_makes_millimetres() -> None:
    in_mm = evaluate(example(spacing=(0.5, 0.5)), CLASSES, tolerance=1.0)
    in_px = evaluate(example(spacing=(0.5, 0.5)), CLASSES, tolerance=2.0, unit="px")
    assert (in_mm.settings.unit, in_px.settings.unit) == ("mm", "px")
    assert in_mm.summary["conventions"]["spacing"] == [[0.5, 0.5]]
    assert np.allclose(in_mm.values[:, :, 7:10] * 2, in_px.values[:, :, 7:10], equal_nan=True)
    assert np.allclose(in_mm.values[:, :, 10], in_px.values[:, :, 10], equal_nan=True)


def test_volumes_and_other_label_types_are_evaluated_alike(tmp_path: Path) -> None:
    flat = list(example(3))
    volume = EvaluatedCase(
        "volume", np.stack([c.prediction for c in flat]).astype(np.int64), np.stack([c.truth for c in flat]), image=None
    )
    evaluation = evaluate([volume], CLASSES)
    assert evaluation.counts[0].tolist() == evaluate(flat, CLASSES).counts.sum(axis=0).tolist()
    assert "volume, slice 0: Dice" in evaluation.write(tmp_path)["report.html"].read_text(encoding="utf-8")
    masks = EvaluatedCase("b", flat[0].prediction == 1, flat[0].truth == 1)
    assert evaluate([masks], ["background", "head"]).summary["macro"]["foreground"]["dice"]["mean"] == 1


def test_a_class_that_never_occurs_is_null_not_a_guess(tmp_path: Path) -> None:
    evaluation = evaluate(example(1), [*CLASSES, "unicorn"])
    assert evaluation.summary["per_class"]["unicorn"]["metrics"]["dice"]["mean"] is None
    assert evaluation.summary["pooled"]["per_class"]["unicorn"]["dice"] == {"value": None, "ci": [None, None]}
    assert evaluation.summary["macro"]["foreground"]["dice"]["mean"] == 1
    evaluation.write(tmp_path)


def test_nothing_but_background_still_writes_a_report(tmp_path: Path) -> None:
    empty = np.zeros((5, 5), np.uint8)
    evaluation = evaluate([EvaluatedCase("a", empty, empty)], ["background", "polyp"], preset="lmnet")
    assert evaluation.summary["macro"]["foreground"]["dice"]["n"] == 0
    assert evaluation.write(tmp_path)["report.html"].stat().st_size > 1000


def test_cases_are_let_go_as_they_come() -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def cases() -> Iterator[EvaluatedCase]:
        for index in range(5):
            truth = np.full((64, 64), 1, np.uint8)
            alive.append(weakref.ref(truth))
            yield EvaluatedCase(str(index), truth, truth)
            del truth
            gc.collect()
            assert sum(reference() is not None for reference in alive[:-1]) == 0

    evaluate(cases(), ["background", "polyp"], resamples=10)


def test_the_seed_repeats_every_number() -> None:
    first, again = (evaluate(example(), CLASSES, seed=4, resamples=50).summary for _ in range(2))
    assert first == again


def test_names_that_a_spreadsheet_would_run_are_quoted_and_come_back(tmp_path: Path) -> None:
    empty = np.ones((4, 4), np.uint8)
    names = ['=HYPERLINK("http://x")', "-dash.png", "+1", "@x", 'a,b\n"c"', "ümläut 漢字", "'quoted", "'=x", "plain"]
    cases = [EvaluatedCase(name, empty, empty, group=name) for name in names]
    path = evaluate(cases, ["background", "=polyp"], resamples=10).write(tmp_path)["cases.csv"]
    table = rows(path)
    assert [unguard(row["case"]) for row in table[::2]] == names
    assert [unguard(row["group"]) for row in table[::2]] == names
    assert not any(row[name][:1] in set("=+-@") for row in table for name in ("case", "group", "class"))
    assert guard("plain") == "plain"


def good() -> NDArray[np.uint8]:
    return np.ones((8, 8), np.uint8)


HOSTILE = {
    "another size": (EvaluatedCase("bad.png", good()[:4], good()), "'bad.png': the prediction has shape"),
    "scores": (EvaluatedCase("bad.png", good() * 0.5, good()), "'bad.png': the prediction has type float64"),
    "objects": (EvaluatedCase("bad.png", good(), good().astype(object)), "'bad.png': the truth has type object"),
    "no such class": (EvaluatedCase("bad.png", good() * 2, good()), "'bad.png': the prediction holds the value 2"),
    "a mask of 255": (EvaluatedCase("bad.png", good(), good() * 255), "'bad.png': the truth holds the value 255"),
    "negative": (
        EvaluatedCase("bad.png", good().astype(int) - 3, good()),
        "'bad.png': the prediction holds the value -2",
    ),
    "no pixels": (EvaluatedCase("bad.png", good()[:0], good()[:0]), r"'bad.png': label maps .*\(0, 8\)"),
    "one axis": (EvaluatedCase("bad.png", good()[0], good()[0]), r"'bad.png': label maps .*\(8,\)"),
    "zero spacing": (EvaluatedCase("bad.png", good(), good(), spacing=(0.0, 1.0)), "'bad.png': spacing"),
    "negative spacing": (EvaluatedCase("bad.png", good(), good(), spacing=(-1.0, 1.0)), "'bad.png': spacing"),
    "NaN spacing": (EvaluatedCase("bad.png", good(), good(), spacing=(math.nan, 1.0)), "'bad.png': spacing"),
    "too few spacings": (EvaluatedCase("bad.png", good(), good(), spacing=(1.0,)), "'bad.png': spacing"),
    "twice the same name": (EvaluatedCase("first", good(), good()), "'first' comes twice"),
    "spacing all of a sudden": (
        EvaluatedCase("bad.png", good(), good(), spacing=(1.0, 1.0)),
        "'bad.png' has a spacing",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_case_that_cannot_be_compared_is_named_in_one_line(what: str) -> None:
    case, message = HOSTILE[what]
    with pytest.raises(UserError, match=message) as raised:
        evaluate([EvaluatedCase("first", good(), good()), case], ["background", "polyp"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "nope"}, "policy 'nope'"),
        ({"preset": "nope"}, "preset 'nope'"),
        ({"unit": "cm"}, "unit 'cm'"),
        ({"tolerance": -1.0}, "tolerance -1.0"),
        ({"tolerance": math.nan}, "tolerance nan"),
        ({"confidence": 95.0}, "confidence 95.0"),
        ({"resamples": 0}, "resamples 0"),
        ({"classes": ["one"]}, "two or more different names"),
        ({"classes": ["a", "b", "b"]}, "two or more different names"),
    ],
)
def test_an_unusable_argument_is_refused_before_any_case(options: dict[str, Any], message: str) -> None:
    def untouched() -> Iterator[EvaluatedCase]:
        pytest.fail("a case was read")
        yield

    with pytest.raises(UserError, match=message):
        evaluate(untouched(), **({"classes": CLASSES} | options))


def test_no_case_at_all_is_an_error() -> None:
    with pytest.raises(UserError, match="no case to evaluate"):
        evaluate([], CLASSES)


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file"):
        evaluate(example(2), CLASSES, resamples=10).write(tmp_path / "file" / "test")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_image_that_does_not_fit_is_only_a_missing_picture(tmp_path: Path) -> None:
    for image in (np.zeros((3, 3)), np.full((8, 8), np.nan), np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8, 2, 2))):
        evaluation = evaluate([EvaluatedCase("a", good(), good(), image=image)], ["background", "polyp"], resamples=10)
        assert evaluation.write(tmp_path)["report.html"].exists()


def test_full_precision_survives_the_table(tmp_path: Path) -> None:
    evaluation = evaluate(example(), CLASSES, resamples=10)
    text = evaluation.write(tmp_path)["cases.csv"].read_text(encoding="utf-8")
    read = [
        [float(row["assd"]) if row["assd"] else math.nan for row in csv.DictReader(io.StringIO(text))][k::3]
        for k in range(3)
    ]
    assert np.array_equal(np.array(read).T, evaluation.values[:, :, 9], equal_nan=True)


def test_without_the_plotting_extra_it_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = evaluate(example(2), CLASSES, resamples=10)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"matplotlib is not installed.*glocal\[train\]"):
        evaluation.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
