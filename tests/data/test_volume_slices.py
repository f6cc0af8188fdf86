"""A folder of volumes is a data set of slices: along common axes, in [0, 1], and never torn apart by a split."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from glocal.data import Dataset, make_splits, open_dataset
from glocal.data.cache import build_cache
from glocal.data.intensity import Intensity
from glocal.data.slices import slice_picture
from glocal.data.volumes import open_volume, reorient
from glocal.errors import UserError

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
RAS = np.diag([2.0, 3.0, 5.0, 1.0])
SHAPE = (6, 24, 20)
"""D, H, W."""


def save(path: Path, values: np.ndarray, affine: np.ndarray = RAS, codes: str = "RAS") -> None:
    """Write ``(D, H, W)``, whose axes x, y, z go to ``codes``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ascontiguousarray(values.T), affine)
    if codes != "RAS":
        image = image.as_reoriented(
            nibabel.orientations.ornt_transform(
                nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(codes))
            )
        )
    nibabel.save(image, path)


def voxels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    image = random.integers(-200, 300, SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 4:12, 3:9] = 1
    mask[3, 14:18, 10:15] = 2
    return image, mask


def volumes(root: Path, count: int = 3, codes: dict[int, str] | None = None) -> Path:
    for index in range(count):
        image, mask = voxels(index)
        turned = (codes or {}).get(index, "RAS")
        save(root / f"images/scan {index}.nii.gz", image, codes=turned)
        save(root / f"masks/scan {index}.nii.gz", mask, codes=turned)
    return root


def test_each_slice_is_a_case_of_its_volume(tmp_path: Path) -> None:
    dataset = open_dataset(volumes(tmp_path))
    assert len(dataset) == 18
    case = dataset.case("scan 1#003")
    assert (case.volume, case.slice, case.group, case.spacing) == ("scan 1", 3, "scan 1", (3.0, 2.0))
    image, mask = voxels(1)
    assert_array_equal(dataset.read_label(case), mask[3])
    picture = dataset.read_image(case)
    limits = Intensity("percentiles").limits(open_volume(case.image))
    assert_array_equal(picture.pixels, slice_picture(image[3], limits).pixels)
    assert dataset.classes == ("background", "class 1", "class 2")
    assert dataset.volumes is not None
    assert dataset.volumes.volumes["scan 1"].spacing == (5.0, 3.0, 2.0)
    assert "each slice is a case" in " ".join(dataset.notes)


def test_axes_stored_in_other_ways_make_no_difference(tmp_path: Path) -> None:
    plain = open_dataset(volumes(tmp_path / "a", count=4))
    turned = open_dataset(volumes(tmp_path / "b", count=4, codes={0: "LPS", 2: "SAR"}))
    assert turned.volumes is not None
    assert turned.volumes.orientation == "RAS"
    assert any("1 from LPS, 1 from SAR" in note for note in turned.notes)
    for case in plain.cases:
        other = turned.case(case.id)
        assert_array_equal(plain.read_label(case), turned.read_label(other))
        assert_array_equal(plain.read_image(case).pixels, turned.read_image(other).pixels)
    assert open_dataset(tmp_path / "a", orientation="SAR").volumes.volumes["scan 0"].shape == (20, 24, 6)


