"""The report of a classifier: it shows what it claims, needs nothing else, and no name can act in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import EVIL, Checker

from glocal.evaluation import ClassificationEvaluation, ClassifiedCase, evaluate_classification
from glocal.evaluation.classification_metrics import Sample
from glocal.evaluation.mistakes import most_confident
from glocal.evaluation.thumbnails import LONGEST_SIDE, small_image

CLASSES = ["benign", "malignant", EVIL]


def picture(shape: tuple[int, ...] = (60, 40)) -> Callable[[], Any]:
    return lambda: np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def evaluated(
    count: int = 40, classes: list[str] = CLASSES, multi_label: bool = False, right: bool = False, **options: Any
) -> ClassificationEvaluation:
    random = np.random.default_rng(0)
    cases = []
    for index in range(count):
        k = index % len(classes)
        logits = (
            random.normal(0, 0 if right else 1.5, len(classes)) + np.eye(len(classes))[k] - (0.5 if multi_label else 0)
        )
        truth: Any = (k,) if multi_label else k
        group = EVIL if index < 3 else None
        cases.append(ClassifiedCase(f"{index:04d} {EVIL}", logits, truth, group, options.get("image", picture())))
    return evaluate_classification(
        cases,
        classes,
        multi_label=multi_label,
        temperature=options.get("temperature", 1.5),
        preset=options.get("preset"),
        resamples=20,
    )


def written(evaluation: ClassificationEvaluation, folder: Path, **options: Any) -> str:
    return evaluation.write(folder, **options)["report.html"].read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["one", "several", "two"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    history = [
        {"epoch": "0", EVIL + "loss": "1", "val_auroc": ""},
        {"epoch": "1", EVIL + "loss": "nan", "val_auroc": "1"},
    ]
    manifest: dict[str, Any] = {EVIL: {EVIL: [1, {"x": EVIL}]}, "none": None, "number": float("nan")}
    several = request.param == "several"
    evaluation = evaluated(
        classes=CLASSES[1:] if request.param == "two" else CLASSES,
        multi_label=several,
        preset=None if several else "hifuse",
    )
    folder = tmp_path_factory.mktemp("report")
    return written(evaluation, folder, title=EVIL, manifest=manifest, history=history)


def test_the_page_is_well_formed_and_its_names_cannot_act(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    tags = [tag for tag, _ in checker.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in checker.elements for name in attributes)
    ids = [attributes["id"] for _, attributes in checker.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_fetches_nothing(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert "default-src 'none'" in page
    for tag, attributes in checker.elements:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import", page)


def test_pictures_say_in_words_what_they_show_and_tables_have_headers(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    labels = [attributes.get("aria-label") or "" for tag, attributes in checker.elements if tag == "svg"]
    assert len(labels) >= 5
    for start in ("ROC curves, with the area", "Precision-recall curves", "Reliability diagram", "Histogram of the"):
        assert sum(label.startswith(start) for label in labels) == 1, start
    assert all(labels)
    tables = [tag for tag, _ in checker.elements].count("table")
    columns = [attributes for tag, attributes in checker.elements if tag == "th"]
    assert tables >= 6
    assert all(attributes.get("scope") in ("col", "row") for attributes in columns)


def test_every_section_is_there_and_undefined_is_a_dash(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    for heading in (
        "In short",
        "All classes together",
        "Per class",
        "ROC and precision-recall",
        "Calibration",
        "Most confident mistakes",
        "Training curves",
        "All cases",
        "How to read the numbers",
        "Manifest",
    ):
        assert heading in headings
    assert ("Found and missed" in headings) != ("Confusion" in headings)
    assert ("Published convention" in headings) == ("Confusion" in headings)
    assert not re.search(r">\s*(nan|None|inf)\s*<", page)


def test_the_numbers_on_the_page_are_those_of_the_summary(tmp_path: Path) -> None:
    evaluation = evaluated()
    page, summary = written(evaluation, tmp_path), evaluation.summary
    for block, name in (("overall", "accuracy"), ("macro", "auroc"), ("overall", "ece"), ("macro", "f1")):
        low, high = summary[block][name]["ci"]
        value = summary[block][name]["value"]
        assert re.search(rf"<b>{value:.3f}</b><small>\[{low:.3f}, {high:.3f}\]</small>", page), name
    for state in ("uncalibrated", "calibrated"):
        assert f"<td>{summary['calibration'][state]['nll']:.3f}</td>" in page
    count, share = summary["confusion"][0][1], summary["confusion_rows"][0][1]
    assert f"{100 * share:.1f} %<small>{count}</small>" in page


def test_a_perfect_classifier_has_a_report_without_mistakes(tmp_path: Path) -> None:
    page = written(evaluated(right=True), tmp_path)
    assert "There is none: every prediction is right." in page
    assert "Training curves" not in page
    assert "Manifest" not in page


def test_without_pictures_mistakes_are_listed(tmp_path: Path) -> None:
    page = written(evaluated(image=None), tmp_path)
    assert "data:image/jpeg" not in page
    assert len(re.findall(r"predicted [^<]* at \d+\.\d %, is ", page)) == 12
    strange = written(evaluated(image=lambda: np.zeros((2, 2, 2, 2))), tmp_path)
    assert "data:image/jpeg" not in strange


def test_one_class_alone_has_no_curve_but_a_report(tmp_path: Path) -> None:
    cases = [ClassifiedCase("a", np.array([1.0, 0.0]), 0)]
    evaluation = evaluate_classification(cases, ["a", "b"], preset="hifuse", resamples=5)
    assert "there is no curve" in written(evaluation, tmp_path)
    cases = [ClassifiedCase("a", np.array([1.0]), ())]
    evaluation = evaluate_classification(cases, ["a"], multi_label=True, resamples=5)
    assert "there is no curve" in written(evaluation, tmp_path)


def test_the_size_is_bounded_however_many_cases_and_classes(tmp_path: Path) -> None:
    classes = [f"class {k}" for k in range(45)]
    evaluation = evaluated(3000, classes)
    page = written(evaluation, tmp_path)
    assert "Only 1000 of 3000 cases" in page
    assert "Shown are the 8 classes of the lowest defined AUROC, of 45" in page
    assert "confusion matrix of 45 classes is in summary.json" in page
    assert len(page) < 2 * 2**20


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    assert written(evaluated(), tmp_path / "a") == written(evaluated(), tmp_path / "b")


def test_mistakes_are_ordered_by_confidence() -> None:
    logits = np.array([[2.0, 0], [9, 0], [5, 0], [0, 3]])
    truth = np.array([[False, True], [True, False], [False, True], [True, False]])
    found = most_confident(Sample(logits, truth, False, 1.0))
    assert [(mistake.case, mistake.label) for mistake in found] == [(2, 0), (3, 1), (0, 0)]
    assert found[0].confidence == pytest.approx(1 / (1 + np.exp(-5)))
    several = most_confident(Sample(np.array([[-4.0, 1], [3, 2]]), np.array([[True, False], [False, True]]), True, 1.0))
    assert [(mistake.case, mistake.label) for mistake in several] == [(0, 0), (1, 0), (0, 1)]
    assert several[0].confidence == pytest.approx(1 / (1 + np.exp(-4)))


@pytest.mark.parametrize("shape", [(1, 1), (5, 4000), (700, 900), (700, 300, 3), (40, 30, 1)])
def test_pictures_of_any_size_are_made_small(shape: tuple[int, ...]) -> None:
    small = small_image(np.full(shape, 200, np.uint8))
    assert small is not None
    assert small.shape[2] == 3
    assert max(small.shape) <= LONGEST_SIDE
    assert (small == 200).all()
    assert small_image(np.zeros((2, 2), object)) is None
    assert small_image(np.zeros((0, 2))) is None
