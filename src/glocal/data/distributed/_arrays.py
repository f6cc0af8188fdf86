"""Arrays in the files of those who distribute them, by the names they give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glocal.data.volumes import VolumeFile
from glocal.data.volumes.arrays import open_npz
from glocal.data.volumes.hdf5 import open_hdf5
from glocal.errors import UserError
from glocal.files import require_regular_file

__all__ = ["open_array"]

LIMIT = 2**32
"""Bytes of the largest array."""


def open_array(path: Path, names: Sequence[str]) -> VolumeFile:
    """Open the array of an NPZ or HDF5 file that has one of ``names``.

    Raises:
        UserError: There is none, it is absurdly large, or as :func:`~glocal.data.volumes.open_volume`.
    """
    path = require_regular_file(path)
    file = open_npz(path, names) if path.suffix.lower() == ".npz" else open_hdf5(path, names)
    if file.nbytes > LIMIT:
        raise UserError(f"{path}: an array of {file.nbytes / 2**30:.0f} GiB (damaged or hostile); restore the file")
    return file
