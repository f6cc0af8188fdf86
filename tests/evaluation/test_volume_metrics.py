"""Volumes: surface metrics in three dimensions against closed forms, and the published protocol of HiPerformer."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.evaluation import EvaluatedCase, evaluate, get_preset
from glocal.evaluation.hiperformer import dice_and_hd95
from glocal.evaluation.metrics import METRIC_NAMES


def box(*sides: tuple[int, int], shape: tuple[int, int, int] = (6, 16, 16)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


A = box((1, 4), (3, 9), (4, 10))
B = box((1, 5), (4, 10), (4, 11))


def value(evaluation, metric: str) -> float:
    return float(evaluation.values[0, 1, METRIC_NAMES.index(metric)])


@pytest.mark.parametrize(("axis", "step"), [(0, 5.0), (1, 0.7), (2, 0.5)])
@pytest.mark.parametrize("by", [1, 2])
def test_a_shifted_slab_is_off_by_the_spacing_of_its_axis(axis: int, step: float, by: int) -> None:
    """A slab through the whole volume, moved along its normal: each of its voxels is ``by`` steps off."""
    shape = [8, 8, 8]
    truth, moved = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    np.moveaxis(truth, axis, 0)[2:3] = 1
    np.moveaxis(moved, axis, 0)[2 + by : 3 + by] = 1
    spacing = (5.0, 0.7, 0.5)
    found = evaluate([EvaluatedCase("a", moved, truth, spacing=spacing)], ["background", "x"], tolerance=step * by)
    for metric in ("hd", "hd95", "assd"):
        assert value(found, metric) == pytest.approx(step * by)
    assert value(found, "nsd") == 1.0
    assert value(found, "dice") == 0.0


def test_two_concentric_balls_are_apart_by_the_difference_of_their_radii() -> None:
    z, y, x = np.mgrid[:32, :64, :64]
    spacing = (2.0, 1.0, 1.0)
    radius = np.sqrt((2 * (z - 15.5)) ** 2 + (y - 31.5) ** 2 + (x - 31.5) ** 2)
    case = EvaluatedCase("a", (radius < 20).astype(np.uint8), (radius < 25).astype(np.uint8), spacing=spacing)
    found = evaluate([case], ["background", "ball"])
    assert value(found, "assd") == pytest.approx(5, abs=0.5)
    assert value(found, "hd95") == pytest.approx(5, abs=1.2)
    assert value(found, "dice") == pytest.approx(2 * 20**3 / (20**3 + 25**3), abs=0.01)


@pytest.mark.parametrize(
    ("prediction", "truth", "dice", "hd95"),
    [
        (A, B, 0.6521739, 1.4142136),
        (box((2, 3), (3, 9), (4, 10)) | box((5, 6), (15, 16), (15, 16)), A, 0.4965517, 1.0),
        (box((0, 1), (0, 1), (0, 1)), A, 0.0, 11.6273821),
        (A, np.zeros_like(A), 1.0, 0.0),
        (np.zeros_like(A), A, 0.0, 0.0),
        (np.zeros_like(A), np.zeros_like(A), 0.0, 0.0),
    ],
)
def test_worked_examples_of_the_published_code(prediction, truth, dice: float, hd95: float) -> None:
    assert dice_and_hd95(prediction, truth) == pytest.approx((dice, hd95), abs=1e-6)


def test_the_preset_averages_over_cases_then_classes() -> None:
    first = EvaluatedCase("a", A + 2 * B.astype(int) * ~A, A.astype(int), spacing=(5.0, 1.0, 1.0))
    second = EvaluatedCase("b", np.zeros_like(A, int), A.astype(int), spacing=(5.0, 1.0, 1.0))
    evaluation = evaluate([first, second], ["background", "liver", "spleen"], preset="hiperformer")
    figures = {
        figure.name: figure for figure in get_preset("hiperformer").figures(evaluation.confusion, evaluation.published)
    }
    assert figures["DSC of class 1"].value == pytest.approx((1 + 0) / 2)
    assert figures["DSC of class 2"].value == pytest.approx((1 + 0) / 2), "invented in a, rightly absent in b"
    assert figures["DSC"].value == pytest.approx(0.5)
    assert figures["HD95"].value == 0.0
    assert "3 of 4 values are by these rules" in figures["DSC"].definition


def test_millimetres_are_given_where_they_are_known() -> None:
    shifted = box((2, 5), (3, 9), (4, 10))
    for spacing, expected in ((None, None), ((5.0, 1.0, 1.0), 5.0)):
        case = EvaluatedCase("a", shifted.astype(int), A.astype(int), spacing=spacing)
        evaluation = evaluate([case], ["background", "x"], preset="hiperformer")
        figures = get_preset("hiperformer").figures(evaluation.confusion, evaluation.published)
        values = {figure.name: figure.value for figure in figures}
        assert values["HD95"] == 1.0
        assert values.get("HD95 (mm)") == expected
