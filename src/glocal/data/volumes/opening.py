"""Whatever holds a volume, opened by what is inside rather than by its name."""

from __future__ import annotations

import gzip
from pathlib import Path

from glocal.data.volumes._guards import suspicion
from glocal.data.volumes.nifti import GZIP_MAGIC, is_nifti, open_nifti
from glocal.data.volumes.volume import VolumeFile
from glocal.errors import UserError
from glocal.files import require_regular_file

__all__ = ["open_volume"]

_HEAD = 544


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
    path = require_regular_file(path)
    with suspicion(path, "image"):
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        inside = head
        if head.startswith(GZIP_MAGIC):
            with gzip.open(path, "rb") as unpacked:
                inside = unpacked.read(_HEAD)
    if is_nifti(inside):
        return open_nifti(path, require_geometry)
    raise UserError(
        f"{path}: the content is not a volume of a known kind (NIfTI, MetaImage, NRRD, DICOM, TIFF, NPY, NPZ, HDF5); "
        "convert the file or remove it"
    )
