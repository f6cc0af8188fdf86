"""Whatever holds a volume, opened by what is inside rather than by its name."""

from __future__ import annotations

import gzip
from pathlib import Path

from glocal.data.volumes._guards import suspicion
from glocal.data.volumes.arrays import IMAGE_KEYS, open_npy, open_npz
from glocal.data.volumes.dicom import open_dicom_file, open_series
from glocal.data.volumes.dicom_header import is_dicom
from glocal.data.volumes.hdf5 import open_hdf5
from glocal.data.volumes.itk import is_metaimage, is_nrrd, open_metaimage, open_nrrd
from glocal.data.volumes.nifti import GZIP_MAGIC, is_nifti, open_nifti
from glocal.data.volumes.tiff import TIFF_MAGIC, open_tiff
from glocal.data.volumes.volume import VolumeFile
from glocal.errors import UserError
from glocal.files import require_regular_file

__all__ = ["open_any", "open_volume", "volume_kind"]

_HEAD = 544
_MAGIC = {b"\x89HDF\r\n\x1a\n": "HDF5", b"\x93NUMPY": "NPY", b"PK\x03\x04": "NPZ"}


def open_volume(
    path: str | Path, *, series: str | None = None, key: str | None = None, require_geometry: bool = True
) -> VolumeFile:
    """Open a volume: its header is read and checked, its slices when they are asked for.

    Args:
        path: A NIfTI, MetaImage, NRRD, multi-page TIFF, NPY, NPZ, HDF5 or multi-frame DICOM file, told from its
            content; or a folder with a DICOM series.
        series: Of a folder with several DICOM series: the number in the list of :func:`list_series` (from 1), or the
            series' UID.
        key: Name of the array in an NPZ or HDF5 file that holds several.
        require_geometry: Refuse a file whose spacing or axes are impossible; otherwise they are left out and noted.

    Raises:
        UserError: The file is missing, damaged, truncated, no volume, of a kind that is not read; it has impossible
            geometry; several series or arrays are there and none is named; or the library for it is not installed.
    """
    return open_any(Path(path), series, key, require_geometry, IMAGE_KEYS)


def volume_kind(path: Path) -> str | None:
    """What a regular file is, by its content, if :func:`open_volume` opens it and Pillow does not."""
    try:
        head = _head(path)
    except UserError:
        return None  # a gzip of something else
    return _kind(path, head)


def _kind(path: Path, head: bytes) -> str | None:
    if is_nifti(head):
        return "NIfTI"
    if is_dicom(path, head):
        return "DICOM"
    if is_nrrd(head):
        return "NRRD"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "MetaImage" if is_metaimage(path, head) else None


def open_any(
    path: Path, series: str | None, key: str | None, require_geometry: bool, prefer: tuple[str, ...]
) -> VolumeFile:
    """As :func:`open_volume`; of several arrays in a file, the first of the names ``prefer`` is taken by itself.

    Raises:
        UserError: As :func:`open_volume`.
    """
    if path.is_dir():
        return open_series(path, series, require_geometry)
    if series is not None:
        raise UserError(f"{path}: a series is chosen in a folder, and this is a file; leave --series out")
    path = require_regular_file(path)
    head = _head(path)
    match _kind(path, head):
        case "NIfTI":
            return open_nifti(path, require_geometry)
        case "DICOM":
            return open_dicom_file(path, require_geometry)
        case "NRRD":
            return open_nrrd(path, require_geometry)
        case "MetaImage":
            return open_metaimage(path, require_geometry)
        case "HDF5":
            return open_hdf5(path, key, prefer)
        case "NPY":
            return open_npy(path)
        case "NPZ":
            return open_npz(path, key, prefer)
    if head.startswith(TIFF_MAGIC):
        return open_tiff(path)
    raise UserError(
        f"{path}: the content is not a volume of a known kind (NIfTI, MetaImage, NRRD, DICOM, TIFF, NPY, NPZ, HDF5); "
        "convert the file or remove it"
    )


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    with suspicion(path, "image"):
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if head.startswith(GZIP_MAGIC):
            with gzip.open(path, "rb") as unpacked:
                head = unpacked.read(_HEAD)
    return head
