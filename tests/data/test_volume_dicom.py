"""DICOM as scanners write it: real units, places in space, and refusals that say which file and why."""

from __future__ import annotations

import logging
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_makers import CANARY, CANARY_DATE, CANARY_UID, IDENTIFYING, edit, enhanced, placed, write_dicom, write_series
from numpy.testing import assert_allclose, assert_array_equal
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from glocal.data import image_size, read_image, read_mask
from glocal.data.layouts import open_dataset
from glocal.data.volumes import list_series, open_volume, read_labels, reorient, restore
from glocal.errors import UserError

RNG = np.random.default_rng(0)
CT = RNG.integers(-1000, 3000, (5, 6, 8))
GREY = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)


def refused(path: Path, match: str, **options: Any) -> str:
    with pytest.raises(UserError, match=match) as caught:
        open_volume(path, **options).load()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or path.name in message
    for canary in (CANARY, CANARY_DATE, CANARY_UID):
        assert canary not in message
    return message


# ---- series ----


def test_a_series_is_sorted_by_position_and_in_hounsfield_units(tmp_path: Path) -> None:
    file = open_volume(write_series(tmp_path / "ct", CT))
    assert (file.kind, file.shape, file.modality) == ("DICOM series", (5, 6, 8), "CT")
    volume = file.load()
    assert_array_equal(volume.values, CT)
    assert volume.values.dtype == file.dtype == np.int16
    assert_allclose(file.spacing, (2.5, 0.5, 0.8))
    assert file.orientation == "LPS"
    assert_array_equal(file.read(3), CT[3])
    assert "real units: 1 x stored + -1024" in file.notes


def test_the_affine_of_a_series_leads_to_where_its_tags_say(tmp_path: Path) -> None:
    """PS3.3 equation C.7.6.2.1-1, in LPS; NIfTI counts towards R, A, S."""
    right, down = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
    normal = np.cross(right, down)
    folder = tmp_path / "oblique"
    folder.mkdir()
    for k in range(4):
        place = np.array([5.0, 6.0, 7.0]) + 3 * k * normal
        tags = placed(k, ImagePositionPatient=list(place), ImageOrientationPatient=[*right, *down])
        write_dicom(folder / f"{k}.dcm", GREY, **tags)
    file = open_volume(folder)
    row, column, k = 2, 5, 3
    lps = np.array([5.0, 6.0, 7.0]) + 3 * k * normal + 0.8 * column * right + 0.5 * row * down
    assert_allclose((file.affine @ [column, row, k, 1])[:3], lps * [-1, -1, 1], atol=1e-6)
    assert_allclose(file.spacing, (3.0, 0.5, 0.8))


def test_turning_a_series_to_ras_and_a_mask_back(tmp_path: Path) -> None:
    file = open_volume(write_series(tmp_path / "ct", CT))
    turned = reorient(file, "RAS")
    assert turned.orientation == "RAS"
    assert_array_equal(turned.load().values, CT[:, ::-1, ::-1])
    assert_array_equal(restore(turned.load().values, turned), CT)


def test_several_series_are_listed_and_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "a", CT, SeriesNumber=7)
    write_series(tmp_path / "b", CT[:3], SeriesNumber=2, SeriesInstanceUID="1.2.3.4")
    first, second = list_series(tmp_path)
    assert (first.number, len(first.files), first.uid, second.modality) == (1, 3, "1.2.3.4", "CT")
    assert open_volume(tmp_path, series="1").shape[0] == 3
    assert open_volume(tmp_path, series=CANARY_UID).shape[0] == 5
    message = refused(tmp_path, "holds 2 series; choose one by its number")
    assert "1: CT, 3 files of 8x6; 2: CT, 5 files of 8x6" in message
    refused(tmp_path, "no series '3'", series="3")


def test_what_is_no_image_in_the_folder_is_left_out_and_said(tmp_path: Path) -> None:
    write_series(tmp_path, CT)
    (tmp_path / "readme.txt").write_text("hello")
    report(tmp_path / "report.dcm", "1.2.840.10008.5.1.4.1.1.88.11")
    file = open_volume(tmp_path)
    assert_array_equal(file.load().values, CT)
    assert "left out: 1 file of DICOM without an image" in file.notes
    assert "left out: 1 file of other kinds than DICOM" in file.notes


