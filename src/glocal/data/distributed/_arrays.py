"""Two arrays out of an NPZ or HDF5 file, without running anything that is in it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from glocal.data.distributed.distribution import Array
from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

__all__ = ["NpyHeader", "npy_header", "read_arrays", "rows_of"]

LIMIT = 2**33
"""Bytes of the largest array that is read into memory."""

NpyHeader = tuple[tuple[int, ...], "np.dtype[np.generic]"]


def read_arrays(path: Path, *names: Sequence[str]) -> tuple[Array, ...]:
    """One array for each of ``names``, which lists what it may be called; floating point in ``float32`` or ``float64``.

    Raises:
        UserError: The file is damaged, an array is missing, holds pickled objects or lies in another file (HDF5 link).
    """
    path = require_regular_file(path)
    try:
        if path.suffix.lower() == ".npz":
            return tuple(_of_npz(path, among) for among in names)
        return _of_hdf5(path, names)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged or truncated; copy it again from its source") from None


def _of_npz(path: Path, among: Sequence[str]) -> Array:
    with zipfile.ZipFile(path) as archive:
        name = _present(path, among, [member.removesuffix(".npy") for member in archive.namelist()])
        with archive.open(f"{name}.npy") as stream:
            shape, dtype = npy_header(path, stream)
            blocks = list(rows_of(path, stream, (1, *shape), dtype))
    return blocks[0]


def npy_header(path: Path, stream: IO[bytes]) -> NpyHeader:
    """Shape and type of an array in NumPy's format, whose rows follow in ``stream``.

    Raises:
        UserError: It holds pickled objects, is stored by columns, or is absurdly large.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.hasobject:
        raise UserError(f"{path}: holds pickled objects, which could run code; save plain arrays")
    if by_columns and len(shape) > 1:
        raise UserError(f"{path}: an array stored by columns; save it again with numpy.ascontiguousarray")
    return tuple(shape), dtype


def rows_of(path: Path, stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Iterator[Array]:
    """The rows of an array along its first axis, one at a time.

    Raises:
        UserError: A row is too large, or the file ends too early.
    """
    size = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    if size > LIMIT:
        raise UserError(f"{path}: an array of {size / 2**30:.0f} GiB (damaged or hostile header); restore the file")
    for _ in range(shape[0]):
        data = bytearray()
        while len(data) < size and (more := stream.read(min(2**20, size - len(data)))):
            data += more
        if len(data) < size:
            raise UserError(f"{path}: truncated; copy it again from its source")
        yield np.frombuffer(bytes(data), dtype).reshape(shape[1:])


def _of_hdf5(path: Path, names: Sequence[Sequence[str]]) -> tuple[Array, ...]:
    h5py = optional_import("h5py", "volumes")
    found = []
    with h5py.File(path, "r") as file:
        for among in names:
            name = _present(path, among, list(file))
            link = file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{path}: {name!r} is a link to something else; store the array itself")
            array = file[name]
            if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
                raise UserError(f"{path}: {name!r} is not an array in this file; store the array itself")
            if array.dtype.kind not in "iufb" or array.size * array.dtype.itemsize > LIMIT:
                raise UserError(f"{path}: {name!r} is no array of numbers of a usable size; restore the file")
            found.append(np.asarray(array[()]))
    return tuple(found)


def _present(path: Path, among: Sequence[str], there: Sequence[str]) -> str:
    for name in among:
        if name in there:
            return name
    listed = ", ".join(there[:5]) or "nothing"
    raise UserError(f"{path}: no array {' or '.join(map(repr, among))} (it holds {listed}); is it the right file?")
