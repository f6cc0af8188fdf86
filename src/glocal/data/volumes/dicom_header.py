"""What the header of a DICOM image says, without anything that identifies a patient."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from glocal.data.volumes._guards import require_plane, require_size, suspicion
from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

__all__ = [
    "DICOM_SUFFIXES",
    "DicomHeader",
    "Frame",
    "NoImageError",
    "Window",
    "begins_one_series",
    "dicom",
    "is_dicom",
    "quietly",
    "read_header",
]

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
"""Endings, in lower case, of files that are taken for DICOM also without its 128-byte preamble."""

Triple: TypeAlias = tuple[float, float, float]

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_FIRST_GROUPS = (b"\x08\0", b"\0\x08", b"\x02\0")
_FEWEST_BYTES_A_FRAME = 8  # the item header of a compressed frame
_TAGS = (
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "InstanceNumber"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SpacingBetweenSlices"),
    *("SliceThickness", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "LossyImageCompression"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "SequenceOfUltrasoundRegions"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PresentationLUTShape"),
)
"""All that is read of a header: no tag of the patient, the study, the institution or a date is among them."""
_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
)

_LOCK = threading.RLock()  # warnings and levels of loggers are global: one thread at a time


class NoImageError(UserError):
    """A DICOM object without pixels: a report, an encapsulated PDF, a plan."""


@dataclass(frozen=True)
class Window:
    """Which real numbers are shown from black to white (VOI): PS3.3 C.11.2.1.2."""

    center: float
    width: float
    function: str
    """``"LINEAR"``, ``"LINEAR_EXACT"`` or ``"SIGMOID"``."""
    of: int
    """How many the file offers; the first is used."""


@dataclass(frozen=True)
class Frame:
    """Where one frame lies, and how its numbers become real ones."""

    path: Path
    index: int
    """Frame of the file, from 0."""
    instance: int
    """Its instance number (of a file), or its index."""
    position: Triple | None
    """Centre of the first pixel, towards Left, Posterior, Superior, in mm."""
    axes: tuple[Triple, Triple] | None
    """Directions along a row and down a column, LPS."""
    spacing: tuple[float, float] | None
    """Distance of pixels along (y, x) in mm."""
    thickness: float | None
    slope: float = 1.0
    intercept: float = 0.0
    window: Window | None = None


@dataclass(frozen=True)
class DicomHeader:
    """One DICOM file: its pixels and its frames."""

    path: Path
    modality: str | None
    rows: int
    columns: int
    samples: int
    photometric: str
    bits: int
    """Bits stored a sample; 0 of floating point."""
    signed: bool
    lossy: bool
    has_lut: bool
    """A table (modality LUT) gives the real numbers."""
    syntax: str
    """UID of the transfer syntax."""
    frames: tuple[Frame, ...]
    spacing_is_of_detector: bool
    """The spacing is that on the detector of a radiograph, not in the patient."""
    series_uid: str = field(repr=False)
    series_number: int
    description: str = field(repr=False)

    @property
    def is_colour(self) -> bool:
        """Its pixels become RGB."""
        return self.samples == 3 or self.photometric == "PALETTE COLOR"


def dicom() -> Any:
    """The pydicom package.

    Raises:
        UserError: It is not installed.
    """
    return optional_import("pydicom", "dicom")


def is_dicom(path: Path, head: bytes) -> bool:
    """Whether a file is DICOM: by the mark after its preamble; or by its first tag and name where it has none."""
    return head[128:132] == b"DICM" or (head[:2] in _FIRST_GROUPS and path.suffix.lower() in DICOM_SUFFIXES)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's warnings and log, which quote the values of tags, from the screen and from logs."""
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def read_header(path: Path) -> DicomHeader:
    """Read and check the header of a DICOM image.

    Raises:
        UserError: pydicom is not installed; the file is damaged, truncated, no DICOM; it holds no image (a report, an
            encapsulated PDF, …) or a video; its header promises more pixels than can be there.
    """
    pydicom = dicom()
    path = require_regular_file(path)
    with path.open("rb") as stream:
        head = stream.read(1024)
    if _DEFLATED in head:
        raise UserError(
            f"{path}: its transfer syntax is Deflated Explicit VR Little Endian, which is not read; "
            "save it uncompressed, such as with 'dcmconv +te' of DCMTK"
        )
    with suspicion(path, "DICOM"), quietly():
        tags = list(_TAGS)
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=head[128:132] != b"DICM")
        if str(dataset.get("SOPClassUID", "")) == _SEGMENTATION:
            raise NoImageError(
                f"{path}: a DICOM segmentation holds labels and no image; name the images it was made for, "
                "or save it as NIfTI to use it as a mask"
            )
        if "Rows" not in dataset or "Columns" not in dataset:
            raise _no_image(path, dataset)
        header = _header(path, dataset)
        _require_pixels(header)
    return header


