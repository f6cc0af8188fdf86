"""AoP and HSD of ellipses with closed-form answers, of masks drawn of them, and of anatomy that cannot be measured."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from glocal.biometry import METHODS, Ellipse, measure_aop
from glocal.biometry.ellipse_method import between_ellipses
from glocal.data.phantom import generate_case
from glocal.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
from ellipse_cases import KNOWN, drawn, realistic

FIRST = KNOWN[0]


@pytest.mark.parametrize("known", KNOWN)
def test_closed_form_of_two_ellipses(known) -> None:
    found = between_ellipses(known.symphysis, known.head)
    assert found.inferior == pytest.approx(known.inferior, abs=1e-6)
    assert found.tangent == pytest.approx(known.tangent, abs=1e-6)
    assert found.aop == pytest.approx(known.aop, abs=1e-6)
    assert found.hsd_nearest_px == pytest.approx(known.nearest, abs=1e-6)
    if known.perpendicular is None:
        assert found.hsd_perpendicular_px is None
        assert found.reasons == ("no_perpendicular",)
    else:
        assert found.hsd_perpendicular_px == pytest.approx(known.perpendicular, abs=1e-6)
    assert ("aop_above_180" in found.flags) == (known.aop > 180)


def test_circles_by_hand() -> None:
    second = between_ellipses(*KNOWN[1][:2])
    assert second.aop == pytest.approx(180 - math.degrees(math.atan2(60, 80)), abs=1e-9)
    assert second.hsd_nearest_px == pytest.approx(50 * math.sqrt(5) - 50, abs=1e-9)
    third = between_ellipses(*KNOWN[2][:2])
    assert third.aop == pytest.approx(90 + math.degrees(math.asin(2 / 3)), abs=1e-9)


@pytest.mark.parametrize("known", KNOWN[:-1])
def test_landmarks_lie_where_dense_sampling_finds_them(known) -> None:
    found = between_ellipses(known.symphysis, known.head)
    inferior, outline = np.array(found.inferior), known.head.boundary(100_000)
    assert cdist([inferior], outline).min() == pytest.approx(found.hsd_nearest_px, abs=1e-4)
    lines, along = outline - inferior, np.array(found.tangent) - inferior
    assert (along[0] * lines[:, 1] - along[1] * lines[:, 0]).min() > -1e-4 * np.hypot(*along)  # all on one side


@pytest.mark.parametrize("known", KNOWN[:-1])
def test_drawn_masks_are_within_the_tolerance_of_their_raster(known) -> None:
    found = measure_aop(drawn(known.symphysis, known.head))
    assert found.aop == pytest.approx(known.aop, abs=0.2)
    assert found.hsd_nearest_px == pytest.approx(known.nearest, abs=0.2)
    assert found.symphysis.residual < 0.02
    assert found.head.residual < 0.005


@pytest.mark.parametrize(
    ("method", "size", "mean", "largest", "hsd"),
    [
        ("ellipse", 512, 0.07, 0.2, 0.2),
        ("ellipse", 256, 0.15, 0.45, 0.4),
        ("fh_ps_aop", 512, 0.07, 0.2, None),
        ("iugc2024", 512, 1.8, 5.0, None),
    ],
)
def test_random_realistic_pairs(method, size, mean, largest, hsd) -> None:
    rng = np.random.default_rng(0)
    angles, distances = [], []
    for _ in range(40):
        pair = realistic(rng, size)
        truth, found = between_ellipses(*pair), measure_aop(drawn(*pair, size), method=method)
        angles.append(abs(found.aop - truth.aop))
        if hsd is not None:
            distances.append(abs(found.hsd_nearest_px - truth.hsd_nearest_px) * 512 / size)
    assert np.mean(angles) < mean
    assert np.max(angles) < largest
    assert max(distances, default=0.0) < (hsd or 1)


@pytest.mark.parametrize("method", METHODS)
def test_moving_the_anatomy_moves_the_points_alone(method) -> None:
    mask = drawn(FIRST.symphysis, FIRST.head)
    first, moved = (measure_aop(m, method=method) for m in (mask, np.roll(mask, (13, -40), (0, 1))))
    assert moved.aop == pytest.approx(first.aop, abs=1e-6)
    assert moved.tangent == pytest.approx((first.tangent[0] - 40, first.tangent[1] + 13), abs=1e-5)


@pytest.mark.parametrize("turn", [-40, -15, 20, 60])
def test_turning_both_ellipses_turns_the_points_alone(turn) -> None:
    radians, middle = math.radians(turn), np.array([256.0, 256.0])
    turning = np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])

    def turned(e: Ellipse) -> Ellipse:
        x, y = middle + turning @ (e.centre - middle)
        return Ellipse(x, y, e.a, e.b, e.angle + turn)

    found = between_ellipses(turned(FIRST.symphysis), turned(FIRST.head))
    assert found.aop == pytest.approx(FIRST.aop, abs=1e-6)
    assert found.hsd_nearest_px == pytest.approx(FIRST.nearest, abs=1e-6)
    drawn_so = measure_aop(drawn(turned(FIRST.symphysis), turned(FIRST.head)))
    assert drawn_so.aop == pytest.approx(FIRST.aop, abs=0.25)


def test_scale_leaves_the_angle_and_stretches_the_distance() -> None:
    found = between_ellipses(FIRST.symphysis.scaled(2.5, 2.5), FIRST.head.scaled(2.5, 2.5))
    assert found.aop == pytest.approx(FIRST.aop, abs=1e-6)
    assert found.hsd_perpendicular_px == pytest.approx(2.5 * FIRST.perpendicular, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("known", [KNOWN[0], KNOWN[5]])
def test_a_mirrored_frame_is_the_same_once_its_side_is_said(method, known) -> None:
    mask = drawn(known.symphysis, known.head)
    first = measure_aop(mask, method=method)
    mirrored = measure_aop(mask[:, ::-1], method=method, symphysis_side="right")
    assert mirrored.aop == first.aop
    assert mirrored.inferior == pytest.approx((511 - first.inferior[0], first.inferior[1]), abs=1e-9)
    assert mirrored.hsd_nearest_px == first.hsd_nearest_px
    if method != "iugc2024":
        assert mirrored.head.ellipse.mirrored(512) == first.head.ellipse


def test_twice_as_many_pixels() -> None:
    pair = [e.scaled(0.5, 0.5) for e in FIRST[:2]]
    mask = drawn(*pair, 256)
    small, large = (measure_aop(m) for m in (mask, mask.repeat(2, 0).repeat(2, 1)))
    assert large.aop == pytest.approx(small.aop, abs=0.3)
    assert large.hsd_nearest_px / 2 == pytest.approx(small.hsd_nearest_px, abs=0.5)


def test_millimetres_follow_the_spacing() -> None:
    mask = drawn(FIRST.symphysis, FIRST.head)
    px, mm = measure_aop(mask), measure_aop(mask, spacing=0.25)
    assert mm.aop == px.aop
    assert mm.hsd_nearest_px == px.hsd_nearest_px
    assert mm.hsd_nearest_mm == pytest.approx(0.25 * px.hsd_nearest_px)
    assert px.hsd_nearest_mm is None


def test_pixels_that_are_not_square_are_measured_in_millimetres() -> None:
    flat = [e.scaled(1.0, 0.5) for e in FIRST[:2]]  # rows twice as far apart as columns
    found = measure_aop(drawn(*flat), spacing=(0.5, 0.25))
    assert found.aop == pytest.approx(FIRST.aop, abs=0.3)
    assert found.hsd_nearest_mm == pytest.approx(0.25 * FIRST.nearest, abs=0.1)
    assert found.hsd_nearest_px is None
    assert found.inferior == pytest.approx((FIRST.inferior[0], FIRST.inferior[1] / 2), abs=0.5)
    with pytest.raises(UserError, match="square pixels"):
        measure_aop(drawn(*flat), spacing=(0.5, 0.25), method="iugc2024")


@pytest.mark.parametrize("size", [256, 512])
def test_the_known_angle_of_phantoms(size) -> None:
    for index in range(4):
        case = generate_case(index, size=size)
        found = measure_aop(case.mask, spacing=case.spacing)
        assert found.aop == pytest.approx(case.progression.aop, abs=0.5), case.id
        assert found.tangent == pytest.approx(case.progression.tangent, abs=1.5)


def test_a_cut_head_is_measured_by_the_outline_that_is_seen() -> None:
    symphysis, head = Ellipse(200, 120, 60, 22, 10), Ellipse(230, 400, 190, 150, 15)
    truth, found = between_ellipses(symphysis, head), measure_aop(drawn(symphysis, head))
    assert "head_truncated" in found.flags
    assert found.aop == pytest.approx(truth.aop, abs=0.5)
    assert found.hsd_nearest_px == pytest.approx(truth.hsd_nearest_px, abs=0.5)
    assert found.head.ellipse.y == pytest.approx(400, abs=3)


def test_small_parts_and_holes_change_nothing_and_are_told() -> None:
    mask = drawn(FIRST.symphysis, FIRST.head)
    spoiled = mask.copy()
    spoiled[470:480, 20:30] = 2
    spoiled[20:24, 480:485] = 1
    spoiled[260:270, 230:240] = 0
    first, found = measure_aop(mask), measure_aop(spoiled)
    assert found.aop == first.aop
    assert "several_components" in found.flags
    assert (found.head.dropped, found.head.filled, found.symphysis.dropped) == (100, 100, 20)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_missing_has_a_reason(method) -> None:
    mask = drawn(FIRST.symphysis, FIRST.head)
    empty = np.zeros_like(mask)
    for labels, reasons in (
        (np.where(mask == 1, 0, mask), {"no_symphysis"}),
        (np.where(mask == 2, 0, mask), {"no_head"}),
        (empty, {"no_symphysis", "no_head"}),
    ):
        found = measure_aop(labels, method=method)
        assert found.aop is None
        assert set(found.reasons) == reasons


def test_an_end_inside_the_head_has_no_tangent() -> None:
    found = measure_aop(drawn(Ellipse(200, 200, 60, 20, 30), Ellipse(260, 260, 120, 100, 0)))
    assert found.aop is None
    assert found.hsd_nearest_px is None
    assert found.reasons == ("inferior_end_in_head",)
    assert found.inferior is not None


def test_a_round_symphysis_is_flagged_and_a_speck_refused() -> None:
    head = Ellipse(250, 300, 100, 90, 0)
    assert "symphysis_round" in measure_aop(drawn(Ellipse(150, 100, 30, 27, 0), head)).flags
    speck = drawn(Ellipse(150, 100, 2, 1.5, 0), head)
    assert measure_aop(speck).reasons == ("symphysis_too_small",)
    line = drawn(Ellipse(150, 100, 0.4, 0.4, 0), head)
    line[50:110, 100] = 1
    assert measure_aop(line).reasons == ("symphysis_too_small",)


def test_other_label_values() -> None:
    mask = drawn(FIRST.symphysis, FIRST.head)
    found = measure_aop(np.array([0, 7, 8])[mask], symphysis=7, head=8)
    assert found.aop == measure_aop(mask).aop


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mask": np.zeros((4, 4, 3), np.uint8)}, r"\(4, 4, 3\)"),
        ({"mask": np.zeros((4, 4))}, "float64"),
        ({"mask": np.zeros((0, 4), np.uint8)}, r"\(0, 4\)"),
        ({"method": "calipers"}, "use one of ellipse"),
        ({"symphysis_side": "up"}, "'left' or 'right'"),
        ({"spacing": 0.0}, "spacing 0.0"),
        ({"spacing": (0.1, 0.1, 0.1)}, "one or two lengths"),
        ({"spacing": float("nan")}, "spacing nan"),
        ({"symphysis": 2}, "both have the label 2"),
    ],
)
def test_unusable_arguments(arguments, said) -> None:
    with pytest.raises(UserError, match=said):
        measure_aop(**{"mask": np.zeros((8, 8), np.uint8), **arguments})


@pytest.mark.parametrize("method", METHODS)
def test_any_mask_is_measured_or_has_a_reason(method) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        mask = rng.choice(3, size=rng.integers(1, 24, 2), p=rng.dirichlet(np.ones(3)))
        found = measure_aop(mask, method=method)
        assert (found.aop is not None) or found.reasons
        assert found.aop is None or 0 <= found.aop < 360
