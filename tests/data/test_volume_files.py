"""Volumes of every kind give the numbers and the places that were written; hostile ones end in one line."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from glocal.data import image_size, read_image, read_mask
from glocal.data.volumes import VolumeFile, open_volume, read_labels, reorient, restore
from glocal.errors import UserError

RNG = np.random.default_rng(0)
VALUES = RNG.integers(-1000, 3000, (5, 6, 8)).astype(np.int16)
AFFINE = np.array([[0, -0.7, 0, 11], [0.5, 0, 0, -3], [0, 0, 2.0, 7], [0, 0, 0, 1.0]])  # x to A, y to L, z to S


def shared(name: str) -> Path:
    root = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[3] / "shared")) / "data" / name
    if not root.exists():
        pytest.skip(f"{root} is not there; set GLOCAL_SHARED to the shared folder")
    return root


def nifti(path: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = AFFINE, **header: Any) -> Path:
    """``values`` (D, H, W, …) as NIfTI; ``header`` is written after nibabel's checks."""
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0, *range(3, values.ndim)), affine)
    nibabel.save(image, path)
    if header:
        opener = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rb") as stream:
            raw = stream.read()
        changed = nibabel.Nifti1Header(raw[:348], check=False)
        for name, value in header.items():
            changed[name] = value
        with opener(path, "wb") as stream:
            stream.write(changed.binaryblock + raw[348:])
    return path


def itk(path: Path, values: np.ndarray = VALUES, packed: bool = False) -> Path:
    """``values`` with the geometry of ``AFFINE``."""
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    lps = np.diag([-1, -1, 1]) @ AFFINE[:3]
    image.SetSpacing((0.5, 0.7, 2.0))
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :3] / [0.5, 0.7, 2.0]).ravel().tolist())
    sitk.WriteImage(image, str(path), packed)
    return path


def hdf5(path: Path, values: np.ndarray = VALUES, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=values, **options)
    return path


def npy(path: Path, values: np.ndarray = VALUES) -> Path:
    np.save(path, values)
    return path


def npz(path: Path, values: np.ndarray = VALUES) -> Path:
    np.savez_compressed(path, image=values)
    return path


def tiff(path: Path, values: np.ndarray = VALUES) -> Path:
    pages = [Image.fromarray(page) for page in values]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


MAKERS: dict[str, Callable[..., Path]] = {
    "x.nii": nifti,
    "x.nii.gz": nifti,
    "x.mha": itk,
    "x.mhd": itk,
    "x.nrrd": itk,
    "packed.mha": lambda path, values=VALUES: itk(path, values, True),
    "packed.nrrd": lambda path, values=VALUES: itk(path, values, True),
    "x.npy": npy,
    "x.npz": npz,
    "x.h5": hdf5,
    "packed.h5": lambda path, values=VALUES: hdf5(path, values, compression="gzip"),
    "x.tif": lambda path, values=VALUES: tiff(path, values.astype(np.uint16)),
}
PLACED = [name for name in MAKERS if name.endswith((".nii", ".gz", ".mha", ".mhd", ".nrrd"))]


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(UserError, match=match) as caught:
        open_volume(path, **options).load()
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


# ---- every kind ----


@pytest.mark.parametrize("name", MAKERS)
def test_values_come_back_in_any_order_of_slices(tmp_path: Path, name: str) -> None:
    values = np.abs(VALUES) if name == "x.tif" else VALUES
    file = open_volume(MAKERS[name](tmp_path / name, values))
    assert (file.shape, file.channels, len(file)) == ((5, 6, 8), 1, 5)
    assert_array_equal(file.load().values, values)
    for k in (3, 1, 4, 0, 0):
        plane = file.read(k)
        assert_array_equal(plane, values[k])
        assert plane.dtype == file.dtype
        assert plane.flags.writeable
    with pytest.raises(IndexError):
        file.read(5)


@pytest.mark.parametrize("name", PLACED)
def test_places_in_space_come_back(tmp_path: Path, name: str) -> None:
    file = open_volume(MAKERS[name](tmp_path / name))
    assert_allclose(file.affine, AFFINE, atol=1e-5)
    assert_allclose(file.spacing, (2.0, 0.7, 0.5), rtol=1e-5)
    assert (file.orientation, file.has_geometry) == ("ALS", True)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in PLACED])
