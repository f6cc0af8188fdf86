"""A volume through a network for images, slice by slice."""

from __future__ import annotations

import errno
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from glocal.data.volumes import open_volume
from glocal.errors import UserError
from glocal.inference.volumes import predict_volume, scratch


def expected(values: np.ndarray, low: float = -100, high: float = 200) -> np.ndarray:
    """What a network of thresholds 0.4 and 0.7 makes of values in a window."""
    unit = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.digitize(unit, [0.4, 0.7]).astype(np.uint8)


def affine_along(codes: str, shape: tuple[int, ...], oblique: bool) -> np.ndarray:
    """An affine whose axes point to ``codes``, turned by a fifth of a right angle if ``oblique``."""
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(codes)))
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ inv_ornt_aff(change, shape)
    if oblique:
        a = np.pi / 10
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] += (-70, 31.5, 12.25)
    return affine


@pytest.mark.parametrize("trained", ["RAS", "LPS", "RSA", "ASR"])
@pytest.mark.parametrize(("codes", "oblique"), [("RAS", False), ("LPI", True), ("PIR", False), ("ALS", True)])
def test_masks_lie_where_the_voxels_are(make_thresholder, nifti, hounsfield, codes, oblique, trained):
    values = hounsfield(12, 12, 12)
    path = nifti(values, affine_along(codes, values.shape, oblique))
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == codes
    result = predict_volume(make_thresholder(orientation=trained), open_volume(path))
    assert np.array_equal(result.mask.transpose(2, 1, 0), expected(values))
    told = f"turned from {codes} to {trained}, as in training" in result.notes
    assert told == (codes != trained)


@pytest.mark.parametrize("batch", [None, 3, 100])
def test_slices_of_any_size_are_those_of_the_predictor(make_thresholder, nifti, hounsfield, batch):
    values = hounsfield(20, 24, 8)
    predictor = make_thresholder(size=(16, 16))
    result = predict_volume(predictor, open_volume(nifti(values)), batch_size=batch)
    for k in range(8):
        unit = np.clip((values[:, :, k].T + 100.0) / 300, 0, 1).astype(np.float32)
        assert np.array_equal(result.mask[k], predictor(np.rint(unit * 65535).astype(np.uint16)).mask)
    assert "slices seen at 16x16" in result.notes


def test_windows(make_thresholder, nifti, hounsfield):
    values = hounsfield(30, 28, 3)
    result = predict_volume(make_thresholder(size=(16, 16), mode="window"), open_volume(nifti(values)))
    assert np.array_equal(result.mask.transpose(2, 1, 0), expected(values))
    assert "slices seen in windows of 16x16" in result.notes


@pytest.mark.parametrize(("seen", "depth"), [(0, 9), (1, 9), (4, 9), (4, 1), (0, 2), (4, 2)])
def test_neighbours_are_the_channels_and_the_ends_are_repeated(make_thresholder, nifti, hounsfield, seen, depth):
    values = hounsfield(12, 12, depth)
    predictor = make_thresholder(channels=5, neighbours=5, seen=seen)
    result = predict_volume(predictor, open_volume(nifti(values)))
    around = np.clip(np.arange(depth) + seen - 2, 0, depth - 1)
    assert np.array_equal(result.mask.transpose(2, 1, 0), expected(values[:, :, around]))


@pytest.mark.parametrize("trained", ["RAS", "SAR"])
def test_probabilities_lie_on_the_stored_axes(make_thresholder, nifti, hounsfield, tmp_path, trained):
    values = hounsfield(12, 12, 12)
    path = nifti(values, affine_along("LIP", values.shape, False))
    maps = tmp_path / "maps.npy"
    result = predict_volume(make_thresholder(orientation=trained), open_volume(path), probabilities=maps)
    written = np.load(maps)
    assert written.shape == (12, 3, 12, 12)
    assert written.dtype == np.float16
    assert np.array_equal(written.argmax(axis=1), result.mask)
    assert np.allclose(written.astype(np.float32).sum(axis=1), 1, atol=2e-3)


