"""A frame of a DICOM file as a picture: what a viewer shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glocal.data.volumes._guards import suspicion
from glocal.data.volumes.dicom_header import DicomHeader, Window, quietly, read_header
from glocal.data.volumes.dicom_pixels import colours, modality_values, pixel_notes, stored_frame
from glocal.data.volumes.volume import Values
from glocal.errors import UserError, optional_import

__all__ = ["DicomPicture", "dicom_picture", "shown"]

Unit = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DicomPicture:
    """A frame as it is shown."""

    pixels: Values
    """``uint8`` or ``uint16`` over its full range: ``(H, W)``, or ``(H, W, 3)`` of RGB."""
    notes: tuple[str, ...]
    frames: int
    spacing: tuple[float, float] | None
    """Distance of pixels along (y, x) in mm."""


def dicom_picture(path: Path, page: int = 0) -> DicomPicture:
    """Frame ``page`` of a DICOM file as a viewer shows it.

    Real units (rescale slope and intercept), then the file's VOI table or first window; without either, 8 bits stay
    as they are and the range of other frames is stretched. MONOCHROME1 is inverted. Colour becomes 8-bit RGB.

    Args:
        path: The file.
        page: Its frame, from 0.

    Raises:
        UserError: As :func:`~glocal.data.volumes.open_volume`; or there is no such frame.
    """
    header = read_header(path)
    count = len(header.frames)
    if not 0 <= page < count:
        raise UserError(f"{path}: there is no frame {page}; the file has {count}, counted from 0")
    frame = header.frames[page]
    notes = [f"frame {page + 1} of {count}"] if count > 1 else []
    notes += [note for note in pixel_notes(header, [frame]) if "MONOCHROME1" not in note]
    if header.spacing_is_of_detector and frame.spacing:
        notes.append("pixel spacing is that on the detector")
    array, dataset = stored_frame(header, page)
    if header.is_colour:
        pixels = colours(header, array, dataset)
    else:
        real = modality_values(header, frame, array, dataset, np.dtype(np.float64))
        if not bool(np.isfinite(real).all()):
            raise UserError(f"{path}: frame {page} holds NaN or infinite numbers; replace them, or remove the file")
        pixels = _grey(header, real, frame.window, dataset, notes)
    return DicomPicture(pixels, tuple(notes), count, frame.spacing)


def _grey(header: DicomHeader, real: Unit, window: Window | None, dataset: Any, notes: list[str]) -> Values:
    unit = _by_table(header, real, dataset, notes)
    if unit is None and window is not None:
        unit = shown(real, window)
        which = f" (first of {window.of})" if window.of > 1 else ""
        notes.append(f"window of the file applied: centre {window.center:g}, width {window.width:g}{which}")
    if unit is None:
        unit = _stretched(header, real, notes)
    if header.photometric == "MONOCHROME1":
        notes.append("inverted, as the file says white is zero (MONOCHROME1)")
        unit = 1 - unit
    if 0 < header.bits <= 8:
        return np.rint(unit * 255).astype(np.uint8)
    return np.rint(unit * 65535).astype(np.uint16)


def _by_table(header: DicomHeader, real: Unit, dataset: Any, notes: list[str]) -> Unit | None:
    tables = dataset.get("VOILUTSequence")
    if not tables:
        return None
    pixels = optional_import("pydicom.pixels", "dicom")
    with suspicion(header.path, "DICOM"), quietly():
        bits = int(tables[0].LUTDescriptor[2])
        looked_up = np.asarray(pixels.apply_voi(np.rint(real).astype(np.int64), dataset), np.float64)
    notes.append("table of the file applied (VOI LUT)")
    return np.asarray(np.clip(looked_up / (2**bits - 1), 0, 1))


def shown(real: Unit, window: Window) -> Unit:
    """Real numbers as shades from 0 (black) to 1 (white), by the functions of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (real - center) / width, -700, 700))))
    if window.function == "LINEAR_EXACT":
        return np.asarray(np.clip((real - center) / width + 0.5, 0, 1))
    if width <= 1:
        return np.asarray((real > center - 0.5).astype(np.float64))
    return np.asarray(np.clip((real - (center - 0.5)) / (width - 1) + 0.5, 0, 1))


def _stretched(header: DicomHeader, real: Unit, notes: list[str]) -> Unit:
    """8 bits and fewer over the range of the bits; others from the least to the greatest number of the frame."""
    if 0 < header.bits <= 8 and not header.signed and not header.has_lut and float(real.min()) >= 0:
        top = 2**header.bits - 1
        if float(real.max()) <= top:
            return np.asarray(real / top)
    low, high = float(real.min()), float(real.max())
    notes.append(f"no window in the file: {low:g} to {high:g} of this frame stretched")
    return np.asarray((real - low) / (high - low) if high > low else np.zeros_like(real))