def test_slopes_of_their_own_give_real_units_as_floating_point(tmp_path: Path) -> None:
    for k in range(3):
        write_dicom(tmp_path / f"{k}.dcm", GREY, **placed(k, RescaleSlope=0.5 + k, RescaleIntercept=k, Modality="PT"))
    file = open_volume(tmp_path)
    assert file.dtype == np.float32
    assert_allclose(file.load().values, [GREY * (0.5 + k) + k for k in range(3)])


def test_gantry_tilt_is_said_and_kept_in_the_affine(tmp_path: Path) -> None:
    for k in range(4):
        write_dicom(tmp_path / f"{k}.dcm", GREY, **placed(k, ImagePositionPatient=[0, 0.5 * k, 2 * k]))
    file = open_volume(tmp_path)
    assert any("gantry tilt of 14.0°" in note for note in file.notes)
    assert_allclose(file.affine[:3, 2], [0, -0.5, 2])


def test_a_series_without_places_keeps_the_order_of_its_numbers(tmp_path: Path) -> None:
    for k in range(3):
        tags = placed(k, ImagePositionPatient=None, ImageOrientationPatient=None)
        write_dicom(tmp_path / f"{9 - k}.dcm", GREY // (k + 1), **tags)
    file = open_volume(tmp_path)
    assert_array_equal(file.load().values, [GREY // (k + 1) for k in range(3)])
    assert (file.spacing, file.orientation, file.plane_spacing) == (None, None, (0.5, 0.8))
    assert any("no positions" in note for note in file.notes)


def file_of(folder: Path, k: int) -> Path:
    return next(path for path in folder.iterdir() if pydicom.dcmread(path).InstanceNumber == k + 1)


def remove(folder: Path) -> None:
    file_of(folder, 2).unlink()


def duplicate(folder: Path) -> None:
    (folder / "copy.dcm").write_bytes(file_of(folder, 2).read_bytes())


def all_twice(folder: Path) -> None:
    for path in list(folder.iterdir()):
        (folder / f"again{path.name}").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (remove, r"1 missing slice between \d+\.dcm and \d+\.dcm \(5 mm where others are 2\.5 mm apart\)"),
        (duplicate, r"a duplicated slice: .*copy\.dcm"),
        (all_twice, "2 slices at each of 5 places"),
        (
            lambda f: edit(file_of(f, 1), ImageOrientationPatient=[0, 1, 0, 0, 0, 1]),
            r"mixed orientations \(4, 1 slices",
        ),
        (lambda f: edit(file_of(f, 1), PixelSpacing=[0.6, 0.8]), "pixel spacing of .* differs"),
        (lambda f: edit(file_of(f, 1), PixelSpacing=[0, 0]), "pixel spacing of .* differs"),
        (lambda f: edit(file_of(f, 1), ImagePositionPatient=[0, 0, 33.4]), "unevenly spaced"),
        (lambda f: edit(file_of(f, 1), ImagePositionPatient=None), "has no position"),
        (lambda f: edit(file_of(f, 1), ImageOrientationPatient=[1, 1, 0, 0, 1, 0]), "mixed orientations"),
        (lambda f: edit(file_of(f, 1), PixelRepresentation=1), "pixels of different kinds"),
        (lambda f: write_dicom(f / "x.dcm", GREY[:4], **placed(5)), "slices differ in size"),
        (lambda f: (f / "x.dcm").write_bytes(b""), "empty"),
        (lambda f: (f / "x.dcm").write_bytes(b"rubbish" * 99), "x.dcm: .* not a DICOM image"),
        (lambda f: (f / "x.dcm").write_bytes(file_of(f, 1).read_bytes()[:700]), "x.dcm"),
    ],
)
def test_a_series_that_is_no_volume_is_refused(tmp_path: Path, spoil: Any, match: str) -> None:
    folder = write_series(tmp_path / "ct", CT)
    spoil(folder)
    with pytest.raises(UserError, match=match) as caught:
        open_volume(folder)
    assert "\n" not in str(caught.value)


def test_zero_spacing_is_refused_or_left_out(tmp_path: Path) -> None:
    folder = write_series(tmp_path, CT, PixelSpacing=[0, 0])
    refused(folder, "spacing of 0 mm along x")
    file = open_volume(folder, require_geometry=False)
    assert file.spacing is None
    assert any("its geometry is left out" in note for note in file.notes)


def test_folders_without_images(tmp_path: Path) -> None:
    refused(tmp_path, "no DICOM images")
    refused(tmp_path / "nowhere", "no such file")


# ---- frames ----


def test_an_enhanced_file_is_a_volume(tmp_path: Path) -> None:
    values = RNG.integers(2, 500, (4, 6, 8)) * 2 + 5
    file = open_volume(enhanced(tmp_path / "mr.dcm", values))
    assert_array_equal(file.load().values, values)
    assert_allclose(file.spacing, (2.5, 0.5, 0.8))
    assert file.kind == "DICOM multi-frame"


def test_frames_of_different_spacing_are_refused(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "mr.dcm", np.full((3, 6, 8), 9), [[1, 1], [1, 1], [2, 2]])
    refused(path, r"pixel spacing of mr\.dcm \(frame 2\) differs")


def test_a_cine_has_frames_and_the_spacing_of_its_region(tmp_path: Path) -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 1, 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    frames = RNG.integers(0, 256, (4, 6, 8, 3)).astype(np.uint8)
    path = write_dicom(
        tmp_path / "us.dcm",
        frames,
        NumberOfFrames=4,
        SamplesPerPixel=3,
        Modality="US",
        SequenceOfUltrasoundRegions=Sequence([region]),
    )
    file = open_volume(path)
    assert (file.shape, file.channels, file.spacing) == ((4, 6, 8), 3, None)
    assert_array_equal(file.load().values, frames)
    picture = read_image(path, page=2)
    assert_array_equal(picture.pixels, frames[2])
    assert (picture.pages, picture.notes) == (4, ("frame 3 of 4",))
    assert_allclose(picture.spacing, (0.3, 0.2))
    with pytest.raises(UserError, match="no frame 4"):
        read_image(path, page=4)


# ---- pictures ----


def test_the_window_of_the_file_is_applied(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: centre 40, width 400 is black up to -160 and white above 239."""
    values = np.array([[-1000, -160, 39, 40, 239, 3000]])
    path = write_series(tmp_path, values[None], WindowCenter=[40, 600], WindowWidth=[400, 1200]) / "000.dcm"
    picture = read_image(path)
    assert_array_equal(picture.pixels[0, [0, 1, 4, 5], 0], [0, 0, 65535, 65535])
    assert_allclose(picture.pixels[0, [2, 3], 0] / 65535, [(39 - 39.5) / 399 + 0.5, (40 - 39.5) / 399 + 0.5], atol=1e-4)
    assert "window of the file applied: centre 40, width 400 (first of 2)" in picture.notes
    assert image_size(path) == picture.size == (1, 6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR_EXACT", [0, 0.25, 0.5, 0.75, 1]), ("SIGMOID", 1 / (1 + np.exp([2.0, 1, 0, -1, -2])))],
)
def test_other_window_functions(tmp_path: Path, function: str, expected: Any) -> None:
    values = np.array([[0, 50, 100, 150, 200]], np.uint16)
    path = write_dicom(tmp_path / "x.dcm", values, WindowCenter=100, WindowWidth=200, VOILUTFunction=function)
    assert_allclose(read_image(path).unit(1)[0, :, 0], expected, atol=1e-4)


def test_monochrome1_is_inverted_in_pictures_and_where_numbers_have_no_unit(tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    radiograph = write_dicom(tmp_path / "x.dcm", GREY, Modality="DX", ImagerPixelSpacing=[0.1, 0.1], **tags)
    picture = read_image(radiograph)
    assert_array_equal(picture.pixels[..., 0], 255 - GREY)
    assert_array_equal(open_volume(radiograph).read(0), 255 - GREY)
    assert picture.spacing == (0.1, 0.1)
    assert any("on the detector" in note for note in picture.notes)
    ct = write_dicom(tmp_path / "ct.dcm", GREY, Modality="CT", **tags)
    assert_array_equal(open_volume(ct).read(0), GREY)
    assert any("not inverted" in note for note in open_volume(ct).notes)


def test_eight_bits_stay_and_others_without_a_window_are_stretched(tmp_path: Path) -> None:
    assert_array_equal(read_image(write_dicom(tmp_path / "a.dcm", GREY)).pixels[..., 0], GREY)
    deep = np.array([[100, 200, 300]], np.uint16)
    picture = read_image(write_dicom(tmp_path / "b.dcm", deep))
    assert_array_equal(picture.pixels[0, :, 0], [0, 32768, 65535])
    assert any("100 to 300 of this frame stretched" in note for note in picture.notes)


def test_a_palette_and_ybr_become_rgb(tmp_path: Path) -> None:
    table = np.arange(256, dtype=np.uint16) * 257
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in (("Red", table), ("Green", table[::-1]), ("Blue", table // 2)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    picture = read_image(write_dicom(tmp_path / "p.dcm", GREY, Modality="US", **tags))
    assert_array_equal(picture.pixels[..., 0], GREY)
    assert_array_equal(picture.pixels[..., 1], 255 - GREY)
    ybr = np.full((6, 8, 3), (150, 128, 128), np.uint8)  # neutral chroma: grey
    path = write_dicom(tmp_path / "y.dcm", ybr, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL")
    picture = read_image(path)
    assert_array_equal(picture.pixels, np.full((6, 8, 3), 150))
    assert picture.notes == ("YBR_FULL converted to RGB",)


def test_dicom_pictures_with_png_masks_are_a_data_set(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in "abc":
        write_dicom(tmp_path / "images" / f"{name}.dcm", GREY)
        Image.fromarray((GREY > 128).astype(np.uint8) * 255).save(tmp_path / "masks" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["a", "b", "c"]
    assert_array_equal(dataset.read_image(dataset.cases[0]).pixels[..., 0], GREY)


def test_a_mask_in_dicom(tmp_path: Path) -> None:
    assert_array_equal(read_mask(write_dicom(tmp_path / "m.dcm", GREY % 3)).values, GREY % 3)
    assert_array_equal(read_labels(tmp_path / "m.dcm").values, [GREY % 3])


# ---- compressed ----


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_lossless_compression_is_undone(tmp_path: Path, syntax: str) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    path = write_dicom(tmp_path / "x.dcm", smooth)
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(path)
    assert_array_equal(open_volume(path).read(0), smooth)
    assert_array_equal(read_image(path).pixels[..., 0], smooth)


def relabel(path: Path, syntax: str) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    path = relabel(write_dicom(tmp_path / "x.dcm", GREY), "1.2.840.10008.1.2.4.70")
    if pydicom.pixels.get_decoder("1.2.840.10008.1.2.4.70").is_available:
        pytest.skip("a decoder of lossless JPEG is installed")
    refused(path, "compressed as JPEG Lossless.* plug-in of pydicom is missing; install .*pylibjpeg-libjpeg")


@pytest.mark.parametrize(
    ("syntax", "match"),
    [
        ("1.2.840.10008.1.2.4.100", r"transfer syntax \(MPEG2 .*\) is not read"),
        ("1.2.3.4.5", r"transfer syntax \(private\) is not read"),
        ("1.2.840.10008.1.2.4.80", "damaged or truncated"),  # said to be JPEG-LS, and is not
    ],
)
def test_what_cannot_be_decoded_is_named(tmp_path: Path, syntax: str, match: str) -> None:
    refused(relabel(write_dicom(tmp_path / "x.dcm", GREY), syntax), match)


# ---- hostile ----


def report(path: Path, kind: str) -> Path:
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    for name, value in IDENTIFYING.items():
        setattr(dataset, name, value)
    dataset.EncapsulatedDocument = b"%PDF-1.4 " + CANARY.encode()
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR Storage"),
        ("1.2.3.4", "a private class"),
    ],
)
def test_documents_are_refused_by_name(tmp_path: Path, kind: str, name: str) -> None:
    path = report(tmp_path / "x.dcm", kind)
    refused(path, rf"holds no image \({name}\)")
    with pytest.raises(UserError, match="holds no image"):
        read_image(path)


def test_a_segmentation_object_is_no_image(tmp_path: Path) -> None:
    write_series(tmp_path, CT)
    path = write_dicom(tmp_path / "seg.dcm", GREY, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG")
    refused(path, "a DICOM segmentation holds labels and no image")
    assert open_volume(tmp_path).shape == (5, 6, 8)


def test_a_header_that_promises_too_much_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    wide = write_dicom(tmp_path / "wide.dcm", GREY, Rows=65535, Columns=65535)
    refused(wide, "above the limit")
    refused(write_dicom(tmp_path / "big.dcm", GREY, Rows=9000, Columns=9000), "truncated: its header promises")
    many = edit(write_dicom(tmp_path / "many.dcm", GREY), NumberOfFrames=2_000_000_000)
    refused(many, "truncated: its header promises")
    refused(write_dicom(tmp_path / "none.dcm", GREY, Rows=0), "slices of 8x0 pixels")


@pytest.mark.parametrize("length", [131, 140, 400, 900, 1200, -20])
def test_truncation_anywhere_is_one_line(tmp_path: Path, length: int) -> None:
    data = write_dicom(tmp_path / "x.dcm", GREY, **placed(0)).read_bytes()
    (tmp_path / "x.dcm").write_bytes(data[:length])
    refused(tmp_path / "x.dcm", "x.dcm")


def test_rubbish_with_the_name_or_the_mark_of_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"rubbish" * 100)
    refused(tmp_path / "a.dcm", "not a volume of a known kind")
    (tmp_path / "b").write_bytes(bytes(128) + b"DICM" + bytes(RNG.integers(0, 256, 3000, np.uint8)))
    refused(tmp_path / "b", "b: ")
    (tmp_path / "c.dcm").write_bytes(struct.pack("<HHHH", 8, 0, 0, 0) * 40)
    refused(tmp_path / "c.dcm", "c.dcm")


def test_a_deflated_file_is_refused_since_it_can_unpack_without_end(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", GREY)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(path)
    refused(path, "Deflated Explicit VR Little Endian, which is not read")


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = write_dicom(tmp_path / "x.dcm", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for call in (lambda: open_volume(path), lambda: read_image(path), lambda: open_volume(tmp_path)):
        with pytest.raises(UserError, match=re.escape("pip install 'glocal[dicom]'")):
            call()


# ---- patients ----


def test_nothing_that_identifies_a_patient_comes_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is said, logged, warned and printed is searched for what every identifying tag holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = write_series(tmp_path / "s", CT, PatientAge=CANARY, SeriesDescription=CANARY * 20)  # invalid values
    write_series(tmp_path / "t", CT, SeriesInstanceUID=CANARY_UID + ".1")
    said: list[str] = []
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = open_volume(folder)
        picture = read_image(next(folder.iterdir()))
        said += [
            repr(file),
            str(file),
            repr(file.load()),
            *file.notes,
            repr(reorient(file, "RAS")),
            repr(picture.notes),
        ]
        said += [text for info in list_series(tmp_path) for text in (repr(info), str(info))]
        said += [repr(vars(file)), repr(file.source)]
        said += [refused(tmp_path, "2 series")]
    said += [str(one.message) for one in caught if CANARY in str(one.message)]
    printed = capfd.readouterr()
    everything = "\n".join((*said, caplog.text, printed.out, printed.err)).replace(str(tmp_path), "")
    for canary in (CANARY, CANARY_DATE, CANARY_UID):
        assert canary not in everything


def test_the_canaries_are_there(tmp_path: Path) -> None:
    text = str(pydicom.dcmread(write_series(tmp_path, CT) / "000.dcm"))
    assert all(canary in text for canary in (CANARY, CANARY_DATE, CANARY_UID))


@pytest.mark.parametrize("kind", ["plain", "enhanced"])
def test_any_byte_changed_is_never_a_crash(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.dcm"
    tags = placed(0, RescaleSlope=2, RescaleIntercept=-5, WindowCenter=3, WindowWidth=9)
    data = (
        enhanced(path, np.full((3, 6, 8), 9)) if kind == "enhanced" else write_dicom(path, GREY, **tags)
    ).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            spoilt[place] = rng.integers(0, 256)
        path.write_bytes(bytes(spoilt))
        for read in (lambda: open_volume(path).load(), lambda: read_image(path)):
            try:
                read()
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"RescaleSlope": 0}, "rescale slope or intercept is 0"),
        ({"RescaleIntercept": float("inf")}, "rescale slope or intercept is 0 or not finite"),
        ({"SamplesPerPixel": 4}, "4 samples of 8 bits are not read"),
        ({"ImagePositionPatient": [0, float("nan"), 0]}, "positions that are not finite"),
    ],
)
def test_tags_that_cannot_be(tmp_path: Path, tags: dict[str, Any], match: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_dicom(tmp_path / "x.dcm", GREY, **placed(0, **tags))
    refused(path, match)
