"""Masks of volumes in files that other programs read, where their volumes are."""

from __future__ import annotations

import datetime
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset

from glocal.data.volumes import open_volume
from glocal.errors import UserError
from glocal.inference.volumes import segments_of, write_metaimage, write_nifti, write_seg

CLASSES = ("background", "liver", "left kidney", "thing")


def mask_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    mask = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    mask[0] = 0  # an empty slice
    return mask


GEOMETRY = (
    *("dim", "pixdim", "qform_code", "sform_code", "xyzt_units", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("sform", "qform", "ending"), [(2, 1, ".nii.gz"), (0, 1, ".nii"), (4, 0, ".nii.gz")])
def test_geometry_of_a_nifti_is_kept_bit_by_bit(tmp_path, kind, sform, qform, ending):
    affine = np.array([[-0.7, 0.1, 0.0, 90.1], [0.1, 0.69, 0.2, -126.3], [0.02, -0.1, 2.5, -72.7], [0, 0, 0, 1]])
    image = kind(np.zeros((7, 6, 5), np.float32), affine)
    image.header.set_qform(affine, qform, strip_shears=True)
    image.header.set_sform(affine, sform)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"Doe^Jane"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    image.header["scl_slope"], image.header["scl_inter"] = 2.0, -1024
    nibabel.save(image, tmp_path / f"scan{ending}")
    file = open_volume(tmp_path / f"scan{ending}")
    mask, out = mask_of(file.shape), tmp_path / f"mask{ending}"
    write_nifti(mask, file, out)
    back, source = nibabel.load(out), nibabel.load(tmp_path / f"scan{ending}")
    assert type(back) is type(source)
    for name in GEOMETRY:
        assert np.array_equal(back.header[name], source.header[name]), name
    assert np.array_equal(back.affine, source.affine)
    assert back.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(back.dataobj), mask.transpose(2, 1, 0))
    assert b"Doe" not in bytes(back.header.binaryblock)
    assert not back.header.extensions


def test_nifti_of_an_array_without_geometry_says_so(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 6, 5), np.int16))
    file = open_volume(tmp_path / "x.npy")
    write_nifti(mask_of(file.shape), file, tmp_path / "m.nii.gz")
    back = nibabel.load(tmp_path / "m.nii.gz")
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (0, 0)
    assert np.array_equal(np.asarray(back.dataobj), mask_of(file.shape).transpose(2, 1, 0))


def test_metaimage(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((5, 6, 7), np.int16))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-12.5, 3.25, 100))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mha"))
    file = open_volume(tmp_path / "scan.mha")
    write_metaimage(mask_of(file.shape), file, tmp_path / "mask.mha")
    back = SimpleITK.ReadImage(str(tmp_path / "mask.mha"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(back), mask_of(file.shape))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(back, name)() == getattr(image, name)()


def test_metaimage_of_a_nifti_lies_at_the_same_place(tmp_path, nifti):
    affine = np.array([[-0.7, 0, 0, 90.1], [0, 0, 0.9, -126.3], [0, -2.0, 0, -72.7], [0, 0, 0, 1]])
    file = open_volume(nifti(np.zeros((7, 6, 5), np.int16), affine))
    write_metaimage(mask_of(file.shape), file, tmp_path / "mask.mha")
    again = open_volume(tmp_path / "mask.mha")
    assert np.allclose(again.affine, file.affine)
    assert np.array_equal(again.load().values, mask_of(file.shape))


@pytest.mark.parametrize(("write", "name"), [(write_nifti, "m.png"), (write_metaimage, "m.nii.gz")])
def test_other_endings_are_refused(tmp_path, nifti, write, name):
    file = open_volume(nifti(np.zeros((4, 4, 4), np.int16)))
    with pytest.raises(UserError, match="let the name end in"):
        write(mask_of(file.shape), file, tmp_path / name)


AXES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
    "flipped": (-1, 0, 0, 0, 1, 0),
}


