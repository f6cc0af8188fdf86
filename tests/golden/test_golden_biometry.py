"""Every golden case of the two published evaluators: the very landmarks, and a reason where they stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from glocal.biometry import measure_aop, segmentation_metrics
from glocal.biometry.fh_ps_aop import outline_ellipse

FOLDER = Path(__file__).with_name("biometry")
RECORD = json.loads((FOLDER / "cases.json").read_text())
SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
REASONS = {
    "tangent_rises": "no_tangent",
    "aop_above_180": "no_tangent",
    "inferior_end_inside_hull": "no_tangent",
    "no_symphysis": "no_symphysis",
    "no_head": "no_head",
    "one_pixel_symphysis": "symphysis_too_small",
}


@pytest.fixture(scope="module")
def masks():
    with np.load(FOLDER / "masks.npz") as archive:
        return {name: archive[name] for name in archive}


@pytest.mark.parametrize("name", RECORD["cases"])
def test_iugc2024_is_exact(name, masks) -> None:
    expected = RECORD["cases"][name]["iugc2024"]
    found = measure_aop(masks[name], method="iugc2024")
    if "error" in expected:
        assert found.aop is None
        assert found.reasons == (REASONS[name],)
        return
    assert found.reasons == ()
    points = {"inferior": "inferior", "superior": "superior", "hsd_point": "nearest", "tangent": "tangent"}
    assert {theirs: list(getattr(found, ours)) for theirs, ours in points.items()} == {n: expected[n] for n in points}
    assert found.aop == pytest.approx(expected["aop"], abs=1e-9)
    assert found.hsd_nearest_px == pytest.approx(expected["hsd"], abs=1e-9)


@pytest.mark.parametrize("name", RECORD["cases"])
def test_fh_ps_aop_is_that_of_its_evaluator(name, masks) -> None:
    expected = RECORD["cases"][name]["fh_ps_aop"]
    found = measure_aop(masks[name], method="fh_ps_aop")
    assert (found.aop or 0.0) == pytest.approx(expected["aop"], abs=0.02)
    if "note" in expected:
        assert found.aop is None
        assert found.reasons
        return
    for label, structure in ((1, "ps"), (2, "fh")):
        ellipse, vertices = outline_ellipse(masks[name] == label)
        theirs = expected[structure]
        assert ellipse is not None
        assert vertices == theirs["vertices"]
        ours = [ellipse.x, ellipse.y, 2 * ellipse.a, 2 * ellipse.b]
        assert ours == pytest.approx([*theirs["centre"], theirs["major"], theirs["minor"]], abs=1e-3)
        turned = (ellipse.angle - theirs["major_axis_degrees"] + 90) % 180 - 90
        assert abs(turned) < 1e-3


@pytest.mark.parametrize("pair", RECORD["segmentation"], ids=lambda p: f"{p['prediction']}-{p['label']}")
def test_masks_are_scored_as_published(pair, masks) -> None:
    found = segmentation_metrics(masks[pair["prediction"]], masks[pair["label"]])
    expected = pair["metrics"]
    if "error" in expected:  # the label lacks the symphysis: the published code stops
        assert np.isnan(found["hd_ps"])
        assert np.isnan(found["asd_ps"])
        return
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5 if name.startswith("asd") else 0, abs=1e-9), name


def test_the_copy_here_is_the_shared_record(masks) -> None:
    theirs = SHARED / "golden" / "dssaunet" / "biometry"
    if not theirs.is_dir():
        pytest.skip("the shared golden cases are not beside this clone (GLOCAL_SHARED)")
    assert json.loads((theirs / "cases.json").read_text()) == RECORD
    with np.load(theirs / "masks.npz") as archive:
        assert sorted(archive) == sorted(masks)
        for name in archive:
            np.testing.assert_array_equal(archive[name], masks[name])