def test_limits_of_a_volume_are_its_own(make_thresholder, nifti, hounsfield):
    values = hounsfield(12, 12, 6)
    predictor = make_thresholder(intensity={"kind": "percentiles", "low": 0.0, "high": 100.0})
    result = predict_volume(predictor, open_volume(nifti(values)))
    low, high = float(values.min()), float(values.max())
    assert np.array_equal(result.mask.transpose(2, 1, 0), expected(values, low, high))
    assert any(note.endswith(f"{low:g} and {high:g} become 0 and 1") for note in result.notes)


def test_postprocessing_sees_three_dimensions(make_thresholder, nifti):
    values = np.full((12, 12, 6), -100, np.int16)
    values[2:9, 2:9, 1:5] = 50
    values[4:6, 4:6, 2:4] = -100  # a hole in space
    values[3, 3, 4] = -100  # closed within its slice, open in space
    values[10, 10, 0:2] = 50  # a speck
    steps = {"fill_holes": [1], "largest_component": [1]}
    predictor = make_thresholder(postprocessing=steps)
    result = predict_volume(predictor, open_volume(nifti(values)))
    wanted = (values == 50).astype(np.uint8)
    wanted[4:6, 4:6, 2:4] = 1
    wanted[10, 10] = 0
    assert np.array_equal(result.mask.transpose(2, 1, 0), wanted)
    assert "largest component kept of liver" in result.notes
    predictor.postprocessing = type(predictor.postprocessing)()
    bare = predict_volume(predictor, open_volume(nifti(values)))
    assert np.array_equal(bare.mask.transpose(2, 1, 0), values == 50)


def test_volumes_in_millilitres(make_thresholder, nifti, hounsfield):
    values = hounsfield(12, 12, 6)
    affine = affine_along("LPS", values.shape, True)  # voxels of 1 x 2 x 3 mm
    result = predict_volume(make_thresholder(), open_volume(nifti(values, affine)))
    counts = np.bincount(expected(values).ravel(), minlength=3)
    assert result.voxels == tuple(counts)
    assert result.millilitres == pytest.approx(counts * 6 / 1000)


def test_units_are_not_guessed(make_thresholder, nifti, hounsfield):
    values = hounsfield(12, 12, 4)
    pictures = make_thresholder(intensity=None, orientation=None)
    with pytest.raises(UserError, match=r"scan.nii.gz: its values have units \(int16\).* --window -160 240"):
        predict_volume(pictures, open_volume(nifti(values)))
    result = predict_volume(pictures, open_volume(nifti(values)), window=(-100, 200))
    assert np.array_equal(result.mask.transpose(2, 1, 0), expected(values))
    assert "the model was trained on pictures: -100 and 200 taken for black and white" in result.notes
    with pytest.raises(UserError, match="give the smaller value first"):
        predict_volume(pictures, open_volume(nifti(values)), window=(200, -100))
    with pytest.raises(UserError, match="the model brings its own: window from -100 to 200"):
        predict_volume(make_thresholder(), open_volume(nifti(values)), window=(-100, 200))


def test_eight_bits_are_taken_as_pictures_and_told(make_thresholder, nifti):
    values = np.random.default_rng(0).integers(0, 256, (12, 12, 4), np.uint8)
    pictures = make_thresholder(intensity=None, orientation=None)
    result = predict_volume(pictures, open_volume(nifti(values)))
    unit = values / 255
    clear = (np.abs(unit - 0.4) > 1e-3) & (np.abs(unit - 0.7) > 1e-3)
    assert np.array_equal(result.mask.transpose(2, 1, 0)[clear], np.digitize(unit, [0.4, 0.7])[clear])
    assert "the model was trained on pictures: 0 and 255 taken for black and white" in result.notes
    assert any("as they are displayed (LPS)" in note for note in result.notes)