def test_kinds_without_places_say_so(tmp_path: Path, name: str) -> None:
    file = open_volume(MAKERS[name](tmp_path / name))
    assert (file.spacing, file.plane_spacing, file.orientation, file.has_geometry) == (None, None, None, False)
    with pytest.raises(UserError, match="orientation is not known"):
        reorient(file, "RAS")


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_travels_to_another_process(tmp_path: Path, name: str) -> None:
    file = open_volume(MAKERS[name](tmp_path / name))
    before = file.read(2)
    assert_array_equal(pickle.loads(pickle.dumps(file)).read(2), before)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.h5"])
def test_threads_and_forked_processes_do_not_disturb_each_other(tmp_path: Path, name: str) -> None:
    values = RNG.integers(0, 999, (40, 30, 30)).astype(np.int16)
    file = open_volume(MAKERS[name](tmp_path / name, values))
    order = np.random.default_rng(0).permutation(40).tolist()
    file.read(0)
    with ThreadPoolExecutor(4) as threads:
        assert_array_equal(list(threads.map(file.read, order)), values[order])
    child = os.fork()
    if child == 0:  # reads through its own stream
        os._exit(0 if all(np.array_equal(file.read(k), values[k]) for k in order) else 1)
    assert all(np.array_equal(file.read(k), values[k]) for k in order)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("dtype", "given"),
    [(np.uint8, np.uint8), (np.int32, np.int32), (np.float32, np.float32), (np.float64, np.float32), (">i2", np.int16)],
)
@pytest.mark.parametrize("name", ["x.nii.gz", "x.npy", "x.h5"])
def test_types(tmp_path: Path, name: str, dtype: Any, given: Any) -> None:
    values = (np.abs(VALUES) % 200).astype(dtype)
    file = open_volume(MAKERS[name](tmp_path / name, values))
    assert file.dtype == given
    assert file.dtype.isnative
    assert_array_equal(file.load().values, values)


@pytest.mark.parametrize("name", ["x.mha", "x.npz", "x.h5", "x.tif"])
def test_rgb(tmp_path: Path, name: str) -> None:
    values = RNG.integers(0, 256, (5, 6, 8, 3)).astype(np.uint8)
    maker = tiff if name == "x.tif" else MAKERS[name]
    file = open_volume(maker(tmp_path / name, values))
    assert (file.shape, file.channels) == ((5, 6, 8), 3)
    assert_array_equal(file.load().values, values)


