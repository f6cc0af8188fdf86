"""The challenges' metrics at their edges, the score, and agreement of two measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from glocal.biometry import (
    bland_altman,
    fh_ps_aop_score,
    segmentation_metrics,
    share_within,
    threshold_agreement,
)
from glocal.errors import UserError


def frame(symphysis, head):
    mask = np.zeros((40, 40), np.uint8)
    mask[head], mask[symphysis] = 2, 1
    return mask


FIRST = frame(np.s_[5:9, 5:15], np.s_[18:36, 10:30])
SECOND = frame(np.s_[6:10, 7:18], np.s_[18:34, 8:30])


def test_distances_by_brute_force() -> None:
    found = segmentation_metrics(FIRST, SECOND)
    for part, labels in (("ps", [1]), ("fh", [2]), ("all", [1, 2])):
        regions = [np.isin(mask, labels) for mask in (FIRST, SECOND)]
        points = [np.argwhere(region) for region in regions]
        between = cdist(*points)
        assert found[f"hd_{part}"] == pytest.approx(max(between.min(0).max(), between.min(1).max()))
        edges = []
        for region, places in zip(regions, points, strict=True):
            padded = np.pad(region, 1, constant_values=True)
            edges.append([p for p in places if not padded[p[0] : p[0] + 3, p[1] : p[1] + 3].all()])
        between = cdist(*edges)
        mean = (between.min(0).sum() + between.min(1).sum()) / sum(map(len, edges))
        assert found[f"asd_{part}"] == pytest.approx(mean)
        both = np.count_nonzero(regions[0] & regions[1])
        assert found[f"dice_{part}"] == pytest.approx((2 * both + 1) / (sum(map(len, points)) + 1))


def test_absent_structures() -> None:
    lacking = np.where(FIRST == 1, 0, FIRST)
    missed = segmentation_metrics(lacking, FIRST)
    assert (missed["dice_ps"], missed["asd_ps"], missed["hd_ps"]) == (0, 100, 100)
    invented = segmentation_metrics(FIRST, lacking)
    assert invented["dice_ps"] == pytest.approx(1 / 41)
    assert np.isnan([invented["asd_ps"], invented["hd_ps"]]).all()
    neither = segmentation_metrics(lacking, lacking)
    assert (neither["dice_ps"], neither["asd_ps"], neither["hd_ps"]) == (0, 100, 100)
    ours = segmentation_metrics(lacking, lacking, protocol="glocal")
    assert np.isnan([ours["dice_ps"], ours["asd_ps"], ours["hd_ps"]]).all()
    whole = segmentation_metrics(np.full_like(FIRST, 2), FIRST)
    assert np.isnan([whole["asd_fh"], whole["hd_fh"]]).all()


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="one size"):
        segmentation_metrics(FIRST, FIRST[:20])


def test_score() -> None:
    assert fh_ps_aop_score(1, 0, 0, 0) == 1
    assert fh_ps_aop_score(0.9, 10, 4, 9) == pytest.approx(0.25 * 0.9 + 0.125 * 0.9 + 0.125 * 0.96 + 0.5 * 0.95)


def test_bland_altman_by_hand() -> None:
    found = bland_altman([101, 99, math.nan, 106, 90], [100, 100, 100, 103, math.nan])
    assert (found.n, found.bias, found.sd) == (3, 1.0, 2.0)
    assert (found.low, found.high) == pytest.approx((1 - 3.92, 1 + 3.92))
    assert math.isnan(bland_altman([], []).bias)
    assert math.isnan(bland_altman([1.0], [2.0]).sd)


def test_share_and_threshold() -> None:
    ours, theirs = [121, 119, 125, 100, math.nan], [119, 118, 130.5, 99, 130]
    assert share_within(ours, theirs, 2) == 0.75
    assert math.isnan(share_within([], [], 2))
    sides = threshold_agreement(ours, theirs)
    assert (sides.true_positive, sides.false_positive, sides.false_negative, sides.true_negative) == (1, 1, 0, 2)
    assert (sides.n, sides.agreement, sides.sensitivity) == (4, 0.75, 1.0)
    assert sides.specificity == pytest.approx(2 / 3)
    assert sides.f1 == pytest.approx(2 / 3)
    assert threshold_agreement([120], [120]).true_positive == 1