def test_raw_data_of_nnunet(tmp_path: Path) -> None:
    for index in range(2):
        image, mask = voxels(index)
        for channel in ("0000", "0001"):
            save(tmp_path / f"imagesTr/liver_{index}_{channel}.nii.gz", image)
        save(tmp_path / f"labelsTr/liver_{index}.nii.gz", mask)
        save(tmp_path / f"imagesTs/liver_{index + 7}_0000.nii.gz", image)
    labels = {"background": 0, "liver": 1, "lesion": 2}
    record = {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(record))
    dataset = open_dataset(tmp_path)
    assert {case.volume for case in dataset.cases} == {"liver_0", "liver_1"}
    assert all(case.split is None for case in dataset.cases)
    assert dataset.classes == ("background", "liver", "lesion")
    assert dataset.volumes.volumes["liver_0"].modality == "CT"
    notes = " ".join(dataset.notes)
    assert "2 volumes left out of imagesTs" in notes
    assert "2 volumes left out of further channels" in notes
    older = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "liver", "2": "lesion"}}
    (tmp_path / "dataset.json").write_text(json.dumps(older))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("background", "liver", "lesion")
    assert dataset.volumes.volumes["liver_0"].modality == "MR"


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("folds", [None, 3])
def test_slices_of_a_volume_stay_together(tmp_path: Path, folds: int | None, grouped: bool) -> None:
    dataset = open_dataset(volumes(tmp_path, count=8))
    splits = make_splits(dataset, fractions=(0.5, 0.25, 0.25), folds=folds, grouped=grouped)
    for part in [splits] if folds is None else [splits.fold(k) for k in range(folds)]:
        sides = [{dataset.case(id).volume for id in ids} for ids in (part.train, part.val, part.test)]
        assert all(sides)
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_a_table_names_volumes_and_groups_their_patients(tmp_path: Path) -> None:
    volumes(tmp_path)
    table = "id,patient,split\nscan 0,A,train\nscan 1,A,train\nscan 2,B,test\n"
    (tmp_path / "cases.csv").write_text(table)
    dataset = open_dataset(tmp_path)
    groups = {(case.volume, case.group, case.split) for case in dataset.cases}
    assert groups == {
        ("scan 0", "patient A", "train"),
        ("scan 1", "patient A", "train"),
        ("scan 2", "patient B", "test"),
    }


def test_names_tell_the_patient_where_the_table_does_not(tmp_path: Path) -> None:
    for name in ("patient1_frame1", "patient1_frame2", "patient2_frame1", "patient2_frame2"):
        _, mask = voxels(0)
        save(tmp_path / f"images/{name}.nii.gz", mask)
        save(tmp_path / f"masks/{name}.nii.gz", mask)
    (tmp_path / "cases.csv").write_text("id,group\npatient1_frame1,A\npatient2_frame1,\n")
    dataset = open_dataset(tmp_path)
    groups = {case.volume: case.group for case in dataset.cases}
    assert list(groups.values()) == ["group A", "group A", "patient2", "patient2"]
    assert "3 volumes without one: group = patient, from the name (2)" in dataset.notes


def broken(root: Path, what: str) -> None:
    _, mask = voxels(0)
    path = root / "masks/scan 0.nii.gz"
    if what == "size":
        save(path, mask[:5])
    elif what == "moved":
        save(path, mask, RAS + np.array([[0, 0, 0, 40.0], [0] * 4, [0] * 4, [0] * 4]))
    elif what == "flipped":
        save(path, mask, RAS @ np.diag([-1.0, 1, 1, 1]))
    else:
        path = root / "images/scan 0.nii.gz"
        path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("size", r"mask and volume have 20x24x5 and 20x24x6 voxels"),
        ("moved", r"different places in space"),
        ("flipped", r"stored along LAS, its volume along RAS"),
        ("truncated", r"scan 0\.nii\.gz"),
    ],
)
def test_a_volume_off_its_mask_is_left_out_and_said(tmp_path: Path, what: str, message: str) -> None:
    broken(volumes(tmp_path), what)
    dataset = open_dataset(tmp_path)
    assert {case.volume for case in dataset.cases} == {"scan 1", "scan 2"}
    (problem,) = dataset.problems
    with pytest.raises(UserError, match=message):
        raise UserError(problem.message)
    assert "\n" not in problem.message


def test_a_set_without_a_usable_volume_says_why(tmp_path: Path) -> None:
    broken(volumes(tmp_path, count=1), "moved")
    with pytest.raises(UserError, match="different places in space"):
        open_dataset(tmp_path)