def test_nifti_rgb_and_scaling(tmp_path: Path) -> None:
    rgb = np.zeros((8, 6, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = 7
    nibabel.save(nibabel.Nifti1Image(rgb, AFFINE), tmp_path / "rgb.nii.gz")
    assert_array_equal(open_volume(tmp_path / "rgb.nii.gz").read(1)[..., 1], np.full((6, 8), 7))
    file = open_volume(nifti(tmp_path / "x.nii", scl_slope=0.5, scl_inter=-3))
    assert_allclose(file.load().values, VALUES * 0.5 - 3)
    assert file.dtype == np.float32
    assert file.notes == ("scaled as its header says: 0.5 x stored + -3",)


def test_nifti_2_and_units(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(VALUES.transpose(2, 1, 0), AFFINE)
    nibabel.save(image, tmp_path / "x.nii")
    assert_array_equal(open_volume(tmp_path / "x.nii").load().values, VALUES)
    file = open_volume(nifti(tmp_path / "m.nii", xyzt_units=3))
    assert_allclose(file.spacing, (0.002, 0.0007, 0.0005), rtol=1e-5)
    assert "positions in micrometres converted to mm" in file.notes


def test_a_nifti_whose_two_geometries_disagree_says_which_is_used(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES.transpose(2, 1, 0), AFFINE)
    image.set_qform(np.diag([1, 1, 1, 1]), code=1)
    nibabel.save(image, tmp_path / "x.nii")
    assert "sform and qform disagree: sform used" in open_volume(tmp_path / "x.nii").notes


def test_fortran_order_is_read_and_said(tmp_path: Path) -> None:
    file = open_volume(npy(tmp_path / "x.npy", np.asfortranarray(VALUES)))
    assert_array_equal(file.load().values, VALUES)
    assert any("whole array is loaded" in note for note in file.notes)


@pytest.mark.parametrize("name", ["hippocampus", "acdc_volumes", "ct_organs_example"])
def test_real_volumes_are_what_nibabel_reads(name: str) -> None:
    for path in sorted(shared(name).glob("*/*.nii.gz"))[::5]:
        file, image = open_volume(path), nibabel.load(path)
        assert_array_equal(file.load().values, np.asarray(image.dataobj).transpose(2, 1, 0).astype(file.dtype))
        assert_allclose(file.affine, image.affine)


# ---- axes ----


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ALI", "SPL", "IRP"])
def test_turning_keeps_every_voxel_at_its_place_and_comes_back(tmp_path: Path, codes: str) -> None:
    file = open_volume(nifti(tmp_path / "x.nii.gz"))
    turned = reorient(file, codes)
    loaded = turned.load()
    assert turned.orientation == loaded.orientation == codes
    assert turned.shape == loaded.values.shape
    for k, row, column in RNG.integers(0, turned.shape, (20, 3)):
        place = turned.affine @ [column, row, k, 1]
        x, y, z, _ = np.rint(np.linalg.inv(AFFINE) @ place).astype(int)
        assert loaded.values[k, row, column] == VALUES[z, y, x] == turned.read(k)[row, column]
    assert_array_equal(restore(loaded.values, turned), VALUES)
    in_memory = reorient(reorient(file.load(), "PIR"), codes)
    assert_array_equal(in_memory.values, loaded.values)
    assert_array_equal(restore(in_memory.values, in_memory), VALUES)
    assert reorient(turned, "ALS").load().values.shape == (5, 6, 8)
    said = any("whole volume is loaded" in note for note in turned.notes)
    assert said == (codes[2] not in "SI")


def test_turning_to_ras_is_what_nibabel_calls_canonical(tmp_path: Path) -> None:
    path = nifti(tmp_path / "x.nii.gz")
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    turned = reorient(open_volume(path), "RAS")
    assert_array_equal(turned.load().values, np.asarray(canonical.dataobj).transpose(2, 1, 0))
    assert_allclose(turned.affine, canonical.affine)


@pytest.mark.parametrize("codes", ["RA", "RAX", "RRS", "RLS", ""])
def test_what_is_no_orientation(tmp_path: Path, codes: str) -> None:
    with pytest.raises(UserError, match="not an orientation"):
        reorient(open_volume(nifti(tmp_path / "x.nii")), codes)


def test_a_mask_of_another_shape_is_not_restored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not lie on"):
        restore(np.zeros((1, 2, 3), np.uint8), open_volume(nifti(tmp_path / "x.nii")))


# ---- memory ----


def peak(file: VolumeFile) -> int:
    for _ in file.slices():  # libraries are imported
        pass
    tracemalloc.start()
    try:
        for _ in file.slices():
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["x.nii", "x.nii.gz", "x.mha", "packed.mha", "packed.nrrd", "x.npy", "x.npz", "packed.h5", "x.tif", "dicom"]
)
def test_going_through_slices_holds_a_few_at_a_time(tmp_path: Path, name: str) -> None:
    values = np.zeros((30, 200, 240), np.uint16)
    if name == "dicom":
        from dicom_makers import placed, write_dicom

        (tmp_path / "s").mkdir()
        for k, plane in enumerate(values):
            write_dicom(tmp_path / "s" / f"{k}.dcm", plane, **placed(k))
        file = open_volume(tmp_path / "s")
    else:
        file = open_volume(MAKERS[name](tmp_path / name, values))
    one = 200 * 240 * file.dtype.itemsize
    assert peak(file) < 8 * one + 400_000  # buffers of zlib and of files
    assert values.nbytes > 16 * one + 400_000


# ---- pictures and masks ----


@pytest.mark.parametrize("name", ["x.nii.gz", "x.mha", "x.npz", "x.h5"])
def test_a_slice_as_a_picture(tmp_path: Path, name: str) -> None:
    grey = (np.abs(VALUES) % 256).astype(np.uint8)
    path = MAKERS[name](tmp_path / name, grey)
    picture = read_image(path, page=2)
    assert_array_equal(picture.pixels[..., 0], grey[2])
    assert (picture.pages, image_size(path)) == (5, (6, 8))
    assert "slice 3 of 5" in picture.notes
    if name in PLACED:
        assert_allclose(picture.spacing, (0.7, 0.5), rtol=1e-5)
    assert_array_equal(read_mask(path, page=2).values, grey[2])
    with pytest.raises(UserError, match="no slice 5"):
        read_image(path, page=5)


def test_two_dimensions(tmp_path: Path) -> None:
    plane = (np.abs(VALUES[0]) % 256).astype(np.uint8)
    flat = {"dim": [2, 8, 6, 1, 1, 1, 1, 1], "srow_z": [0, 0, 0, 0]}
    nifti(tmp_path / "x.nii.gz", plane[None], np.diag([0.5, 0.7, 1, 1]), **flat)
    sitk.WriteImage(sitk.GetImageFromArray(plane), str(tmp_path / "x.mha"))
    np.savez(tmp_path / "x.npz", image=plane.astype(np.float32) / 255, label=plane > 100)
    for name in ("x.nii.gz", "x.mha"):
        assert_array_equal(read_image(tmp_path / name).pixels[..., 0], plane)
    assert read_image(tmp_path / "x.nii.gz").spacing == pytest.approx((0.7, 0.5))
    picture = read_image(tmp_path / "x.npz")
    assert_allclose(picture.unit(1)[..., 0], plane / 255, atol=1e-5)
    assert "array 'image' of image, label" in picture.notes
    assert_array_equal(read_mask(tmp_path / "x.npz").values, plane > 100)


def test_channels_that_run_slowest_are_slices(tmp_path: Path) -> None:
    """PSFHS: a scalar volume of 3 x 256 x 256 whose slices are the channels."""
    values = RNG.integers(0, 256, (3, 16, 16)).astype(np.uint8)
    path = itk(tmp_path / "03744.mha", values)
    assert_array_equal(open_volume(path).load().values, values)
    assert_array_equal(read_image(path).pixels[..., 0], values[0])


def test_labels(tmp_path: Path) -> None:
    labels = (np.abs(VALUES) % 4).astype(np.uint8)
    assert read_labels(nifti(tmp_path / "a.nii.gz", labels)).values.dtype == np.uint8
    read = read_labels(nifti(tmp_path / "b.nii.gz", labels.astype(np.float32)))
    assert_array_equal(read.values, labels)
    assert read.notes == ("floating point, all whole: taken as labels",)
    many = labels.astype(np.int32) * 100
    assert_array_equal(read_labels(nifti(tmp_path / "c.nii.gz", many)).values, many)
    turned = read_labels(nifti(tmp_path / "d.nii.gz", labels), codes="RAS")
    assert_array_equal(restore(turned.values, turned), labels)
    assert (turned.orientation, turned.shape) == ("RAS", (5, 8, 6))
    assert_array_equal(read_labels(npz_of(tmp_path / "e.npz", image=VALUES, label=labels)).values, labels)


def npz_of(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (VALUES.astype(np.float32) / 7, "holds fractions"),
        (VALUES, "mask values go from -"),
        (np.full((2, 3, 4), 70000, np.int32), "mask values go from 70000"),
    ],
)
def test_what_cannot_be_labels(tmp_path: Path, values: np.ndarray, match: str) -> None:
    path = nifti(tmp_path / "x.nii.gz", values)
    for read in (read_labels, read_mask):
        with pytest.raises(UserError, match=match) as caught:
            read(path)
        assert "\n" not in str(caught.value)


# ---- hostile: NIfTI ----


def test_nifti_of_four_axes_has_a_hint(tmp_path: Path) -> None:
    refused(
        nifti(tmp_path / "x.nii.gz", np.zeros((5, 6, 8, 4), np.int16)), "4-D file of 8 x 6 x 5 x 4; save each volume"
    )
    assert open_volume(nifti(tmp_path / "y.nii.gz", VALUES[..., None])).shape == (5, 6, 8)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("part", [0.99, 0.5, 0.1])
def test_truncated_nifti(tmp_path: Path, name: str, part: float) -> None:
    path = nifti(tmp_path / name, RNG.integers(0, 999, (9, 30, 30)).astype(np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, "truncated")


def test_a_gzip_with_a_wrong_checksum(tmp_path: Path) -> None:
    path = nifti(tmp_path / "x.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 255
    path.write_bytes(bytes(data))
    refused(path, "damaged or truncated")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "above the limit"),
        ({"dim": [3, 9000, 9000, 30000, 1, 1, 1, 1]}, "truncated: its header promises"),
        ({"dim": [3, -8, 6, 5, 1, 1, 1, 1]}, "header gives a size of"),
        ({"dim": [0, 8, 6, 5, 1, 1, 1, 1]}, "header gives a size of"),
        ({"dim": [9, 8, 6, 5, 1, 1, 1, 1]}, "header gives a size of|damaged"),
        ({"srow_x": [0, 0, 0, 0]}, "axes in its header lie in one plane|spacing of 0"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "positions that are not finite"),
        ({"sform_code": 0, "pixdim": [1, 1, 1, 0, 1, 1, 1, 1]}, "spacing of 0 mm along z"),
        ({"datatype": 32, "bitpix": 64}, "voxels of type complex64 are not read"),
        ({"datatype": 12345}, "damaged"),
        ({"vox_offset": 1e9}, "truncated"),
        ({"vox_offset": -100}, "voxels at byte -100"),
        ({"vox_offset": np.nan}, "damaged|truncated"),
    ],
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_nifti_header_that_lies(tmp_path: Path, name: str, header: dict[str, Any], match: str) -> None:
    refused(nifti(tmp_path / name, **header), match)


def test_impossible_geometry_can_be_left_out(tmp_path: Path) -> None:
    file = open_volume(nifti(tmp_path / "x.nii", srow_z=[0, 0, 0, 0]), require_geometry=False)
    assert (file.spacing, file.has_geometry) == (None, False)
    assert_array_equal(file.load().values, VALUES)
    assert any("its geometry is left out" in note for note in file.notes)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    values = VALUES.astype(np.float32)
    values[2, 1, 1] = bad
    refused(nifti(tmp_path / "x.nii.gz", values), "1 of 48 voxels of slice 2 are NaN or infinite")


def test_a_header_without_voxels(tmp_path: Path) -> None:
    pair = nibabel.Nifti1Pair(VALUES.transpose(2, 1, 0), AFFINE)
    nibabel.save(pair, tmp_path / "x.hdr")
    refused(tmp_path / "x.hdr", r"without its voxels \(.hdr/.img\)")


# ---- hostile: MetaImage and NRRD ----

MHA = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = {}\nDimSize = {}\nElementType = {}\n{}"


@pytest.mark.parametrize(
    ("spacing", "size", "kind", "rest", "match"),
    [
        ("1 1 1", "100000 100000 3", "MET_SHORT", "ElementDataFile = LOCAL\nabcdefghij", "above the limit"),
        ("1 1 1", "8000 8000 30000", "MET_SHORT", "ElementDataFile = LOCAL\nabcdefghij", "truncated: its header"),
        ("1 1 1", "8000 8000 30000", "MET_SHORT", "CompressedData = True\nElementDataFile = LOCAL\nabc", "truncated"),
        (
            "1 1 1",
            "2 2 1",
            "MET_UCHAR",
            "CompressedDataSize = 99\nCompressedData = True\nElementDataFile = LOCAL\nabc",
            "t",
        ),
        ("1 1 1", "2 2 1", "MET_UCHAR", "CompressedData = True\nElementDataFile = LOCAL\nabcd", "damaged"),
        ("0 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = LOCAL\nabcd", "spacing of 0 mm along x"),
        ("1 1 1", "2 2 0", "MET_UCHAR", "ElementDataFile = LOCAL\nabcd", "size of"),
        ("1 1 1", "2 -2 1", "MET_UCHAR", "ElementDataFile = LOCAL\nabcd", "slices of"),
        ("1 1 1", "2 2", "MET_UCHAR", "ElementDataFile = LOCAL\nabcd", "no usable size"),
        ("1 1 1", "2 2 1", "MET_NONSENSE", "ElementDataFile = LOCAL\nabcd", "damaged|not read"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = /etc/hostname\n", "not one file beside it"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = ../x.raw\n", "not one file beside it"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = LIST\na.raw", "not one file beside it"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = x%d.raw 1 3 1\n", "not one file beside it"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "ElementDataFile = gone.raw\n", "voxels cannot be read.*no such file"),
        ("1 1 1", "2 2 1", "MET_UCHAR", "nothing more", "header is damaged or truncated"),
    ],
)
def test_metaimages_that_lie(tmp_path: Path, spacing: str, size: str, kind: str, rest: str, match: str) -> None:
    (tmp_path / "x.mha").write_text(MHA.format(spacing, size, kind, rest))
    refused(tmp_path / "x.mha", match)


def test_truncated_metaimages_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for packed in (False, True):
        path = itk(tmp_path / "x.mha", packed=packed)
        path.write_bytes(path.read_bytes()[:-9])
        refused(path, "truncated")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("sizes: 100000 100000 3\ntype: short\nencoding: raw", "truncated|above the limit"),
        ("sizes: 2 2 2\ntype: short\nencoding: raw\ndata file: /etc/hostname", "not one file beside it"),
        ("sizes: 2 2 2 2\ntype: uchar\nencoding: raw", "4-D|damaged|channels"),
        ("type: uchar", "no usable size"),
    ],
)
def test_nrrd_that_lies(tmp_path: Path, header: str, match: str) -> None:
    axes = len(header.split("\n")[0].split()) - 1
    (tmp_path / "x.nrrd").write_bytes(f"NRRD0004\ndimension: {axes}\nendian: little\n{header}\n\n".encode() + bytes(16))
    refused(tmp_path / "x.nrrd", match)


