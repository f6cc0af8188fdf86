"""Pictures of measurements: lines where the landmarks are, the numbers in words, nothing lost of the frame."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.biometry import METHODS, measure_aop
from glocal.biometry.drawing import SHOWN_SIDE, caption, draw_measurement
from glocal.data.phantom import generate_case

CASE = generate_case(2, size=96)


@pytest.mark.parametrize("method", METHODS)
def test_landmarks_are_marked_on_the_enlarged_frame(method) -> None:
    measured = measure_aop(CASE.mask, method=method)
    picture = np.asarray(draw_measurement(np.zeros((96, 96), np.uint8), measured, mask=CASE.mask))
    factor = picture.shape[1] // 96
    assert picture.shape[1] == 96 * factor >= SHOWN_SIDE
    assert picture.shape[0] > 96 * factor  # the strip with the numbers
    for x, y in (measured.superior, measured.inferior, measured.tangent):
        assert picture[round((y + 0.5) * factor), round((x + 0.5) * factor)].min() > 200  # a white dot
    frame = picture[: 96 * factor]
    cyan = (frame[..., 2].astype(int) - frame[..., 0] > 120).sum()
    assert cyan > 500  # the outlines


def test_a_large_colour_frame_keeps_its_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (900, 800, 3), np.uint8)
    picture = np.asarray(draw_measurement(frame, measure_aop(np.zeros((900, 800), np.uint8))))
    np.testing.assert_array_equal(picture[:900], frame)


def test_words_name_the_method_and_every_distance() -> None:
    lines = caption(measure_aop(CASE.mask, spacing=0.5), (100.0, 110.0))
    assert lines[0].endswith("method ellipse")
    assert "(100.0 to 110.0°)" in lines[0]
    assert [line.split(" ")[:2] for line in lines[1:3]] == [["HSD", "nearest"], ["HSD", "perpendicular"]]
    assert "mm = " in lines[1]
    assert caption(measure_aop(CASE.mask, method="iugc2024"))[1].startswith("HSD nearest")
    lacking = caption(measure_aop(np.where(CASE.mask == 1, 0, CASE.mask)))
    assert lacking[0].startswith("AoP not measurable")
    assert "the mask has no pubic symphysis" in lacking


@pytest.mark.parametrize("side", [20, 97, 256])
def test_any_mask_can_be_drawn(side) -> None:
    rng = np.random.default_rng(side)
    for method in METHODS:
        mask = rng.choice(3, (side, side), p=[0.6, 0.2, 0.2])
        draw_measurement(np.zeros((side, side), np.uint8), measure_aop(mask, method=method), mask=mask)