def test_an_unknown_orientation_is_refused(make_thresholder, tmp_path, hounsfield):
    np.savez(tmp_path / "x.npz", image=hounsfield(4, 12, 12))
    file = open_volume(tmp_path / "x.npz")
    with pytest.raises(UserError, match="orientation is not known"):
        predict_volume(make_thresholder(), file)
    result = predict_volume(make_thresholder(orientation=None), file)
    assert np.array_equal(result.mask, expected(hounsfield(4, 12, 12)))
    assert result.millilitres is None
    assert any("orientation is not known: slices taken as they are stored" in note for note in result.notes)


def test_progress_counts_slices(make_thresholder, nifti, hounsfield):
    told: list[tuple[int, int]] = []
    predict_volume(
        make_thresholder(), open_volume(nifti(hounsfield(12, 12, 5))), progress=lambda *now: told.append(now)
    )
    assert told == [(k, 5) for k in range(1, 6)]


def test_a_full_disk_is_noticed_before_the_network_is_asked(make_thresholder, nifti, hounsfield, monkeypatch, tmp_path):
    def full(stream, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch, "_reserve", full)
    predictor = make_thresholder()
    file = open_volume(nifti(hounsfield(12, 12, 5)))
    with pytest.raises(UserError, match="no space left"):
        predict_volume(predictor, file, scratch=tmp_path / "out")
    assert predictor.network_seconds == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interruption_leaves_nothing(make_thresholder, nifti, hounsfield, tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_volume(
            make_thresholder(),
            open_volume(nifti(hounsfield(12, 12, 5))),
            scratch=out,
            probabilities=out / "maps.npy",
            progress=stop,
        )
    assert list(out.iterdir()) == []


def test_a_truncated_volume_is_one_line(make_thresholder, nifti, hounsfield):
    path = nifti(hounsfield(12, 12, 40), name="cut.nii")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"cut.nii: .*(truncated|too short|bytes)"):
        predict_volume(make_thresholder(), open_volume(path))


def test_the_middle_slice_is_shown_as_it_is_displayed(make_thresholder, nifti):
    values = np.full((12, 12, 5), -100, np.int16)
    values[9:, :3, 2] = 50  # towards the patient's right and back
    path = nifti(values, np.diag([1.0, 2.0, 3.0, 1.0]))
    for trained in ("RAS", "LPS"):
        shown = predict_volume(make_thresholder(orientation=trained), open_volume(path)).middle
        assert shown.mask.shape == (24, 12)  # pixels of 1 x 2 mm
        assert shown.mask[18:, :3].all()  # below, on the left
        assert shown.mask.sum() == 18
        assert shown.overlay().size == (12, 24)


def test_memory_does_not_hold_the_volume(make_thresholder, nifti, hounsfield):
    """No slice is kept once it is predicted."""
    file = open_volume(nifti(hounsfield(12, 12, 30)))
    alive: list[int] = []

    class Counting:
        def __init__(self, source):
            self.source, self.given = source, 0

        def slices(self):
            import weakref

            kept = []
            for plane in self.source.slices():
                kept.append(weakref.ref(plane))
                alive.append(sum(one() is not None for one in kept))
                yield plane
                del plane

    from dataclasses import replace

    result = predict_volume(make_thresholder(orientation=None), replace(file, source=Counting(file.source)))
    assert result.mask.shape == (30, 12, 12)
    assert max(alive) <= 3


def test_nothing_is_left_of_a_prediction_that_is_dropped(make_thresholder, nifti, hounsfield, tmp_path: Path):
    result = predict_volume(make_thresholder(), open_volume(nifti(hounsfield(12, 12, 5))), scratch=tmp_path / "out")
    kept = result.mask
    del result
    assert kept.sum() > 0  # the array alone keeps its voxels
    assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_for_a_model_of_volumes_is_told(make_thresholder):
    grey = np.linspace(0, 255, 144).astype(np.uint8).reshape(12, 12)
    result = make_thresholder(channels=3, neighbours=3, seen=2)(np.stack([grey] * 3, axis=2))
    assert np.array_equal(result.mask, expected(grey, 0, 255))
    assert "seen as its own neighbours" in result.notes
    assert any("trained on volumes" in note for note in result.notes)
