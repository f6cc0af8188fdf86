"""Phantoms: their geometry is exact, they are reproducible, and they are written whole or not at all."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glocal.data import open_dataset
from glocal.data.phantom import FRAMES_PER_GROUP, Ellipse, Phantom, generate_case, progression, write_phantoms
from glocal.errors import UserError

# Symphysis, head, inferior end, tangent point, angle of progression: exact by dense sampling of the ellipses.
# Rows 2 and 3 by hand: a circle of radius r at distance D from the vertex sees it under asin(r / D).
CLOSED_FORM = [
    ((250, 78, 52, 15, 9), (235, 265, 120, 98, 25), (301.359794, 86.134592), (347.970423, 256.055119), 114.339406),
    ((100, 100, 50, 10, 0), (200, 200, 50, 50, 0), (150, 100), (230, 160), 143.130102),
    ((100, 100, 50, 10, 0), (150, 250, 100, 100, 0), (150, 100), (224.535599, 183.333333), 131.810315),
    ((100, 100, 50, 10, 0), (150, 250, 100, 60, 0), (150, 100), (241.651514, 226), 126.031879),
    ((245, 95, 52, 17, -12), (235, 270, 125, 105, 70), (295.863675, 84.188592), (337.948733, 247.908371), 92.416074),
    ((180, 130, 50, 15, 35), (330, 255, 118, 105, 0), (220.957602, 158.678822), (318.928713, 150.463181), 219.793482),
]


@pytest.fixture(scope="module")
def cases() -> list[Phantom]:
    return [generate_case(index, seed=3, size=128) for index in range(24)]


@pytest.mark.parametrize(("symphysis", "head", "inferior", "tangent", "aop"), CLOSED_FORM)
def test_progression_equals_closed_form(symphysis, head, inferior, tangent, aop):
    measured = progression(Ellipse(*symphysis), Ellipse(*head))
    assert measured.aop == pytest.approx(aop, abs=1e-5)
    assert measured.inferior == pytest.approx(inferior, abs=1e-5)
    assert measured.tangent == pytest.approx(tangent, abs=1e-5)


def test_no_tangent_from_inside_the_head():
    assert progression(Ellipse(100, 100, 50, 10, 0), Ellipse(150, 100, 60, 60, 0)) is None


@settings(max_examples=50, deadline=None)
@given(
    scale=st.floats(0.2, 5),
    shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    turn=st.floats(-60, 60),
    row=st.sampled_from(CLOSED_FORM),
)
def test_progression_is_invariant(scale, shift, turn, row):
    """Translation, scale, and rotation of both ellipses (while the inferior end stays on the right) change nothing."""
    radians = np.deg2rad(turn)
    rotation = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])

    def moved(x, y, a, b, angle):
        centre = scale * rotation @ (x, y) + shift
        return Ellipse(*centre, scale * a, scale * b, angle + turn)

    assert abs(row[0][4] + turn) != 90
    if abs(row[0][4] + turn) < 90:
        assert progression(moved(*row[0]), moved(*row[1])).aop == pytest.approx(row[4], abs=1e-5)


def test_same_case_whatever_else_is_drawn(tmp_path):
    few, many = write_phantoms(tmp_path / "few", 2, seed=5, size=64), write_phantoms(tmp_path / "many", 6, 5, 64)
    for name in ("images/phantom_00001.png", "masks/phantom_00001.png"):
        assert (few / name).read_bytes() == (many / name).read_bytes()
    assert (few / "cases.csv").read_text().splitlines() == (many / "cases.csv").read_text().splitlines()[:3]


def test_numbers_do_not_change_by_accident():
    """Figures kept from earlier: results on phantoms stay comparable from version to version."""
    case = generate_case(0, seed=0, size=256)
    assert case.progression.aop == pytest.approx(132.1730974, abs=1e-6)
    assert (case.head.x, case.head.a) == pytest.approx((142.4769975, 68.2847843), abs=1e-6)
    assert case.image.mean() == pytest.approx(31.8895, abs=0.01)
    assert np.bincount(case.mask.ravel()).tolist() == [51751, 1403, 12382]


def test_seeds_and_cases_differ():
    images = [generate_case(index, seed, 64).image for index in (0, 1) for seed in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4


@pytest.mark.parametrize("size", [128, (96, 160), (160, 96)])
def test_masks_are_the_ellipses(size):
    for index in range(4):
        case = generate_case(index, seed=1, size=size)
        assert case.image.shape == case.mask.shape == ((size, size) if isinstance(size, int) else size)
        assert case.image.dtype == case.mask.dtype == np.uint8
        for row in range(0, case.mask.shape[0], 3):
            for column in range(0, case.mask.shape[1], 3):
                expected = 0
                for value, ellipse in ((1, case.symphysis), (2, case.head)):
                    turn = np.deg2rad(ellipse.angle)
                    dx, dy = column - ellipse.x, row - ellipse.y
                    u = dx * np.cos(turn) + dy * np.sin(turn)
                    v = dy * np.cos(turn) - dx * np.sin(turn)
                    if (u / ellipse.a) ** 2 + (v / ellipse.b) ** 2 <= 1:
                        expected = value
                assert case.mask[row, column] == expected


def test_anatomy_lies_in_the_fan_and_outside_is_black(cases):
    for case in cases:
        y, x = np.mgrid[: case.mask.shape[0], : case.mask.shape[1]].astype(float)
        inside = case.fan.contains(x, y)
        assert not case.image[~inside].any()
        assert inside[case.mask > 0].all()
        assert case.image[inside].std() > 5
        assert 0.15 < inside.mean() < 0.8


def test_anatomy_is_plausible(cases):
    for case in cases:
        assert set(np.unique(case.mask)) == {0, 1, 2}
        assert 80 <= case.progression.aop <= 170
        assert 15 < case.symphysis.a * case.spacing < 23  # mm, half the long axis
        assert 42 < case.head.a * case.spacing < 54
        assert case.progression == progression(case.symphysis, case.head)
        outline = case.head.boundary(400)
        grown = replace(case.symphysis, a=case.symphysis.a + 0.5, b=case.symphysis.b + 0.5)
        assert (grown.radius(outline[:, 0], outline[:, 1]) > 1).all()


def test_angle_does_not_depend_on_the_size():
    small, large = generate_case(7, 2, 64), generate_case(7, 2, 256)
    assert small.progression.aop == pytest.approx(large.progression.aop, abs=1e-9)
    assert small.head.a * small.spacing == pytest.approx(large.head.a * large.spacing)


def test_frames_of_a_patient_resemble_each_other(cases):
    """Group is a block of consecutive cases, and geometry varies less within it than across."""
    assert [case.group for case in cases[: FRAMES_PER_GROUP + 1]] == ["patient_0000"] * FRAMES_PER_GROUP + [
        "patient_0001"
    ]
    axes = np.array([case.head.a * case.spacing for case in cases]).reshape(-1, FRAMES_PER_GROUP)
    assert axes.std(axis=1).max() < 1e-9 < axes.mean(axis=1).std()
    angles = np.array([case.progression.aop for case in cases]).reshape(-1, FRAMES_PER_GROUP)
    assert 0 < angles.std(axis=1).mean() < angles.mean(axis=1).std()


def test_bone_is_bright_and_head_dark(cases):
    """What a network can learn from: the skull's far or near wall outshines the inside of the head."""
    brighter = 0
    for case in cases:
        y, x = np.mgrid[: case.mask.shape[0], : case.mask.shape[1]].astype(float)
        radius = case.head.radius(x, y)
        brighter += case.image[np.abs(radius - 1) < 0.03].mean() > case.image[radius < 0.9].mean()
    assert brighter == len(cases)