def series(folder: Path, axes: tuple[float, ...], depth: int = 5, **tags: object) -> Path:
    """A series of CT images of 6 rows and 7 columns, its files in no order."""
    folder.mkdir(parents=True)
    right, down = np.array(axes[:3], float), np.array(axes[3:], float)
    study, serie, frame = pydicom.uid.generate_uid(), pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for k in range(depth):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = pydicom.uid.CTImageStorage, pydicom.uid.generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, serie, frame
        one.Modality, one.SeriesNumber, one.InstanceNumber = "CT", 3, 100 - k
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Döe^Jané", "4711", "19700102", "F"
        one.SpecificCharacterSet = "ISO_IR 100"
        one.AccessionNumber, one.StudyID, one.StudyDate, one.StudyTime = "A12", "S1", "20200304", "101112"
        one.ReferringPhysicianName, one.InstitutionName, one.PatientComments = "Who^Dr", "St Elsewhere", "is Jane"
        one.OtherPatientIDs, one.StationName, one.PatientAge = "0815", "CT01", "050Y"
        one.Rows, one.Columns, one.PixelSpacing, one.SliceThickness = 6, 7, [0.8, 0.7], 2.5
        one.ImageOrientationPatient = list(axes)
        one.ImagePositionPatient = [round(float(v), 6) for v in np.cross(right, down) * 2.5 * k + (-20, 31.5, 400)]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = np.full((6, 7), 1000 + k, np.uint16).tobytes()
        for name, value in tags.items():
            setattr(one, name, value)
        one.save_as(folder / f"{(7 * k) % depth}.dcm", enforce_file_format=True)
    return folder


def read_back(path: Path, file) -> np.ndarray:
    """The mask, slice by slice as the volume has them, through highdicom."""
    made = highdicom.seg.segread(path)
    uids = [pydicom.dcmread(one, stop_before_pixels=True).SOPInstanceUID for one in file.files]
    return made.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)


@pytest.mark.parametrize("axes", AXES)
def test_segmentation_lies_on_its_source(tmp_path, axes):
    file = open_volume(series(tmp_path / "ct", AXES[axes]))
    mask, out = mask_of(file.shape), tmp_path / "seg.dcm"
    write_seg(mask, file, segments_of(CLASSES), out, network="lmnet")
    assert np.array_equal(read_back(out, file), mask)
    made, sources = pydicom.dcmread(out), [pydicom.dcmread(path) for path in file.files]
    assert made.SOPClassUID == pydicom.uid.SegmentationStorage
    assert (made.Modality, made.SegmentationType) == ("SEG", "BINARY")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[name].value == sources[0][name].value
    referred = made.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in referred.ReferencedInstanceSequence} == {
        one.SOPInstanceUID for one in sources
    }
    volume = highdicom.seg.segread(out).get_volume(combine_segments=True)
    centres = np.argwhere(mask == 2)  # in space, by two ways
    ours = np.diag([-1, -1, 1, 1]) @ file.affine @ np.c_[centres[:, ::-1], np.ones(len(centres))].T
    theirs = volume.affine @ np.c_[np.argwhere(volume.array == 2), np.ones(len(centres))].T
    assert np.allclose(sorted(ours[:3].T.tolist()), sorted(theirs[:3].T.tolist()), atol=1e-4)