def test_settings_of_pictures_are_refused(tmp_path: Path) -> None:
    volumes(tmp_path)
    with pytest.raises(UserError, match="'keep' is for pictures"):
        open_dataset(tmp_path, masks="keep")
    with pytest.raises(UserError, match="volumes or arrays"):
        open_dataset(tmp_path, task="classification")


def test_pictures_with_masks_go_before_a_stray_volume(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / folder / "a.png")
    save(tmp_path / "scan.nii.gz", voxels(0)[0])
    assert [case.volume for case in open_dataset(tmp_path).cases] == [None]


def seen(dataset: Dataset, intensity: Intensity, neighbours: int = 1) -> Dataset:
    assert dataset.volumes is not None
    return replace(dataset, volumes=dataset.volumes.seen(intensity, neighbours))


def test_neighbours_are_channels_and_repeat_at_the_ends(tmp_path: Path) -> None:
    window = Intensity("window", -200, 300)
    alone = seen(open_dataset(volumes(tmp_path, count=1)), window)
    planes = [alone.read_image(case).pixels[..., 0] for case in alone.cases]
    five = seen(alone, window, neighbours=5)
    for index, case in enumerate(five.cases):
        expected = [planes[min(max(k, 0), 5)] for k in range(index - 2, index + 3)]
        assert_array_equal(np.moveaxis(five.read_image(case).pixels, 2, 0), expected)


def test_the_cache_holds_slices_as_they_are_seen(tmp_path: Path) -> None:
    window = Intensity("window", -200, 300)
    dataset = seen(open_dataset(volumes(tmp_path)), window, neighbours=3)
    cached = build_cache(dataset, dataset.cases, (24, 20), 3, tmp_path / "cache")
    assert cached.scale == 65535
    for item, case in zip(cached, dataset.cases, strict=False):
        assert_array_equal(item["image"], np.moveaxis(dataset.read_image(case).pixels, 2, 0))
        assert_array_equal(item["label"], dataset.read_label(case))
    other = seen(dataset, Intensity("window", -100, 300), neighbours=3)
    assert build_cache(other, other.cases, (24, 20), 3, tmp_path / "cache").folder != cached.folder
    with pytest.raises(UserError, match="cannot cache"):
        build_cache(dataset, dataset.cases, (24, 20), 1, tmp_path / "cache")


def test_the_fingerprint_changes_with_the_voxels(tmp_path: Path) -> None:
    before = open_dataset(volumes(tmp_path)).fingerprint
    assert open_dataset(tmp_path).fingerprint == before
    save(tmp_path / "images/scan 2.nii.gz", voxels(2)[0] + 1)
    assert open_dataset(tmp_path).fingerprint != before


def test_a_real_series_and_a_mask_of_it(tmp_path: Path) -> None:
    if not (SHARED / "dicom").is_dir():
        pytest.skip("the DICOM series of the shared data is not here (set GLOCAL_SHARED)")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images/ct_series").symlink_to(SHARED / "dicom/ct_series")
    series = open_volume(SHARED / "dicom/ct_series")
    mask = (series.load().values > 100).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.T), series.affine), tmp_path / "masks/ct_series.nii.gz")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == len(series)
    assert dataset.volumes.volumes["ct_series"].modality == "CT"
    turned = reorient(series, dataset.volumes.orientation)
    for case in dataset.cases[::7]:
        assert_array_equal(dataset.read_label(case), turned.read(case.slice) > 100)


@pytest.mark.parametrize(
    ("name", "count", "patients", "classes"),
    [("hippocampus", 412, 12, 3), ("acdc_volumes", 80, 3, 4), ("ct_organs_example", 30, 1, 9)],
)
def test_real_volumes(name: str, count: int, patients: int, classes: int) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real data set {name} is not here (set GLOCAL_SHARED to the folder that holds data/{name})")
    dataset = open_dataset(SHARED / name)
    assert len(dataset) == count
    assert len({case.group for case in dataset.cases}) == patients
    assert len(dataset.classes) == classes