def begins_one_series(folder: Path) -> bool:
    """Whether the first two DICOM files of a folder, by name, are of one series; false where that cannot be told."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in DICOM_SUFFIXES and path.is_file())[:2]
    try:
        series = [read_header(path).series_uid for path in files]
    except UserError:  # reading the data set says what is wrong
        return False
    return len(series) == 2 and series[0] == series[1] != ""


def _no_image(path: Path, dataset: Any) -> UserError:
    """What to say of a DICOM object without pixels: its class by name."""
    uid = dataset.get("SOPClassUID")
    if uid is None:
        return UserError(f"{path}: the content is not a DICOM image; convert the file or remove it")
    name = uid.name if uid.name != str(uid) else "a private class"
    if "Image" in name:
        return UserError(f"{path}: its header is damaged or truncated: it gives no size; copy it again from its source")
    return NoImageError(
        f"{path}: this DICOM object holds no image ({name}); name the images themselves, or remove it from the folder"
    )


def _header(path: Path, dataset: Any) -> DicomHeader:
    meta = getattr(dataset, "file_meta", {})
    count = int(dataset.get("NumberOfFrames") or 1)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    require_plane(path, rows, columns)
    require_size(path, count * _FEWEST_BYTES_A_FRAME, max(path.stat().st_size, _FEWEST_BYTES_A_FRAME))
    allocated = int(dataset.get("BitsAllocated") or 0)
    is_float = "BitsStored" not in dataset and allocated in (32, 64)
    spacing, of_detector = _spacing(dataset)
    return DicomHeader(
        path=path,
        modality=str(dataset.get("Modality") or "") or None,
        rows=rows,
        columns=columns,
        samples=int(dataset.get("SamplesPerPixel", 1)),
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        bits=0 if is_float else (int(dataset.get("BitsStored") or allocated) or 16),
        signed=bool(dataset.get("PixelRepresentation", 0)),
        lossy=str(dataset.get("LossyImageCompression") or "") == "01",
        has_lut="ModalityLUTSequence" in dataset,
        syntax=str(meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2"),
        frames=_frames(path, dataset, count, spacing),
        spacing_is_of_detector=of_detector,
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        series_number=int(dataset.get("SeriesNumber") or 0),
        description=str(dataset.get("SeriesDescription") or ""),
    )


def _require_pixels(header: DicomHeader) -> None:
    pydicom = dicom()
    if header.samples not in (1, 3) or not 0 <= header.bits <= 64:
        raise UserError(
            f"{header.path}: pixels of {header.samples} samples of {header.bits} bits are not read; "
            "save it as grey or RGB"
        )
    if any(not np.isfinite([frame.slope, frame.intercept]).all() or frame.slope == 0 for frame in header.frames):
        raise UserError(f"{header.path}: its rescale slope or intercept is 0 or not finite; restore it from its source")
    syntax = pydicom.uid.UID(header.syntax)
    name = syntax.name if syntax.name != header.syntax else "private"
    if not syntax.is_transfer_syntax or syntax.is_private or "MPEG" in name or "HEVC" in name:
        raise UserError(
            f"{header.path}: its transfer syntax ({name}) is not read; "
            "export the frames as uncompressed DICOM, or as pictures"
        )
    if not syntax.is_compressed:
        bits = header.bits if header.bits == 1 else -(-max(header.bits, 8) // 8) * 8
        size = len(header.frames) * header.rows * header.columns * header.samples
        if header.photometric == "YBR_FULL_422":
            size = size * 2 // 3
        require_size(header.path, size * bits // 8, header.path.stat().st_size)
        return
    _require_decoder(header.path, header.syntax, name)


def _require_decoder(path: Path, syntax: str, name: str) -> None:
    pixels = optional_import("pydicom.pixels", "dicom")
    try:
        decoder = pixels.get_decoder(syntax)
    except NotImplementedError:
        raise UserError(f"{path}: its transfer syntax ({name}) is not read; save it uncompressed") from None
    if not decoder.is_available:
        needed = sorted(line.partition(" - requires ")[2] for line in decoder.missing_dependencies)
        raise UserError(
            f"{path}: compressed as {name}, for which a plug-in of pydicom is missing; "
            f"install {' or '.join(part for part in reversed(needed) if part)}, or save the file uncompressed"
        )


def _frames(path: Path, dataset: Any, count: int, spacing: tuple[float, float] | None) -> tuple[Frame, ...]:
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    if each is None and shared is None:
        one = _frame(path, 0, int(dataset.get("InstanceNumber") or 0), dict.fromkeys(_GROUPS, dataset), spacing)
        if count == 1:
            return (one,)
        placeless = replace(one, position=None, axes=None)
        return tuple(replace(placeless, index=index, instance=index) for index in range(count))
    if each is not None and len(each) != count:
        raise UserError(f"{path}: {count} frames are promised and {len(each)} described; restore it from its source")
    frames = []
    for index in range(count):
        group = each[index] if each is not None else shared
        parts = {name: _first(group, name) or _first(shared, name) or {} for name in _GROUPS}
        frames.append(_frame(path, index, index, parts, spacing))
    return tuple(frames)


def _first(dataset: Any, name: str) -> Any:
    sequence = dataset.get(name) if dataset is not None else None
    return sequence[0] if sequence else None


def _frame(path: Path, index: int, instance: int, parts: dict[str, Any], spacing: tuple[float, float] | None) -> Frame:
    """A frame from the parts of its description, which for a classic file are all the header itself."""
    position, axes, measures, values, voi = (parts[name] for name in _GROUPS)
    place = _numbers(position.get("ImagePositionPatient"), 3)
    along = _numbers(axes.get("ImageOrientationPatient"), 6)
    own = _numbers(measures.get("PixelSpacing"), 2)
    thick = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    slope, intercept = values.get("RescaleSlope"), values.get("RescaleIntercept")
    return Frame(
        path,
        index,
        instance,
        (place[0], place[1], place[2]) if place else None,
        ((along[0], along[1], along[2]), (along[3], along[4], along[5])) if along else None,
        (own[0], own[1]) if own else spacing,
        abs(float(thick)) if thick else None,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        _window(voi),
    )


def _window(voi: Any) -> Window | None:
    centers, widths = (_listed(voi.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(voi.get("VOILUTFunction") or "LINEAR").upper()
    if not centers or not widths or not np.isfinite([centers[0], widths[0]]).all():
        return None
    if widths[0] < (1 if function == "LINEAR" else 0) or widths[0] == 0:
        return None
    return Window(centers[0], widths[0], function, min(len(centers), len(widths)))


def _listed(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    return [float(value)] if isinstance(value, int | float | str) else [float(number) for number in value]


def _numbers(value: Any, count: int) -> list[float] | None:
    if value is None or len(value) != count:
        return None
    return [float(number) for number in value]


def _spacing(dataset: Any) -> tuple[tuple[float, float] | None, bool]:
    """Spacing (y, x) of the pixels in mm, and whether it is that on a detector."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if pair := _numbers(dataset.get(name), 2):
            return _possible((pair[0], pair[1])), name == "ImagerPixelSpacing"
    return _of_ultrasound(dataset), False


def _possible(pair: tuple[float, float]) -> tuple[float, float] | None:
    return pair if all(np.isfinite(length) and length > 0 for length in pair) else None


def _of_ultrasound(dataset: Any) -> tuple[float, float] | None:
    """Spacing of the 2-D regions of an ultrasound image, if all agree: PS3.3 C.8.5.5, in cm."""
    found: set[tuple[float, float]] = set()
    for region in dataset.get("SequenceOfUltrasoundRegions") or ():
        is_tissue = int(region.get("RegionSpatialFormat") or 0) == 1
        in_cm = int(region.get("PhysicalUnitsXDirection") or 0) == int(region.get("PhysicalUnitsYDirection") or 0) == 3
        if is_tissue and in_cm:
            y, x = region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")
            if y is not None and x is not None:
                found.add((round(abs(float(y)) * 10, 9), round(abs(float(x)) * 10, 9)))
    return _possible(found.pop()) if len(found) == 1 else None
