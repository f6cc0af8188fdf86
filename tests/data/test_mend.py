"""The data doctor finds the classical mistakes in volumes, and mends copies of those that can be mended safely."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from glocal.data.inspect import inspect_dataset
from glocal.data.inspect_volumes import inspect_volumes
from glocal.data.prepare import prepare
from glocal.errors import UserError

nibabel = pytest.importorskip("nibabel", reason="volumes need the extra 'volumes'")
import miniatures as mini  # noqa: E402  (beside this file)

AFFINE = np.array([[-0.8, 0, 0, 90], [0, 0.8, 0, -60], [0, 0, 3, -20], [0, 0, 0, 1]], np.float64)


def pair(root: Path, name: str, label: np.ndarray | None = None, mask_affine: np.ndarray | None = None) -> np.ndarray:
    """A good volume with a mask; returns the label."""
    values, drawn = mini.organs(len(name), classes=3)
    label = drawn if label is None else label
    mini.nifti(root / "images" / f"{name}.nii.gz", values, AFFINE)
    mini.nifti(root / "masks" / f"{name}.nii.gz", label, AFFINE if mask_affine is None else mask_affine)
    return label


def flipped() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A label, the same along other axes, and the affine of those: x is reversed, y and z are exchanged."""
    label = mini.organs(3, classes=3)[1]
    turned = np.ascontiguousarray(label[:, :, ::-1].transpose(1, 0, 2))
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, 0] * (label.shape[2] - 1)
    affine[:3, 0] *= -1
    affine[:, [1, 2]] = affine[:, [2, 1]]
    return label, turned, affine


def kinds(root: Path) -> dict[str, str]:
    return {finding.kind: finding.severity for finding in inspect_volumes(root).findings if finding.kind != "few cases"}


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def raw_spacing(path: Path, spacing: tuple[float, float, float]) -> None:
    """Write the spacing of a header as it is, also an impossible one, and drop what else says where voxels are."""
    image = nibabel.load(path)
    data, header = np.asarray(image.dataobj), image.header.copy()
    header["pixdim"][1:4] = spacing
    header["sform_code"] = header["qform_code"] = 0
    header["vox_offset"] = 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + data.tobytes(order="F")))


def test_a_good_set_has_nothing_to_mend(tmp_path):
    pair(tmp_path, "a")
    inspection = inspect_volumes(tmp_path)
    assert (inspection.cases, inspection.usable) == (1, 1)
    assert inspection.sizes == {(4, 32, 28): 1}
    assert inspection.spacings == {(3.0, 0.8, 0.8): 1}
    assert inspection.orientations == {"LAS": 1}
    label = mini.organs(1, classes=3)[1]
    assert [count.pixels for count in inspection.classes] == np.bincount(label.ravel()).tolist()
    assert set(kinds(tmp_path)) <= {"anisotropic voxels"}
    assert json.loads(json.dumps(inspection.to_json()))["spacings"] == [{"mm": [3.0, 0.8, 0.8], "volumes": 1}]


def test_a_mask_along_other_axes_is_turned_onto_its_volume(tmp_path):
    label, turned, affine = flipped()
    pair(tmp_path / "set", "abc", turned, affine)
    assert kinds(tmp_path / "set")["flipped mask"] == "error"
    with pytest.raises(
        UserError, match=r"stored along L\w+, its image along LAS|stored along R\w+, its image along LAS"
    ):
        prepare(tmp_path / "set", tmp_path / "plain")
    done = prepare(tmp_path / "set", tmp_path / "mended", mend=True)
    assert_array_equal(voxels(done.folder / "masks" / "abc.nii.gz"), label)
    assert_allclose(nibabel.load(done.folder / "masks" / "abc.nii.gz").affine, AFFINE, atol=1e-6)
    (change,) = done.report["cases"][0]["changes"]
    assert change.startswith("mended: the mask is stored along")
    assert inspect_volumes(done.folder).usable == 1


def test_a_lost_position_is_taken_from_the_other(tmp_path):
    label = pair(tmp_path / "set", "a", mask_affine=np.eye(4))
    pair(tmp_path / "set", "b")
    mini.nifti(tmp_path / "set" / "images" / "b.nii.gz", mini.organs(1, classes=3)[0], np.eye(4))
    assert {"mask without position", "volume without position"} <= set(kinds(tmp_path / "set"))
    out = prepare(tmp_path / "set", tmp_path / "out", mend=True).folder
    for name in ("a", "b"):
        for folder in ("images", "masks"):
            assert_allclose(nibabel.load(out / folder / f"{name}.nii.gz").affine, AFFINE, atol=1e-6)
    assert_array_equal(voxels(out / "masks" / "a.nii.gz"), label)
    assert_array_equal(voxels(out / "images" / "b.nii.gz"), mini.organs(1, classes=3)[0])


def test_a_spacing_of_zero_is_replaced_only_where_the_mask_knows_it(tmp_path):
    root = tmp_path / "set"
    pair(root, "known")
    pair(root, "lost")
    raw_spacing(root / "images" / "known.nii.gz", (0, 0, 0))
    for folder in ("images", "masks"):
        raw_spacing(root / folder / "lost.nii.gz", (0, 1, 1))
    inspection = inspect_volumes(root)
    assert inspection.usable == 0
    found = {finding.kind: finding for finding in inspection.findings}
    assert found["volume without position"].files == ("masks/known.nii.gz",)
    assert found["impossible spacing"].files == ("images/lost.nii.gz",)
    done = prepare(root, tmp_path / "out", mend=True)
    assert_allclose(nibabel.load(done.folder / "images" / "known.nii.gz").header.get_zooms(), (0.8, 0.8, 3))
    (line,) = done.left_out
    assert "lost.nii.gz" in line
    assert "spacing of 0 mm" in line