# ---- hostile: arrays ----


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object))
    refused(tmp_path / "x.npy", "pickled Python objects")
    np.savez(tmp_path / "x.npz", image=np.array([[print, print]], object))
    refused(tmp_path / "x.npz", "pickled Python objects")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("image.npy", pickle.dumps([1, 2, 3]))
    refused(tmp_path / "y.npz", "damaged or truncated")


def header_of(shape: str, descr: str = "'<i2'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ("(5, 100000, 100000)", "above the limit"),
        ("(3000000, 900, 900)", "truncated: its header promises"),
        ("(5, 0, 7)", "slices of 7x0"),
        ("(0, 5, 7)", "is empty"),
        ("(4,)", "is no volume"),
        ("(2, 3, 4, 5)", "is no volume"),
        ("(" * 300, "damaged"),
    ],
)
def test_npy_headers_that_lie(tmp_path: Path, shape: str, match: str) -> None:
    (tmp_path / "x.npy").write_bytes(header_of(shape) + b"0123456789")
    refused(tmp_path / "x.npy", match)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("image.npy", header_of(shape) + b"0123456789")
    refused(tmp_path / "x.npz", match)


def test_of_several_arrays_one_is_named(tmp_path: Path) -> None:
    path = npz_of(tmp_path / "x.npz", first=VALUES, second=VALUES + 1)
    refused(path, r"holds 2 arrays \(first, second\); name the one to read")
    refused(path, "no array 'secnd'; it holds first, second. Did you mean 'second'", key="secnd")
    assert_array_equal(open_volume(path, key="second").load().values, VALUES + 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/one"], file["a/two"] = VALUES, VALUES + 2
    refused(tmp_path / "x.h5", r"holds 2 arrays \(a/one, a/two\)")
    assert_array_equal(open_volume(tmp_path / "x.h5", key="a/two").load().values, VALUES + 2)


def test_hdf5_links_and_numbers_in_other_files_are_not_followed(tmp_path: Path) -> None:
    hdf5(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["image"] = h5py.ExternalLink("other.h5", "/image")
    refused(tmp_path / "x.h5", "'image' is a link")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["real"] = VALUES
        file["soft"] = h5py.SoftLink("/real")
        file["group/again"] = file["/"]  # a circle
    file_ = open_volume(tmp_path / "y.h5")
    assert_array_equal(file_.load().values, VALUES)
    assert "1 link not followed" in file_.notes
    refused(tmp_path / "y.h5", "'soft' is a link", key="soft")
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "z.h5", "w") as file:
        external = [(str(tmp_path / "secret.bin"), 0, VALUES.nbytes)]
        file.create_dataset("image", VALUES.shape, VALUES.dtype, external=external)
    refused(tmp_path / "z.h5", "lie in other files")
    layout = h5py.VirtualLayout(VALUES.shape, VALUES.dtype)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "image", VALUES.shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("image", layout)
    refused(tmp_path / "v.h5", "lie in other files")


def test_hdf5_that_promises_what_it_does_not_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("image", (9000, 5000, 5000), np.int16, chunks=(1, 50, 50))
    refused(tmp_path / "x.h5", "truncated: its header promises")
    path = hdf5(tmp_path / "y.h5")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "damaged or truncated")
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file["text"] = "no array"
    refused(tmp_path / "z.h5", "holds no array")


