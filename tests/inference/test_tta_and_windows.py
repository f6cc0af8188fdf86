"""Test-time augmentation and sliding windows: their symmetries and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from glocal.errors import UserError

FLIPS = {"rows": lambda a: a[::-1], "columns": lambda a: a[:, ::-1], "both": lambda a: a[::-1, ::-1]}


@pytest.fixture
def lopsided() -> nn.Module:
    """A network that looks to one side."""
    torch.manual_seed(3)
    return nn.Conv2d(3, 3, 3, padding=1)


@pytest.mark.parametrize("kind", ["flips", "rotations"])
def test_what_a_symmetric_network_says_stays(make_predictor, photograph, kind):
    predictor, rgb = make_predictor(), photograph(50, 40)
    np.testing.assert_allclose(predictor(rgb, tta=kind).probabilities, predictor(rgb).probabilities, atol=1e-5)


def test_probabilities_are_averaged_over_the_four_flips(make_predictor, lopsided, photograph):
    rgb, predictor = photograph(24, 36), make_predictor(lopsided)
    views = [predictor(rgb).probabilities]
    for axes, flip in {(1,): FLIPS["rows"], (2,): FLIPS["columns"], (1, 2): FLIPS["both"]}.items():
        views.append(np.flip(predictor(np.ascontiguousarray(flip(rgb))).probabilities, axes))
    assert np.abs(views[0] - views[1]).max() > 0.1
    np.testing.assert_allclose(predictor(rgb, tta=True).probabilities, np.mean(views, axis=0), atol=1e-5)


def test_flips_and_quarter_turns_of_the_image_turn_the_answer(make_predictor, lopsided, photograph):
    square, predictor = photograph(24, 24), make_predictor(lopsided, size=(24, 24))
    for flip in FLIPS.values():
        turned = predictor(np.ascontiguousarray(flip(square)), tta="flips")
        assert np.array_equal(turned.mask, flip(predictor(square, tta="flips").mask))
    turned = predictor(np.ascontiguousarray(np.rot90(square)), tta="rotations").mask
    assert np.array_equal(turned, np.rot90(predictor(square, tta="rotations").mask))
    assert not np.array_equal(turned, np.rot90(predictor(square, tta="flips").mask))


@pytest.mark.parametrize(
    ("flips", "same"), [(["horizontal"], "mirror"), (["horizontal", "vertical"], "flips"), (None, "flips")]
)
def test_the_flips_of_training_are_taken(make_predictor, lopsided, photograph, flips, same):
    predictor, rgb = make_predictor(lopsided, manifest={} if flips is None else {"flips": flips}), photograph(24, 36)
    chosen = predictor(rgb, tta=True)
    assert np.array_equal(chosen.probabilities, predictor(rgb, tta=same).probabilities)
    assert chosen.notes == (f"averaged over {2 if same == 'mirror' else 4} views",)


def test_only_upside_down_if_training_had_that_alone(make_predictor, lopsided, photograph):
    predictor, rgb = make_predictor(lopsided, manifest={"flips": ["vertical"]}), photograph(24, 36)
    other = predictor(np.ascontiguousarray(rgb[::-1])).probabilities[:, ::-1]
    expected = (predictor(rgb).probabilities + other) / 2
    np.testing.assert_allclose(predictor(rgb, tta=True).probabilities, expected, atol=1e-5)


def test_a_network_trained_without_flips_is_not_averaged_over_them_by_default(make_predictor, photograph):
    predictor = make_predictor(manifest={"flips": []})
    with pytest.raises(UserError, match="trained without flips"):
        predictor(photograph(24, 36), tta=True)
    assert predictor(photograph(24, 36), tta="flips").notes == ("averaged over 4 views",)


@pytest.mark.parametrize("shape", [(100, 150), (25, 36), (24, 37), (10, 200), (97, 5)])
@pytest.mark.parametrize("tta", [False, True])
def test_windows_of_a_pixelwise_network_are_seamless(make_predictor, photograph, shape, tta):
    rgb = photograph(*shape)
    windows, whole = make_predictor()(rgb, tiling="always", tta=tta), make_predictor(size=shape)(rgb)
    assert windows.notes[0] == "seen in windows of 24x36"
    np.testing.assert_allclose(windows.probabilities, whole.probabilities, atol=1e-5)


def test_windows_are_taken_where_the_model_says_so(make_predictor, photograph):
    larger, smaller = photograph(60, 60), photograph(20, 30)
    stretched, cut = make_predictor(), make_predictor(mode="window")
    assert stretched(larger).notes == cut(larger, tiling="never").notes == ("seen at 24x36",)
    assert cut(larger).notes == stretched(larger, tiling="always").notes == ("seen in windows of 24x36",)
    assert cut(smaller, tiling="always").notes == ("seen at 24x36",)
    assert cut(photograph(24, 36)).notes == ()


def test_the_size_of_the_image_is_kept_and_said(make_predictor, photograph):
    prediction = make_predictor()(photograph(61, 47), tiling="always")
    assert prediction.scores.shape == (3, 61, 47)
    assert prediction.mask_at((10, 12)).shape == (10, 12)


def test_unknown_kinds(make_predictor, photograph):
    with pytest.raises(UserError, match="none, mirror, flips, rotations"):
        make_predictor()(photograph(9, 9), tta="mirrors")
    with pytest.raises(UserError, match="auto, never, always"):
        make_predictor()(photograph(9, 9), tiling="yes")


def test_full_memory_is_one_line(make_predictor, photograph):
    class Hungry(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nmore")

    with pytest.raises(UserError, match="--batch_size 1") as error:
        make_predictor(Hungry())(photograph(9, 9))
    assert "\n" not in str(error.value)


def test_a_mistake_inside_a_network_is_not_hidden(make_predictor, photograph):
    class Wrong(nn.Module):
        def forward(self, x):
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        make_predictor(Wrong())(photograph(9, 9))
