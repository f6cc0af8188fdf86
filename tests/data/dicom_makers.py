"""DICOM files for tests; every tag that identifies somebody holds a canary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

CANARY = "KANARIENVOGEL"
CANARY_DATE = "19230417"
CANARY_UID = "1.2.826.0.1.3680043.8.498.987650123456789"

IDENTIFYING = {
    **dict.fromkeys(("PatientName", "ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"), CANARY),
    **dict.fromkeys(("PatientID", "AccessionNumber", "StudyID", "InstitutionName", "StationName"), CANARY),
    **dict.fromkeys(("StudyDescription", "SeriesDescription", "ProtocolName", "PatientComments"), CANARY),
    **dict.fromkeys(("InstitutionAddress", "ImageComments", "DeviceSerialNumber", "ManufacturerModelName"), CANARY),
    **dict.fromkeys(("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), CANARY_DATE),
    **dict.fromkeys(("StudyInstanceUID", "FrameOfReferenceUID"), CANARY_UID),
}


def write_dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """An uncompressed file: grey ``(H, W)`` or frames ``(N, H, W)``, or colour with ``SamplesPerPixel=3``."""
    frames = int(tags.get("NumberOfFrames", 1))
    colour = int(tags.get("SamplesPerPixel", 1)) == 3
    shape = pixels.shape[1:] if frames > 1 else pixels.shape
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    defaults = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": CANARY_UID,
        "Modality": "CT",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": shape[0],
        "Columns": shape[1],
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **IDENTIFYING,
    }
    for name, value in {**defaults, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    if colour:
        dataset.PlanarConfiguration = 0
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def placed(k: int, *, step: float = 2.5, **tags: Any) -> dict[str, Any]:
    """Tags of slice ``k`` of an axial series, 0.5 x 0.8 mm (y, x)."""
    return {
        "ImagePositionPatient": [-10.0, -20.0, 30.0 + step * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.8],
        "InstanceNumber": k + 1,
        **tags,
    }


def write_series(folder: Path, values: np.ndarray, **tags: Any) -> Path:
    """A CT series: ``values`` (D, H, W) in Hounsfield units, files in scrambled order of names."""
    folder.mkdir(parents=True, exist_ok=True)
    scrambled = np.random.default_rng(3).permutation(len(values))
    for k, plane in enumerate(values):
        stored = (plane + 1024).astype(np.uint16)
        scale = {"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12}
        write_dicom(folder / f"{scrambled[k]:03d}.dcm", stored, **{**placed(k), **scale, **tags})
    return folder


def edit(path: Path, **tags: Any) -> Path:
    """Change tags of a file; ``None`` removes one."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def enhanced(path: Path, values: np.ndarray, spacings: list[list[float]] | None = None) -> Path:
    """An enhanced MR: ``values`` (D, H, W), frames in reverse order, each with its place and scale."""
    groups = []
    for index, k in enumerate(reversed(range(len(values)))):
        group, position, axes, measures, scale = (Dataset() for _ in range(5))
        position.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * k]
        axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing = spacings[index] if spacings else [0.5, 0.8]
        measures.SliceThickness = 2.5
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 2, 5, "US"
        group.PlanePositionSequence = Sequence([position])
        group.PlaneOrientationSequence = Sequence([axes])
        group.PixelMeasuresSequence = Sequence([measures])
        group.PixelValueTransformationSequence = Sequence([scale])
        groups.append(group)
    stored = ((values[::-1] - 5) // 2).astype(np.uint16)
    return write_dicom(
        path,
        stored,
        NumberOfFrames=len(values),
        Modality="MR",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )
