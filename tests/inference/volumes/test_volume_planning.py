"""Which mask goes where, decided before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset

from glocal.errors import UserError
from glocal.inference.volumes import VolumeResult, plan_masks, read_segments, segments_of, write_table


def slices(folder: Path, count: int, number: int = 1, suffix: str = ".dcm") -> Path:
    """Images of a DICOM series."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = pydicom.uid.generate_uid()
    for k in range(count):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
        one.SeriesInstanceUID, one.SeriesNumber, one.Modality, one.PatientName = uid, number, "CT", "Doe^Jane"
        one.SeriesDescription = "Doe"
        one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = 8, 8, [1, 1], 1
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, k]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.PixelData = bytes(128)
        one.save_as(folder / f"{number}-{k}{suffix}", enforce_file_format=True)
    return folder


def volume(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 3), np.int16), np.eye(4)), path)
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)
    return path


def masks(inputs, output, **options) -> dict[str, str]:
    pictures, volumes = plan_masks(inputs, output, **options)
    return {os.path.relpath(job.mask, output): getattr(job, "format", "picture") for job in [*pictures, *volumes]}


def test_everything_in_a_folder(tmp_path):
    root = tmp_path / "in"
    volume(root / "a.b" / "x.y.nii.gz")
    volume(root / "plain.nii")
    picture(root / "p.jpg")
    picture(root / "out" / "old.png")
    slices(root / "case 1" / "CT", 3)
    slices(root / "case 2", 3, suffix="")
    slices(root / "frames", 1, 1)
    slices(root / "frames", 1, 2)
    (root / "notes.txt").write_text("x")
    assert masks([root], root / "out") == {
        "p.png": "picture",
        "a.b/x.y.nii.gz": "nifti",
        "plain.nii": "nifti",
        "case 1/CT.nii.gz": "nifti",
        "case 2.nii.gz": "nifti",
        "frames/1-0.png": "png",
        "frames/2-0.png": "png",
    }


def test_a_series_by_itself_has_the_name_of_its_folder(tmp_path):
    folder = slices(tmp_path / "Scan 7", 3)
    assert masks([folder], tmp_path / "out") == {"Scan 7.nii.gz": "nifti"}
    assert masks([folder], tmp_path / "out", format="seg") == {"Scan 7.dcm": "seg"}


@pytest.mark.parametrize(
    ("name", "format"), [("m.nii.gz", "nifti"), ("m.nii", "nifti"), ("m.mha", "mha"), ("m.dcm", "seg")]
)
def test_the_output_may_be_a_file(tmp_path, name, format):
    folder = slices(tmp_path / "ct", 3)
    ((job,),) = plan_masks([folder], tmp_path / "new" / name, overlay=True)[1:]
    assert (job.mask, job.format) == (tmp_path / "new" / name, format)
    assert job.overlay == tmp_path / "new" / "overlays" / "ct.png"


def test_several_series_are_listed_without_what_identifies_the_patient(tmp_path):
    folder = slices(slices(tmp_path / "ct", 3, 1), 4, 5)
    with pytest.raises(UserError, match=r"holds 2 series; .*1: CT, 3 files of 8x8; 2: CT, 4 files of 8x8") as caught:
        plan_masks([folder], tmp_path / "out")
    assert "Doe" not in str(caught.value)
    (job,) = plan_masks([folder], tmp_path / "out", series="2")[1]
    assert len(job.open()) == 4
    both = plan_masks([folder], tmp_path / "out", series="all")[1]
    assert [(job.mask.name, len(job.open())) for job in both] == [("ct-series1.nii.gz", 3), ("ct-series2.nii.gz", 4)]


def test_what_would_be_lost_is_refused(tmp_path):
    scan = volume(tmp_path / "in" / "x.nii.gz")
    out = tmp_path / "out"
    with pytest.raises(UserError, match="would replace the image"):
        plan_masks([scan], tmp_path / "in", overwrite=True)
    volume(out / "x.nii.gz")
    with pytest.raises(UserError, match="already there"):
        plan_masks([scan], out)
    assert masks([scan], out, overwrite=True) == {"x.nii.gz": "nifti"}
    assert masks([scan], out, skip_existing=True) == {}
    (out / "volumes.csv").write_text("x")
    other = volume(tmp_path / "in" / "y.nii.gz")
    with pytest.raises(UserError, match=r"volumes.csv: already there"):
        plan_masks([other], out)


