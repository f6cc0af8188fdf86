"""Surface distances: closed forms, independent slow references, and properties that hold for any masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from glocal.evaluation.metrics import distance_metrics
from glocal.evaluation.surface import bounding_box, modified_hausdorff, surface, surface_distances

Mask = NDArray[np.bool_]


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> Mask:
    grid = np.ogrid[tuple(slice(0, size) for size in shape)]
    inside = sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) <= 1 + 1e-12
    return np.asarray(inside)


def square(shape: tuple[int, int], corner: tuple[int, int], side: int) -> Mask:
    mask = np.zeros(shape, bool)
    mask[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = True
    return mask


def naive_surface(mask: Mask) -> Mask:
    result = np.zeros_like(mask)
    for index in np.argwhere(mask):
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = index.copy()
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                result[tuple(index)] = True
    return result


def naive_metrics(prediction: Mask, truth: Mask, spacing: tuple[float, ...], tolerance: float) -> dict[str, float]:
    """Every pair of surface points."""
    pairs = cdist(*(np.argwhere(naive_surface(mask)) * np.array(spacing) for mask in (prediction, truth)))
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    return _metrics(there, back, tolerance)


def edt_metrics(prediction: Mask, truth: Mask, spacing: tuple[float, ...], tolerance: float) -> dict[str, float]:
    """SciPy's Euclidean distance transform of the whole image."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return _metrics(maps[1][edges[0]], maps[0][edges[1]], tolerance)


def _metrics(there: NDArray[np.float64], back: NDArray[np.float64], tolerance: float) -> dict[str, float]:
    both = np.concatenate([there, back])
    return {
        "hd": both.max(),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": both.mean(),
        "nsd": (both <= tolerance).mean(),
    }


@pytest.mark.parametrize(("inner", "outer"), [(20, 25), (10, 31), (7, 8)])
@pytest.mark.parametrize("step", [1.0, 0.25])
def test_concentric_discs_are_apart_by_the_difference_of_their_radii(inner: int, outer: int, step: float) -> None:
    small, large = (ball((80, 80), (40, 40), (r, r)) for r in (inner, outer))
    found = distance_metrics(small, large, (step, step), tolerance=(outer - inner + 1) * step)
    assert found["hd"] == pytest.approx((outer - inner) * step, abs=0.75 * step)
    assert found["assd"] == pytest.approx((outer - inner) * step, abs=0.5 * step)
    assert found["nsd"] == 1.0


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_shifted_squares_follow_the_count_of_their_outlines(shift: int) -> None:
    side = 20
    found = distance_metrics(square((40, 40), (5, 5), side), square((40, 40), (5, 5 + shift), side), tolerance=1)
    # One vertical side is `shift` away, the other is nearest to its like or to a horizontal side, and those overlap.
    edge = [min(shift, y, side - 1 - y) for y in range(1, side - 1)]
    distances = [shift] * side + [shift - x for x in range(1, shift)] * 2 + edge + [0] * 2 * (side - shift)
    assert len(distances) == 4 * side - 4
    assert found["hd"] == shift
    assert found["assd"] == pytest.approx(np.mean(distances))
    assert found["nsd"] == pytest.approx(np.mean(np.array(distances) <= 1))


@pytest.mark.parametrize(("axis", "spacing"), [(0, (3.0, 1.0, 1.0)), (1, (1.0, 0.4, 2.0)), (2, (5.0, 5.0, 0.7))])
def test_parallel_planes_are_apart_by_their_offset_times_the_spacing(axis: int, spacing: tuple[float, ...]) -> None:
    masks = np.zeros((2, 12, 12, 12), bool)
    for mask, where in zip(masks, (2, 7), strict=True):
        mask[tuple(where if a == axis else slice(None) for a in range(3))] = True
    gap = 5 * spacing[axis]
    found = distance_metrics(masks[0], masks[1], spacing, tolerance=gap)
    assert [found[name] for name in ("hd", "hd95", "assd")] == pytest.approx([gap] * 3, rel=1e-12)
    assert found["nsd"] == 1.0  # the tolerance itself is within, whatever rounding does
    assert distance_metrics(masks[0], masks[1], spacing, tolerance=gap * 0.999)["nsd"] == 0.0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_sphere_is_as_far_as_its_shift(spacing: tuple[float, ...], axis: int) -> None:
    radii = tuple(9 / step for step in spacing)
    centre = (16, 20, 20)
    moved = tuple(c + 3 * (a == axis) for a, c in enumerate(centre))
    found = distance_metrics(
        ball((36, 44, 44), centre, radii), ball((36, 44, 44), moved, radii), spacing, tolerance=3 * spacing[axis]
    )
    assert found["hd"] == pytest.approx(3 * spacing[axis])
    assert found["hd95"] <= found["hd"]
    assert found["nsd"] == 1.0


def test_an_ellipse_with_a_longer_axis_is_as_far_as_the_axis_grew() -> None:
    narrow, wide = ball((60, 90), (30, 45), (15, 24)), ball((60, 90), (30, 45), (15, 31))
    assert distance_metrics(wide, narrow, tolerance=1)["hd"] == 7