def test_what_cannot_be_mended_is_explained(tmp_path):
    root = tmp_path / "set"
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 5
    pair(root, "moved", mask_affine=elsewhere)
    pair(root, "smaller", mini.organs(1, (3, 32, 28), classes=3)[1])
    pair(root, "soft", (mini.organs(1, classes=3)[1] * 0.3).astype(np.float32))
    pair(root, "good")
    found = kinds(root)
    assert [found[kind] for kind in ("mask elsewhere", "size mismatch", "fractions in a mask")] == ["error"] * 3
    done = prepare(root, tmp_path / "out", mend=True)
    assert done.cases == 1
    assert len(done.left_out) == 3


def test_values_of_masks_become_class_indices(tmp_path):
    root = tmp_path / "set"
    label = mini.organs(1, classes=2)[1]
    pair(root, "a", label * 255)
    pair(root, "b", (label * 255).astype(np.float32))
    found = kinds(root)
    assert (found["masks of 0 and 255"], found["labels as floating point"]) == ("note", "note")
    out = prepare(root, tmp_path / "out").folder
    for name in ("a", "b"):
        written = nibabel.load(out / "masks" / f"{name}.nii.gz")
        assert written.get_data_dtype() == np.uint8
        assert_array_equal(voxels(out / "masks" / f"{name}.nii.gz"), label)


def test_one_patient_in_two_parts_is_put_into_one(tmp_path):
    root = tmp_path / "set"
    mini.volumes(root)
    rows = "id,split\npatient001_frame01,train\npatient001_frame12,test\npatient002_frame01,test\n"
    (root / "cases.csv").write_text(rows)
    assert kinds(root)["group on both sides of a split"] == "error"
    unmended = prepare(root, tmp_path / "plain")
    assert any("'patient001' was in test and train" in line for line in unmended.report["changes"])
    assert rows_of(unmended.folder)["patient001_frame12"]["split"] == "test"
    mended = prepare(root, tmp_path / "mended", mend=True)
    after = rows_of(mended.folder)
    assert after["patient001_frame01"]["split"] == after["patient001_frame12"]["split"]
    assert "group on both sides of a split" not in kinds(mended.folder)


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cases.csv").open(newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_equal_pictures_get_one_group(tmp_path):
    root = tmp_path / "set"
    mask = mini.disc((32, 32), (10, 10), 4).astype(np.uint8) * 255
    for index, name in enumerate(("a", "b", "c")):
        mini.save(root / "images" / f"{name}.png", mini.frame(index // 2))
        mini.save(root / "masks" / f"{name}.png", mask)
    assert "duplicate images" in {finding.kind for finding in inspect_dataset(root).findings}
    done = prepare(root, tmp_path / "out", mend=True)
    rows = rows_of(done.folder)
    assert rows["a"]["group"] == rows["b"]["group"] != rows["c"]["group"]
    assert any("2 equal images (a, b) given one group" in line for line in done.report["changes"])
    assert [f.severity for f in inspect_dataset(done.folder).findings if f.kind == "duplicate images"] == ["note"]


def test_colours_of_masks_become_class_indices(tmp_path):
    root = tmp_path / "set"
    colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    mini.save(root / "images" / "a.png", mini.frame(0))
    mini.save(root / "masks" / "a.png", colours[mini.symphysis_and_head()])
    (finding,) = [finding for finding in inspect_dataset(root).findings if finding.kind == "coloured masks"]
    assert "glocal data mend" in finding.cure
    out = prepare(root, tmp_path / "out").folder
    from PIL import Image

    assert_array_equal(np.asarray(Image.open(out / "masks" / "a.png")), mini.symphysis_and_head())


def test_other_kinds_of_volumes_become_nifti(tmp_path):
    import SimpleITK

    root = tmp_path / "set"
    values, label = mini.organs(2, classes=3)
    for folder, array in (("images", (values * 1000).astype(np.int16)), ("masks", label)):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.8, 3.0))
        image.SetOrigin((10, -20, 30))
        (root / folder).mkdir(parents=True)
        SimpleITK.WriteImage(image, str(root / folder / "a.mha"))
    done = prepare(root, tmp_path / "out")
    written = nibabel.load(done.folder / "images" / "a.nii.gz")
    assert_array_equal(voxels(done.folder / "images" / "a.nii.gz"), (values * 1000).astype(np.int16))
    assert_allclose(written.affine, [[-0.8, 0, 0, -10], [0, -0.8, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]], atol=1e-6)
    assert "MetaImage written as NIfTI" in done.report["cases"][0]["changes"]


def test_a_truncated_volume_is_not_copied(tmp_path):
    root = tmp_path / "set"
    pair(root, "a")
    pair(root, "bb")
    image = root / "images" / "bb.nii.gz"
    image.write_bytes(image.read_bytes()[:-400])
    assert any(finding.kind == "unreadable volume" for finding in inspect_volumes(root).findings)
    done = prepare(root, tmp_path / "out")
    assert done.cases == 1
    assert not (done.folder / "images" / "bb.nii.gz").exists()