@pytest.mark.parametrize("twin", ["x.nii.gz", "x.hdf5"])
def test_two_masks_of_one_name_are_refused(tmp_path, twin):
    one = volume(tmp_path / "a" / "x.nii.gz")
    other = tmp_path / "b" / twin
    other.parent.mkdir()
    other.write_bytes(one.read_bytes())
    with pytest.raises(UserError, match=r"its mask would have the name of that of .*x.nii.gz"):
        plan_masks([one, other], tmp_path / "out")
    assert masks([one, one], tmp_path / "out") == {"x.nii.gz": "nifti"}


def test_formats_that_do_not_go_together_are_refused(tmp_path):
    scan, photo, out = volume(tmp_path / "x.nii"), picture(tmp_path / "p.png"), tmp_path / "out"
    with pytest.raises(UserError, match="refers to DICOM images, and this is none"):
        plan_masks([scan], out, format="seg")
    with pytest.raises(UserError, match="the mask of a picture is a PNG, not nifti"):
        plan_masks([photo], out, format="nifti")
    with pytest.raises(UserError, match=r"ends in .nii.gz, which is not --format mha"):
        plan_masks([scan], tmp_path / "m.nii.gz", format="mha")
    with pytest.raises(UserError, match="names one file, and there are 2 images"):
        plan_masks([scan, photo], tmp_path / "m.nii.gz")
    with pytest.raises(UserError, match=r"'jpeg' is unknown"):
        plan_masks([scan], out, format="jpeg")


def test_an_output_that_cannot_be_is_refused(tmp_path):
    scan = volume(tmp_path / "x.nii")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not a folder"):
        plan_masks([scan], tmp_path / "file" / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        plan_masks([tmp_path / "empty"], tmp_path / "out")


def test_the_table_of_volumes(tmp_path):
    (job,) = plan_masks([volume(tmp_path / "x,1.nii")], tmp_path / "out")[1]
    done = VolumeResult(job, (3, 4, 4), (40, 8, 0), (0.04, 0.008, 0.0))
    failed = VolumeResult(job, error="broken")
    write_table(tmp_path / "t.csv", [done, failed], ("background", "liver", "spleen"))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "image,mask,class,voxels,ml"
    assert lines[1].endswith(",liver,8,0.008")
    assert len(lines) == 3
    unknown = VolumeResult(job, (3, 4, 4), (40, 8, 0))
    write_table(tmp_path / "t.csv", [unknown], ("background", "liver", "spleen"), keep_rows=True)
    assert (tmp_path / "t.csv").read_text().splitlines()[1].endswith(",liver,8,")
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="not a table of volumes"):
        write_table(tmp_path / "t.csv", [done], ("background", "liver"), keep_rows=True)


def test_codes_of_the_user(tmp_path):
    path = tmp_path / "segments.json"
    path.write_text('{"polyp": {"label": "Polyp", "type": {"value": "41329004", "meaning": "Polyp"}}}')
    (polyp,) = segments_of(("background", "polyp"), read_segments(path))
    assert (polyp.label, polyp.type.value, polyp.type.scheme) == ("Polyp", "41329004", "SCT")
    with pytest.raises(UserError, match=r"'polyp', which the network does not segment; it knows liver"):
        segments_of(("background", "liver"), read_segments(path))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"polyp": {}}',
        '{"polyp": {"type": "41329004"}}',
        '{"polyp": {"type": {"value": "1", "meaning": ""}}}',
        '{"polyp": {"type": {"value": "12345678901234567", "meaning": "x"}}}',
        '{"polyp": {"type": {"value": "1", "meaning": "x"}, "colour": 3}}',
        '{"polyp": {"type": {"value": "1", "meaning": "x"}, "label": 3}}',
    ],
)
def test_bad_codes_are_one_line(tmp_path, text):
    (tmp_path / "segments.json").write_text(text)
    with pytest.raises(UserError, match=r"segments.json: "):
        read_segments(tmp_path / "segments.json")


def test_names_are_looked_up_in_the_words_people_use():
    names = ("background", "Left_Kidney", "LV", "fetal head", "kidneys", "Tumour", "symphysis", "something")
    found = segments_of(names)
    assert [one.type.meaning for one in found] == [
        *("Kidney", "Left ventricle", "Head", "Kidney", "Neoplasm", "Symphysis pubis", "Anatomical Structure"),
    ]
    assert found[0].side is not None
    assert found[0].side.meaning == "Left"
    assert found[1].side is None
    assert [one.label for one in found] == list(names[1:])
