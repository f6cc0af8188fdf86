"""Frames of DICOM files as real numbers, or as RGB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.volumes._guards import suspicion
from glocal.data.volumes.dicom_header import DicomHeader, Frame, dicom, quietly
from glocal.data.volumes.volume import Values
from glocal.errors import UserError, optional_import

__all__ = [
    "DicomSlices",
    "colours",
    "is_inverted",
    "modality_values",
    "pixel_notes",
    "real_dtype",
    "real_frame",
    "stored_frame",
]

_KEEPS_UNITS = frozenset({"CT", "PT", "NM"})
_LUTS = ("ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32)


def is_inverted(header: DicomHeader) -> bool:
    """Whether real numbers are inverted: MONOCHROME1, unless they are in a unit (Hounsfield, activity)."""
    return header.photometric == "MONOCHROME1" and header.modality not in _KEEPS_UNITS


def stored_frame(header: DicomHeader, index: int) -> tuple[Values, Any]:
    """Frame ``index`` as it is stored, colour as RGB, and a dataset with what is needed to go on from there.

    Raises:
        UserError: It is damaged or truncated.
    """
    pydicom = dicom()
    pixels = optional_import("pydicom.pixels", "dicom")
    dataset = pydicom.Dataset()
    tags = [pydicom.datadict.tag_for_keyword(name) for name in _LUTS]
    with suspicion(header.path, "DICOM"), quietly():
        array = np.asarray(pixels.pixel_array(header.path, index=index, ds_out=dataset, specific_tags=tags))
    if array.shape[:2] != (header.rows, header.columns) or array.shape[2:] != ((3,) if header.samples == 3 else ()):
        raise UserError(
            f"{header.path}: frame {index} has {array.shape[1]}x{array.shape[0]} pixels where the header says "
            f"{header.columns}x{header.rows}; restore the file from its source"
        )
    return array, dataset


def real_frame(header: DicomHeader, frame: Frame, dtype: np.dtype[Any]) -> Values:
    """A frame in real units, ``(H, W)`` of ``dtype``; or ``uint8`` RGB ``(H, W, 3)``.

    Raises:
        UserError: It is damaged or truncated.
    """
    array, dataset = stored_frame(header, frame.index)
    if header.is_colour:
        return colours(header, array, dataset)
    return modality_values(header, frame, inverted(header, array) if is_inverted(header) else array, dataset, dtype)


def colours(header: DicomHeader, array: Values, dataset: Any) -> Values:
    """``uint8`` RGB ``(H, W, 3)`` of a stored frame in colour."""
    pixels = optional_import("pydicom.pixels", "dicom")
    bits = header.bits
    if header.photometric == "PALETTE COLOR":
        with suspicion(header.path, "DICOM"), quietly():
            array = np.asarray(pixels.apply_color_lut(array, dataset))[..., :3]
        bits = 8 * array.dtype.itemsize  # its entries, of 16 bits as a rule, use their full range
    return np.asarray(array >> max(bits - 8, 0)).astype(np.uint8)


def modality_values(header: DicomHeader, frame: Frame, array: Values, dataset: Any, dtype: np.dtype[Any]) -> Values:
    """Stored grey in real units: the modality LUT, or slope and intercept."""
    if header.has_lut:
        pixels = optional_import("pydicom.pixels", "dicom")
        with suspicion(header.path, "DICOM"), quietly():
            return np.asarray(pixels.apply_modality_lut(array, dataset)).astype(dtype)
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return array.astype(dtype)
    return np.asarray(array.astype(np.float64) * frame.slope + frame.intercept).astype(dtype)


def inverted(header: DicomHeader, array: Values) -> Values:
    """Stored numbers with black and white exchanged, within the range of the bits stored."""
    if header.bits == 0:
        return np.asarray(array.max() + array.min() - array)
    low, high = stored_range(header)
    return np.asarray((low + high - array.astype(np.int64)).astype(array.dtype))


def stored_range(header: DicomHeader) -> tuple[int, int]:
    """Least and greatest number that the bits stored can hold."""
    half = 1 << (header.bits - 1)
    return (-half, half - 1) if header.signed else (0, 2 * half - 1)


def real_dtype(header: DicomHeader, frames: Sequence[Frame]) -> np.dtype[Any]:
    """The smallest integer type for the real numbers of ``frames`` where all are whole; otherwise ``float32``."""
    if header.is_colour:
        return np.dtype(np.uint8)
    scales = {(frame.slope, frame.intercept) for frame in frames}
    if header.bits == 0 or header.has_lut or any(number != round(number) for scale in scales for number in scale):
        return np.dtype(np.float32)
    ends = [end * slope + intercept for end in stored_range(header) for slope, intercept in scales]
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def pixel_notes(header: DicomHeader, frames: Sequence[Frame]) -> list[str]:
    """What is done to the stored numbers of ``frames``."""
    notes = []
    scales = {(frame.slope, frame.intercept) for frame in frames}
    if header.has_lut and not header.is_colour:
        notes.append("real units by the table (modality LUT) in its header")
    elif not header.is_colour and scales != {(1.0, 0.0)}:
        slope, intercept = frames[0].slope, frames[0].intercept
        one = f"{slope:g} x stored + {intercept:g}"
        notes.append(f"real units: {one}" if len(scales) == 1 else "real units: slope and intercept of each slice")
    if header.photometric == "MONOCHROME1":
        kept = f"white is zero (MONOCHROME1): not inverted, as numbers of {header.modality} are in a unit"
        notes.append("inverted, as the file says white is zero (MONOCHROME1)" if is_inverted(header) else kept)
    if header.photometric == "PALETTE COLOR":
        notes.append("palette applied")
    elif header.photometric.startswith("YBR"):
        notes.append(f"{header.photometric} converted to RGB")
    if header.samples == 3 and header.bits > 8:
        notes.append(f"{header.bits}-bit colour reduced to 8 bits")
    if header.lossy:
        notes.append("was compressed with loss")
    return notes


class DicomSlices:
    """Slices of a series or of one file, decoded when they are asked for."""

    def __init__(self, headers: Sequence[DicomHeader], frames: Sequence[Frame], dtype: np.dtype[Any]) -> None:
        self._headers: dict[Path, DicomHeader] = {header.path: header for header in headers}
        self._frames, self._dtype = tuple(frames), dtype

    def read(self, k: int) -> Values:
        """Slice ``k`` in real units."""
        frame = self._frames[k]
        return real_frame(self._headers[frame.path], frame, self._dtype)

    def slices(self) -> Iterator[Values]:
        """All slices, one at a time."""
        yield from (self.read(k) for k in range(len(self._frames)))
