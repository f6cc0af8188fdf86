"""The preset of the challenges: each figure against the functions it is made of, failures apart."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from glocal.biometry import measure_aop, segmentation_metrics
from glocal.data.phantom import CLASSES, generate_case
from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, evaluate


def moved(mask: np.ndarray) -> np.ndarray:
    """The head two pixels lower, so that angles and distances differ."""
    head = np.roll(mask == 2, 2, axis=0)
    return np.where(mask == 1, 1, np.where(head, 2, 0)).astype(np.uint8)


@pytest.fixture(scope="module")
def cases() -> list[EvaluatedCase]:
    phantoms = [generate_case(index, size=96) for index in range(6)]
    made = [EvaluatedCase(p.id, moved(p.mask), p.mask, group=p.group) for p in phantoms]
    made[2].prediction[made[2].prediction == 1] = 0
    return made


@pytest.fixture(scope="module")
def evaluation(cases):
    return evaluate(cases, CLASSES, preset="iugc2024", resamples=20)


@pytest.fixture(scope="module")
def figures(evaluation):
    return {figure["name"]: figure for figure in evaluation.summary["published"]["figures"]}


def test_masks_by_the_challenge(cases, figures) -> None:
    rows = [segmentation_metrics(case.prediction, case.truth) for case in cases]
    for name, key in (("DSC (PS)", "dice_ps"), ("ASD (FH)", "asd_fh"), ("HD (all)", "hd_all")):
        assert figures[name]["value"] == pytest.approx(np.mean([row[key] for row in rows]))


@pytest.mark.parametrize("method", ["ellipse", "iugc2024", "fh_ps_aop"])
def test_angles_by_every_method_with_failures_apart(cases, figures, method) -> None:
    pairs = [[measure_aop(m, method=method).aop for m in (case.prediction, case.truth)] for case in cases]
    assert [ours is None for ours, _ in pairs] == [False, False, True, False, False, False]
    known = [abs(ours - theirs) for ours, theirs in pairs if ours is not None]
    assert figures[f"Failures ({method})"]["value"] == 1
    delta = figures[f"ΔAoP ({method})"]
    if method == "fh_ps_aop":
        assert delta["value"] == pytest.approx((sum(known) + pairs[2][1]) / 6)
        return
    assert delta["value"] == pytest.approx(np.mean(known))
    assert (delta["n"], delta["n_undefined"]) == (5, 1)
    assert figures[f"ΔAoP ({method}, failures penalised)"]["value"] == pytest.approx((sum(known) + 180) / 6)


def test_distances_agreement_and_score(cases, figures) -> None:
    pairs = [[measure_aop(m) for m in (case.prediction, case.truth)] for case in cases]
    good = [(a, b) for a, b in pairs if a.aop is not None]
    expected = np.mean([abs(a.hsd_nearest_px - b.hsd_nearest_px) for a, b in good])
    assert figures["ΔHSD nearest (ellipse)"]["value"] == pytest.approx(expected)
    differences = np.array([a.aop - b.aop for a, b in good])
    assert figures["Bland–Altman bias (ellipse)"]["value"] == pytest.approx(differences.mean())
    high = differences.mean() + 1.96 * differences.std(ddof=1)
    assert figures["Bland–Altman upper limit (ellipse)"]["value"] == pytest.approx(high)
    assert figures["Within 5° (ellipse)"]["value"] == pytest.approx((np.abs(differences) <= 5).mean())
    same = np.mean([(a.aop >= 120) == (b.aop >= 120) for a, b in good])
    assert figures["Agreement at 120° (ellipse)"]["value"] == pytest.approx(same)
    assert 0.5 < figures["FH-PS-AOP score"]["value"] < 1


def test_what_was_measured_of_every_case_is_written(evaluation, tmp_path) -> None:
    paths = evaluation.write(tmp_path)
    with paths["preset.csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == [result.id for result in evaluation.results]
    assert rows[2]["ellipse_aop_prediction"] == ""
    assert float(rows[0]["iugc2024_aop_truth"]) == evaluation.published["iugc2024_aop_truth"][0]
    assert "ΔAoP (ellipse)" in paths["report.html"].read_text(encoding="utf-8")
    assert json.loads(paths["summary.json"].read_text())["published"]["preset"] == "iugc2024"


def test_perfect_masks() -> None:
    mask = generate_case(1, size=96).mask
    found = evaluate([EvaluatedCase("a", mask, mask)], CLASSES, preset="iugc2024", resamples=5).summary["published"]
    values = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert values["FH-PS-AOP score"] == 1
    assert values["ΔAoP (iugc2024)"] == 0


@pytest.mark.parametrize(
    ("shape", "classes", "said"),
    [((8, 8), ["b", "f"], "2-D with 2"), ((2, 8, 8), list(CLASSES), "3-D with 3")],
)
def test_other_data_are_refused(shape, classes, said) -> None:
    mask = np.ones(shape, np.uint8)
    with pytest.raises(UserError, match=said):
        evaluate([EvaluatedCase("a", mask, mask)], classes, preset="iugc2024")


def test_exchanged_classes_are_refused() -> None:
    mask = np.array([0, 2, 1], np.uint8)[generate_case(0, size=64).mask]
    with pytest.raises(UserError, match="class 1 covers more pixels"):
        _ = evaluate([EvaluatedCase("a", mask, mask)], CLASSES, preset="iugc2024", resamples=5).summary
