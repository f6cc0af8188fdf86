"""Masks as DICOM Segmentation objects (PS3.3 A.51) that refer to the images they were made from."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glocal import __version__
from glocal.data.volumes import VolumeFile
from glocal.data.volumes.dicom_header import quietly
from glocal.errors import UserError, optional_import
from glocal.files import atomic
from glocal.inference.volumes.segments import Concept, Segment

__all__ = ["require_segmentable", "write_seg"]

KINDS = ("DICOM series", "DICOM", "DICOM multi-frame")
"""Kinds of volumes that a segmentation object can refer to."""

_IDENTIFYING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""Tags that a segmentation must have, and that may be empty (type 2)."""
_NEEDED = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "ImageType", "Modality", "SamplesPerPixel"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"),
    *("DimensionOrganizationSequence", "InstanceNumber"),
)
_SERIES_NUMBER = 100
_SEXES = ("M", "F", "O")


def require_segmentable(file: VolumeFile) -> None:
    """Refuse what a segmentation object cannot refer to.

    Raises:
        UserError: ``file`` is no DICOM, or a cine whose frames have no place in space.
    """
    if file.kind not in KINDS:
        raise UserError(
            f"{file.path}: a DICOM segmentation refers to DICOM images, and this is {file.kind}; use --format nifti"
        )
    if file.kind == "DICOM multi-frame" and not file.has_geometry:
        raise UserError(
            f"{file.path}: its frames have no place in space, which a DICOM segmentation needs; use --format nifti"
        )


def write_seg(
    mask: npt.NDArray[np.uint8],
    file: VolumeFile,
    segments: Sequence[Segment],
    path: str | Path,
    *,
    network: str,
    keep_identifiers: bool = False,
) -> tuple[str, ...]:
    """Write a mask as binary DICOM segmentation, one segment a class.

    It refers to every source image by its instance UID and shares their study and frame of reference. Name, number,
    birth date and sex of the patient, and date, number and physician of the study, which the standard lets be empty,
    stay empty unless ``keep_identifiers`` is set or the source says that its identity was removed; no other tag of
    the patient, the study, the device or the hospital is copied in either case.

    Args:
        mask: ``(D, H, W)`` class indices on the stored axes of ``file``.
        file: What was segmented: a DICOM series or file.
        segments: Of :func:`~glocal.inference.volumes.segments.segments_of`: class 1, 2, ….
        path: Of the file, which appears whole or not at all.
        network: Name of the network, for the algorithm identification.
        keep_identifiers: Copy what names the patient and the study; an archive files the object by it.

    Returns:
        What was done, one phrase each.

    Raises:
        UserError: ``file`` is not what a segmentation can refer to, its files lack what it needs (such as a study
            UID), highdicom is not installed, or the file cannot be written.
    """
    require_segmentable(file)
    highdicom = optional_import("highdicom", "dicom")
    with _quietly():
        sources = [_source(path) for path in file.files]
        removed = all(str(one.get("PatientIdentityRemoved") or "") == "YES" for one in sources)
        for source in sources:
            _fill(source, keep_identifiers or removed, removed)
        ordered = mask[_order(sources[0], file)] if file.kind == "DICOM multi-frame" else mask
        try:
            made = _object(highdicom, sources, ordered, segments, network)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{file.path}: no DICOM segmentation can be made of these images ({reason}); use --format nifti"
            ) from error
        with atomic(path) as temporary:
            made.save_as(temporary)
    if keep_identifiers:
        return ("patient and study named in the segmentation as in its source",)
    if removed:
        return ("source says its identity was removed: its patient and study fields copied",)
    return ("patient and study fields left empty (--keep_identifiers copies them, as an archive may need)",)


def _source(path: Path) -> Any:
    pydicom = optional_import("pydicom", "dicom")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_IDENTIFYING, *_NEEDED], force=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read any more ({' '.join(str(error).split())})") from None


def _fill(source: Any, keep: bool, removed: bool) -> None:
    """Give a source the tags that a segmentation takes over, in Unicode."""
    if not removed:
        for name in ("PatientIdentityRemoved", "DeidentificationMethod"):
            source.pop(name, None)
    for name in _IDENTIFYING:
        value = str(source.get(name) or "") if keep else ""
        if name == "PatientSex" and value not in _SEXES:
            value = ""
        setattr(source, name, value)
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not source.get(name):
            raise UserError(
                f"{source.filename}: has no {name}, by which a segmentation refers to it; use --format nifti"
            )


def _order(source: Any, file: VolumeFile) -> list[int]:
    """Of each frame of a multi-frame file, the slice of the volume that it became."""
    steps = np.diag([-1.0, -1.0, 1.0]) @ file.affine[:3, 2:]  # slice to slice, and the first slice, in LPS
    along, first = steps[:, 0], steps[:, 1]
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in source.PerFrameFunctionalGroupsSequence]
    offsets = np.array([[float(n) for n in place] for place in places]) - first
    order = [round(float(offset @ along / (along @ along))) for offset in offsets]
    assert sorted(order) == list(range(len(file))), f"{file.path}: frames do not lie on the slices of the volume"
    return order


def _object(
    highdicom: Any,
    sources: Sequence[Any],
    mask: npt.NDArray[np.uint8],
    segments: Sequence[Segment],
    network: str,
) -> Any:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"glocal {network}"[:64],
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=__version__,
        source="glocal",
    )
    return highdicom.seg.Segmentation(
        source_images=list(sources),
        pixel_array=np.ascontiguousarray(mask),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(highdicom, k, one, algorithm) for k, one in enumerate(segments, 1)],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="glocal",
        manufacturer_model_name=network[:64],
        software_versions=__version__,
        device_serial_number="0",
        series_description=f"Segmentation by glocal {network}"[:64],
        content_description="Segmentation by a neural network",
        specific_character_set="ISO_IR 192",
    )


def _described(highdicom: Any, number: int, segment: Segment, algorithm: Any) -> Any:
    def code(concept: Concept) -> Any:
        return highdicom.sr.CodedConcept(concept.value, concept.scheme, concept.meaning)

    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label[:64],
        segmented_property_category=code(segment.category),
        segmented_property_type=code(segment.type),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=f"glocal {segment.label}"[:64],
    )
    if segment.side is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code(segment.side)]
    return described


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What these libraries log quotes tags."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with quietly():
            yield
    finally:
        logger.setLevel(level)
