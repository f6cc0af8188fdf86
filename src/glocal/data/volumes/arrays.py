"""NumPy's own files, .npy and .npz, without the pickled objects they can hide."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from glocal.data.volumes._guards import require_plane, require_size, suspicion
from glocal.data.volumes._stream import StreamedSlices
from glocal.data.volumes.nifti import GZIP_RATIO
from glocal.data.volumes.volume import SliceSource, Values, VolumeFile
from glocal.errors import UserError, nearest

__all__ = [
    *("IMAGE_KEYS", "LABEL_KEYS", "Key", "choose", "number_type"),
    *("open_npy", "open_npz", "volume_shape", "wanted_names"),
]

Key: TypeAlias = str | Sequence[str] | None
"""What an array is called: one name, or several that it may have."""

IMAGE_KEYS = ("image", "img", "images", "data", "volume", "arr_0")
LABEL_KEYS = ("label", "mask", "labels", "masks", "seg", "segmentation")
_MAX_HEADER = 10_000


def open_npy(path: Path) -> VolumeFile:
    """Open ``.npy``: one array, ``(D, H, W)``, ``(H, W)`` or with 3 colours last.

    Raises:
        UserError: It is damaged or truncated, or holds pickled objects or no numbers.
    """
    return _opened(path, "NPY", partial(_open_plain, path), False, path.stat().st_size, [])


def open_npz(path: Path, key: Key, prefer: tuple[str, ...] = IMAGE_KEYS) -> VolumeFile:
    """Open one array of ``.npz``.

    Args:
        path: The file.
        key: Its name, or several of which the first that is there is taken; not needed where there is one array, or
            where one is called as ``prefer`` says.
        prefer: Names taken by themselves, the first that is there.

    Raises:
        UserError: As :func:`open_npy`; or several arrays are there and none is named.
    """
    with suspicion(path, "NPZ"), zipfile.ZipFile(path) as archive:
        members = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")
        }
        notes: list[str] = []
        name = choose(path, key, members, prefer, notes)
        member = members[name]
        if member.flag_bits & 1:
            raise UserError(f"{path}: the array {name!r} is encrypted; save it without a password")
        there = min(member.file_size, member.compress_size * GZIP_RATIO)
    return _opened(path, "NPZ", partial(_open_member, path, member.filename), True, there, notes)


def choose(path: Path, key: Key, names: Iterable[str], prefer: tuple[str, ...], notes: list[str]) -> str:
    """The name of the array to read.

    Raises:
        UserError: ``key`` is not among ``names``; or it is needed and not given.
    """
    known = list(names)
    shown = [name if name.isprintable() else repr(name) for name in known[:20]]
    listed = ", ".join(shown) + (", …" if len(known) > 20 else "")
    if not known:
        raise UserError(f"{path}: holds no array; copy it again from its source")
    if wanted := wanted_names(key):
        named = next((name for name in wanted if name in known), None)
        if named is None:
            asked = " or ".join(map(repr, wanted))
            raise UserError(f"{path}: there is no array {asked}; it holds {listed}.{nearest(wanted[0], known)}")
        return named
    if len(known) == 1:
        return known[0]
    by_name = next((name for name in prefer if name in known), None)
    if by_name is None:
        raise UserError(f"{path}: holds {len(known)} arrays ({listed}); name the one to read (key=)")
    notes.append(f"array {by_name!r} of {listed}")
    return by_name


def wanted_names(key: Key) -> tuple[str, ...]:
    """What the array that is asked for may be called; empty if nothing is asked for."""
    return (key,) if isinstance(key, str) else tuple(key or ())


def volume_shape(path: Path, shape: tuple[int, ...], notes: list[str]) -> tuple[tuple[int, int, int], int]:
    """Shape (D, H, W) and channels of an array.

    Raises:
        UserError: It has another number of axes, or absurd ones.
    """
    sizes = shape
    if len(sizes) == 4 and sizes[3] == 1:
        sizes = sizes[:3]
    if len(sizes) == 2:
        depth, height, width, channels = 1, *sizes, 1
    elif len(sizes) == 3 and sizes[2] == 3 and min(sizes[:2]) > 4:
        notes.append("three values last taken as the colours of one picture")
        depth, height, width, channels = 1, *sizes[:2], 3
    elif len(sizes) in (3, 4) and (len(sizes) == 3 or sizes[3] == 3):
        depth, height, width, channels = *sizes[:3], 1 if len(sizes) == 3 else 3
    else:
        raise UserError(
            f"{path}: an array of {' x '.join(map(str, shape)) or 'no'} numbers is no volume; "
            "save it as slices x rows x columns, and x 3 for RGB"
        )
    if depth < 1:
        raise UserError(f"{path}: an array of {' x '.join(map(str, shape))} numbers is empty; save it again")
    require_plane(path, height, width)
    return (depth, height, width), channels


def number_type(path: Path, stored: np.dtype[Any], channels: int) -> np.dtype[Any]:
    """The type that slices are given in: integers as they are, 0 and 1 of booleans, ``float32``.

    Raises:
        UserError: These are no real numbers, or colours of another type than ``uint8``.
    """
    if stored.hasobject:
        raise UserError(
            f"{path}: holds pickled Python objects, which can run a program when read; save it again as plain numbers"
        )
    if stored.kind not in "iufb" or (channels == 3 and stored != np.uint8):
        raise UserError(f"{path}: values of type {stored} are not read; save it as integers or floating point")
    if stored.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_member(path: Path, name: str) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:  # the member keeps the file open until it is closed itself
        return archive.open(name)


def _opened(path: Path, kind: str, opener: Any, packed: bool, there: int, notes: list[str]) -> VolumeFile:
    with suspicion(path, kind), opener() as stream:
        shape, fortran, stored = _header(path, stream)
        offset = stream.tell()
    number_type(path, stored, 1)
    volume, channels = volume_shape(path, shape, notes)
    dtype = number_type(path, stored, channels)
    require_size(path, int(np.prod(shape, dtype=object)) * stored.itemsize, there - offset)
    full = (*volume, 3) if channels == 3 else volume
    source: SliceSource
    if fortran and len([size for size in shape if size > 1]) > 1:
        notes.append("stored column by column, for which the whole array is loaded")
        source = _FortranSlices(path, kind, opener, shape, full, dtype)
    else:
        convert = partial(_as_type, dtype=dtype)
        source = StreamedSlices(path, kind, opener, packed, offset, full, stored, convert)
    return VolumeFile(path, kind, (path,), volume, channels, dtype, np.eye(4), False, source, notes=tuple(notes))


def _header(path: Path, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
    raise UserError(f"{path}: NPY of version {version[0]}.{version[1]} is not read; save plain numbers again")


def _as_type(plane: Values, dtype: np.dtype[Any]) -> Values:
    return plane.astype(dtype)


class _FortranSlices:
    """Slices of an array whose last axis runs slowest: loaded whole when the first is asked for."""

    def __init__(
        self,
        path: Path,
        kind: str,
        opener: Any,
        shape: tuple[int, ...],
        full: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._path, self._kind, self._opener, self._shape, self._full, self._dtype = (
            path,
            kind,
            opener,
            shape,
            full,
            dtype,
        )
        self._values: Values | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None}

    def read(self, k: int) -> Values:
        if self._values is None:
            with suspicion(self._path, self._kind), self._opener() as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_MAX_HEADER)
            self._values = array.reshape(self._full)
        return np.ascontiguousarray(self._values[k]).astype(self._dtype)

    def slices(self) -> Iterator[Values]:
        yield from (self.read(k) for k in range(self._full[0]))