def test_tiff_pages_of_two_sizes(tmp_path: Path) -> None:
    first, second = Image.fromarray(VALUES[0].astype(np.uint8)), Image.fromarray(VALUES[1, :4].astype(np.uint8))
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second])
    refused(tmp_path / "x.tif", "page 1 differs in size")


# ---- anything ----


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.endswith(".mhd")])
def test_any_file_cut_anywhere_is_one_line_or_whole(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    data, whole = path.read_bytes(), open_volume(path).load().values
    for length in sorted(
        {1, 3, 10, 131, 140, 300, 347, 400, *(len(data) * part // 10 for part in range(1, 10)), len(data) - 1}
    ):
        path.write_bytes(data[:length])
        try:
            values = open_volume(path).load().values
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert path.name in str(error)  # noqa: PT017
        else:
            assert_array_equal(values, whole)


@pytest.mark.parametrize("name", ["x.nii.gz", "packed.mha", "packed.nrrd", "x.npz", "packed.h5"])
def test_damage_in_packed_voxels_never_gives_other_numbers(tmp_path: Path, name: str) -> None:
    values = RNG.integers(0, 999, (9, 30, 30)).astype(np.int16)
    path = MAKERS[name](tmp_path / name, values)
    data = path.read_bytes()
    refusals = 0
    for place in np.random.default_rng(0).integers(len(data) // 2, len(data) - 10, 12):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x5A
        path.write_bytes(bytes(spoilt))
        try:
            assert_array_equal(open_volume(path).load().values, values)
        except UserError as error:
            assert "damaged or truncated" in str(error)  # noqa: PT017
            refusals += 1
    assert refusals >= 9  # the rest hit bytes that hold nothing


@pytest.mark.parametrize("name", ["x.nii", "x.mha", "x.nrrd", "x.npy", "x.npz", "x.h5", "x.tif"])
def test_any_byte_changed_is_never_a_crash(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(40):
        spoilt = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 4):
            spoilt[place] = rng.integers(0, 256)
        path.write_bytes(bytes(spoilt))
        try:
            open_volume(path).load()
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(50), b"PK\x03\x04" + bytes(50)])
def test_rubbish(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    refused(tmp_path / "x", "x: ")


@pytest.mark.parametrize(
    ("name", "module"), [("x.nii.gz", "nibabel"), ("x.mha", "SimpleITK"), ("x.nrrd", "SimpleITK"), ("x.h5", "h5py")]
)
def test_a_missing_library_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    path = MAKERS[name](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"{module} is not installed.*pip install 'glocal\[volumes\]'"):
        open_volume(path)