def test_structures_cut_by_the_border_have_a_surface_there() -> None:
    full = np.ones((6, 7), bool)
    assert np.count_nonzero(surface(full)) == 2 * 6 + 2 * 7 - 4
    inside = square((6, 6), (1, 1), 4)
    assert distance_metrics(np.ones((6, 6), bool), inside, tolerance=1)["hd"] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (1, 1, 1), (4, 5, 6)])
def test_the_surface_is_that_of_the_definition(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    for density in (0.3, 0.8, 1.0):
        mask = random.random(shape) < density
        assert np.array_equal(surface(mask), naive_surface(mask))


def test_an_empty_mask_has_no_distance_but_an_unmatched_surface_fails_nsd() -> None:
    some, none = square((9, 9), (2, 2), 3), np.zeros((9, 9), bool)
    assert bounding_box(none) is None
    assert surface_distances(some, none) is None
    for pair in ((some, none), (none, some)):
        found = distance_metrics(*pair, tolerance=100)
        assert found["nsd"] == 0.0
        assert all(math.isnan(found[name]) for name in ("hd", "hd95", "assd"))
    assert all(math.isnan(value) for value in distance_metrics(none, none, tolerance=1).values())


@pytest.mark.parametrize("shape", [(40, 50), (14, 20, 18)])
@pytest.mark.parametrize("kind", ["blobs", "noise", "far", "specks"])
def test_equal_to_all_pairs_and_to_the_distance_transform(shape: tuple[int, ...], kind: str) -> None:
    random = np.random.default_rng(7)
    spacing = (2.5, 0.8, 0.6)[-len(shape) :]
    fields = [ndimage.gaussian_filter(random.standard_normal(shape), 2) for _ in range(2)]
    masks = {
        "blobs": [field > 0.05 for field in fields],
        "noise": [random.random(shape) > 0.5 for _ in range(2)],
        "far": [np.indices(shape)[0] < 3, np.indices(shape)[0] > shape[0] - 4],
        "specks": [random.random(shape) > 0.99 for _ in range(2)],
    }[kind]
    found = distance_metrics(masks[0], masks[1], spacing, tolerance=1.5)
    for reference in (naive_metrics, edt_metrics):
        wanted = reference(masks[0], masks[1], spacing, 1.5)
        assert found == pytest.approx(wanted, abs=1e-6)


def test_equal_to_monai_on_blobs() -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(3)
    masks = [ndimage.gaussian_filter(random.standard_normal((64, 48)), 3) > 0.02 for _ in range(2)]
    one, two = (torch.from_numpy(mask)[None, None].float() for mask in masks)
    found = distance_metrics(masks[0], masks[1], (1.5, 0.5), tolerance=2.0)
    options = {"include_background": True, "spacing": [1.5, 0.5]}
    assert found["hd"] == pytest.approx(metrics.compute_hausdorff_distance(one, two, **options).item(), rel=1e-5)
    percentile = metrics.compute_hausdorff_distance(one, two, percentile=95, **options).item()
    assert found["hd95"] == pytest.approx(percentile, rel=1e-5)
    average = metrics.compute_average_surface_distance(one, two, symmetric=True, **options).item()
    assert found["assd"] == pytest.approx(average, rel=1e-5)
    dice = metrics.compute_surface_dice(one, two, class_thresholds=[2.0], **options).item()
    assert found["nsd"] == pytest.approx(dice, rel=1e-5)


pairs = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
steps = st.floats(0.1, 10)


@settings(deadline=None, max_examples=80)
@given(pairs, st.lists(steps, min_size=3, max_size=3), steps, st.floats(0, 5))
def test_symmetry_scale_axes_and_order(
    masks: tuple[Mask, Mask], spacing: list[float], scale: float, tolerance: float
) -> None:
    prediction, truth = masks
    steps = spacing[: truth.ndim]
    found = distance_metrics(prediction, truth, steps, tolerance=tolerance)
    same = {"abs": 1e-9, "rel": 1e-9, "nan_ok": True}
    assert distance_metrics(truth, prediction, steps, tolerance=tolerance) == pytest.approx(found, **same)
    turned = distance_metrics(prediction.T, truth.T, steps[::-1], tolerance=tolerance)
    assert turned == pytest.approx(found, **same)
    mirrored = distance_metrics(np.flip(prediction), np.flip(truth), steps, tolerance=tolerance)
    assert mirrored == pytest.approx(found, **same)
    scaled = distance_metrics(prediction, truth, [step * scale for step in steps], tolerance=tolerance * scale)
    for name in ("hd", "hd95", "assd"):
        assert scaled[name] == pytest.approx(found[name] * scale, **same)
    if not math.isnan(found["hd"]):
        assert 0 <= found["assd"] <= found["hd"] * (1 + 1e-12)
        assert found["hd95"] <= found["hd"]
        assert (found["hd"] == 0) == bool((naive_surface(prediction) == naive_surface(truth)).all())
        assert distance_metrics(prediction, truth, steps, tolerance=tolerance + 1)["nsd"] >= found["nsd"]


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_modified_hausdorff_is_the_mean_over_all_pixels(masks: tuple[Mask, Mask]) -> None:
    points = [np.argwhere(mask).astype(float) for mask in masks]
    if all(len(p) for p in points):
        table = cdist(*points)
        wanted = max(table.min(axis=1).mean(), table.min(axis=0).mean())
    else:
        wanted = math.inf if len(points[0]) or len(points[1]) else 0.0
    assert modified_hausdorff(*masks) == pytest.approx(wanted)