def test_segments_are_coded(tmp_path):
    file = open_volume(series(tmp_path / "ct", AXES["axial"]))
    write_seg(mask_of(file.shape), file, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet_tiny")
    made = pydicom.dcmread(tmp_path / "seg.dcm")
    liver, kidney, thing = made.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Kidney"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodingSchemeDesignator) == ("7771000", "SCT")
    assert thing.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert [one.SegmentLabel for one in made.SegmentSequence] == list(CLASSES[1:])
    algorithm = liver.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "glocal lmnet_tiny"
    assert algorithm.AlgorithmVersion


def enhanced(path: Path, heights: tuple[int, ...]) -> Path:
    """A multi-frame CT of 6 rows and 7 columns, its frames in this order along the table."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one.SOPClassUID, one.Modality = pydicom.uid.EnhancedCTImageStorage, "CT"
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(one, name, pydicom.uid.generate_uid())
    one.Rows, one.Columns, one.NumberOfFrames, one.ImageType = 6, 7, len(heights), ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    shared, measures, axes = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, axes.ImageOrientationPatient = [0.8, 0.7], 2, [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [axes]
    frames = []
    for height in heights:
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, content.DimensionIndexValues = [-3, 4, 10 + 2 * height], [height + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        frames.append(frame)
    one.SharedFunctionalGroupsSequence, one.PerFrameFunctionalGroupsSequence = [shared], frames
    one.PixelData = np.repeat(np.array(heights, np.uint16), 42).tobytes()
    one.save_as(path, enforce_file_format=True)
    return path


def test_frames_of_one_file_in_any_order(tmp_path):
    heights = (3, 0, 2, 1)
    file = open_volume(enhanced(tmp_path / "ct.dcm", heights))
    assert file.load().values[:, 0, 0].tolist() == [0, 1, 2, 3]
    mask = mask_of(file.shape)
    write_seg(mask, file, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet")
    back = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_frame(
        pydicom.dcmread(tmp_path / "ct.dcm").SOPInstanceUID,
        [1, 2, 3, 4],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(back, mask[list(heights)])


IDENTIFYING = ("Jan", "4711", "1970", "A12", "S1", "20200304", "Who", "Elsewhere", "0815", "CT01", "050Y")


def texts_of(path: Path) -> str:
    return str(pydicom.dcmread(path)).split("(7fe0")[0]


def test_nothing_identifying_is_copied_unless_asked(tmp_path):
    file = open_volume(series(tmp_path / "ct", AXES["axial"]))
    segments, mask = segments_of(CLASSES), mask_of(file.shape)
    told = write_seg(mask, file, segments, tmp_path / "bare.dcm", network="lmnet")
    assert told == ("patient and study fields left empty (--keep_identifiers copies them, as an archive may need)",)
    bare = pydicom.dcmread(tmp_path / "bare.dcm")
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
        assert str(bare[name].value or "") == "", name  # there, since the standard wants them, and empty
    lines = [line for line in texts_of(tmp_path / "bare.dcm").splitlines() if "UI:" not in line and "TM:" not in line]
    for word in IDENTIFYING[:1] + IDENTIFYING[5:]:
        assert not any(word in line for line in lines), word
    write_seg(mask, file, segments, tmp_path / "kept.dcm", network="lmnet", keep_identifiers=True)
    kept = pydicom.dcmread(tmp_path / "kept.dcm")
    assert str(kept.PatientName) == "Döe^Jané"
    assert (kept.PatientID, kept.StudyDate, kept.AccessionNumber) == ("4711", "20200304", "A12")
    assert kept.SpecificCharacterSet == "ISO_IR 192"
    for name in ("InstitutionName", "PatientComments", "OtherPatientIDs", "StationName", "PatientAge"):
        assert name not in kept


def test_pseudonyms_of_a_source_without_identity_are_kept(tmp_path):
    file = open_volume(series(tmp_path / "ct", AXES["axial"], PatientIdentityRemoved="YES", DeidentificationMethod="x"))
    told = write_seg(mask_of(file.shape), file, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet")
    made = pydicom.dcmread(tmp_path / "seg.dcm")
    assert made.PatientID == "4711"
    assert made.PatientIdentityRemoved == "YES"
    assert "identity was removed" in told[0]


def test_an_empty_mask_is_a_segmentation_too(tmp_path):
    file = open_volume(series(tmp_path / "ct", AXES["axial"]))
    write_seg(np.zeros(file.shape, np.uint8), file, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet")
    assert not read_back(tmp_path / "seg.dcm", file).any()


def test_strange_values_of_the_source_do_no_harm(tmp_path):
    file = open_volume(series(tmp_path / "ct", AXES["axial"], PatientSex="U", StudyTime="", PatientName=""))
    write_seg(
        mask_of(file.shape), file, segments_of(CLASSES), tmp_path / "s.dcm", network="lmnet", keep_identifiers=True
    )
    assert pydicom.dcmread(tmp_path / "s.dcm").PatientSex == ""
    assert pydicom.dcmread(tmp_path / "s.dcm").ContentDate <= datetime.date.today().strftime("%Y%m%d")


def test_what_has_no_source_is_refused(tmp_path, nifti):
    file = open_volume(nifti(np.zeros((4, 4, 4), np.int16)))
    with pytest.raises(UserError, match=r"refers to DICOM images, and this is NIfTI; use --format nifti"):
        write_seg(mask_of(file.shape), file, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet")
    without = open_volume(series(tmp_path / "ct", AXES["axial"], StudyInstanceUID=""))
    with pytest.raises(UserError, match="has no StudyInstanceUID"):
        write_seg(mask_of(without.shape), without, segments_of(CLASSES), tmp_path / "seg.dcm", network="lmnet")
    assert not (tmp_path / "seg.dcm").exists()
