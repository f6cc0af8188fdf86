"""DICOM: a folder with one series or several, a file with one frame or many."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data.volumes.dicom_geometry import stack
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES, DicomHeader, NoImageError, dicom, is_dicom, read_header
from glocal.data.volumes.dicom_pixels import DicomSlices, pixel_notes, real_dtype
from glocal.data.volumes.volume import VolumeFile
from glocal.errors import UserError, counted

__all__ = ["SeriesInfo", "list_series", "open_dicom_file", "open_series"]

_DEEPEST = 6


@dataclass(frozen=True)
class SeriesInfo:
    """A DICOM series in a folder. Its UID and description are in no message and no ``repr``."""

    number: int
    """Place in the list, from 1: what ``series=`` of ``open_volume`` takes."""
    modality: str | None
    files: tuple[Path, ...] = field(repr=False)
    size: tuple[int, int]
    """Rows and columns of the first image."""
    uid: str = field(repr=False)
    description: str = field(repr=False)

    def __str__(self) -> str:
        rows, columns = self.size
        return f"{self.number}: {self.modality or 'unknown'}, {counted(len(self.files), 'file')} of {columns}x{rows}"


@dataclass
class _Found:
    headers: list[DicomHeader] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def list_series(folder: str | Path) -> list[SeriesInfo]:
    """The DICOM series with images in ``folder`` and below, by series number, then UID.

    Files that are no DICOM, and DICOM objects without an image, are left out.

    Raises:
        UserError: pydicom is not installed; the folder is missing or cannot be listed.
    """
    return [info for info, _ in _grouped(_found(Path(folder)).headers)]


def open_series(folder: Path, series: str | None = None, require_geometry: bool = True) -> VolumeFile:
    """Open a series in ``folder``: every header is read, sorted by position and checked.

    Raises:
        UserError: As :func:`~glocal.data.volumes.open_volume`.
    """
    found = _found(folder)
    groups = _grouped(found.headers)
    if not groups:
        raise UserError(f"{folder}: no DICOM images are in this folder; name the folder of a series")
    headers = _chosen(folder, groups, series)
    notes = [f"left out: {counted(count, 'file')} {what}" for what, count in sorted(found.others.items())]
    if len(groups) > 1:
        notes.append(f"one of {len(groups)} series")
    if len(headers) == 1 and len(headers[0].frames) > 1:
        return _opened(headers[0].path, "DICOM multi-frame", headers, notes, require_geometry)
    return _opened(folder, "DICOM series", headers, notes, require_geometry)


def open_dicom_file(path: Path, require_geometry: bool = True) -> VolumeFile:
    """Open one DICOM file: its frames are the slices.

    Raises:
        UserError: As :func:`~glocal.data.volumes.open_volume`.
    """
    header = read_header(path)
    kind = "DICOM" if len(header.frames) == 1 else "DICOM multi-frame"
    return _opened(path, kind, [header], [], require_geometry)


def _opened(
    path: Path, kind: str, headers: Sequence[DicomHeader], notes: list[str], require_geometry: bool
) -> VolumeFile:
    first = headers[0]
    for header in headers:
        _require_alike(path, first, header)
    arranged = stack(path, [frame for header in headers for frame in header.frames], require_geometry)
    frames = arranged.frames
    dtype = real_dtype(first, frames)
    notes += pixel_notes(first, frames)
    if not arranged.has_geometry and len(frames) > 1:
        notes.append("no positions: slices in the order of their numbers, and their distance is unknown")
    spacing = frames[0].spacing
    if first.spacing_is_of_detector and spacing:
        notes.append("pixel spacing is that on the detector")
    return VolumeFile(
        path=path,
        kind=kind,
        files=tuple(dict.fromkeys(frame.path for frame in frames)),
        shape=(len(frames), first.rows, first.columns),
        channels=3 if first.is_colour else 1,
        dtype=dtype,
        affine=arranged.affine,
        has_geometry=arranged.has_geometry,
        source=DicomSlices(headers, frames, dtype),
        modality=first.modality,
        notes=(*notes, *arranged.notes),
        pixel_spacing=None if arranged.has_geometry else spacing,
    )


def _require_alike(path: Path, first: DicomHeader, other: DicomHeader) -> None:
    if (first.rows, first.columns) != (other.rows, other.columns):
        raise UserError(
            f"{path}: slices differ in size: {first.path.name} has {first.columns}x{first.rows} pixels and "
            f"{other.path.name} {other.columns}x{other.rows}; keep slices of one size in a folder of their own"
        )
    if _kind(first) != _kind(other):
        raise UserError(
            f"{path}: {first.path.name} and {other.path.name} hold pixels of different kinds (bits, sign or colour); "
            "keep slices of one kind in a folder of their own"
        )


def _kind(header: DicomHeader) -> tuple[object, ...]:
    return header.is_colour, header.photometric == "MONOCHROME1", header.signed, header.bits, header.has_lut


def _found(folder: Path) -> _Found:
    """Headers of all DICOM images below ``folder``, and what else is there."""
    dicom()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; check the path")
    found = _Found()
    for path in _files(folder):
        if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
            continue
        try:
            with path.open("rb") as stream:
                known = is_dicom(path, stream.read(132)) or path.suffix.lower() in DICOM_SUFFIXES
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable or remove it") from None
        if not known:
            found.others["of other kinds than DICOM"] += 1
            continue
        try:
            found.headers.append(read_header(path))
        except NoImageError:
            found.others["of DICOM without an image"] += 1
    return found


def _files(folder: Path) -> list[Path]:
    files = []
    for at, folders, names in os.walk(folder):
        here = Path(at)
        if len(here.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        folders.sort()
        files += [here / name for name in sorted(names) if (here / name).is_file()]
    return files


def _grouped(headers: Sequence[DicomHeader]) -> list[tuple[SeriesInfo, list[DicomHeader]]]:
    groups: dict[str, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        groups[header.series_uid].append(header)
    ordered = sorted(groups.values(), key=lambda group: (group[0].series_number, group[0].series_uid))
    return [
        (
            SeriesInfo(
                number,
                group[0].modality,
                tuple(header.path for header in group),
                (group[0].rows, group[0].columns),
                group[0].series_uid,
                group[0].description,
            ),
            group,
        )
        for number, group in enumerate(ordered, 1)
    ]


def _chosen(
    folder: Path, groups: Sequence[tuple[SeriesInfo, list[DicomHeader]]], series: str | None
) -> list[DicomHeader]:
    if series is None and len(groups) == 1:
        return groups[0][1]
    listed = "; ".join(str(info) for info, _ in groups)
    if series is None:
        raise UserError(f"{folder}: holds {len(groups)} series; choose one by its number (--series): {listed}")
    for info, headers in groups:
        if series in (str(info.number), info.uid):
            return headers
    raise UserError(f"{folder}: there is no series {series!r}; choose one by its number (--series): {listed}")