def test_written_set_holds_what_was_drawn(tmp_path):
    calls: list[tuple[int, int]] = []
    folder = write_phantoms(
        tmp_path / "with space é", 3, 4, 48, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert not any("left out" in note for note in open_dataset(folder).layout_notes)
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    for index, row in enumerate(rows):
        case = generate_case(index, 4, 48)
        assert (row["id"], row["group"]) == (case.id, case.group)
        assert float(row["aop"]) == pytest.approx(case.progression.aop, abs=1e-5)
        again = [
            Ellipse(*(float(row[f"{part}_{f}"]) for f in ("x", "y", "a", "b", "angle")))
            for part in ("symphysis", "head")
        ]
        assert progression(*again).aop == pytest.approx(case.progression.aop, abs=1e-3)
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "images" / f"{case.id}.png")), case.image)
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "masks" / f"{case.id}.png")), case.mask)


def test_nothing_is_overwritten_or_left_half_done(tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    (target / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        write_phantoms(target, 1, size=32)
    assert [path.name for path in target.iterdir()] == ["mine.txt"]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "other", 2, size=32, progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    (tmp_path / "empty").mkdir()
    assert len(os.listdir(write_phantoms(tmp_path / "empty", 1, size=32))) == 5
    with pytest.raises(UserError, match="in the way"):
        write_phantoms(target / "mine.txt", 1, size=32)


@pytest.mark.parametrize("arguments", [{"size": 8}, {"size": (64, 5000)}, {"seed": -1}, {"count": 0}])
def test_impossible_requests(tmp_path: Path, arguments):
    with pytest.raises(UserError):
        write_phantoms(tmp_path / "x", **{"count": 1, **arguments})
    assert not list(tmp_path.iterdir())
