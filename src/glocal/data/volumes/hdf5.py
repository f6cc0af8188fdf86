"""Arrays in HDF5 files; what lies in other files is not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.volumes._guards import require_size, suspicion
from glocal.data.volumes.arrays import IMAGE_KEYS, Key, choose, number_type, volume_shape, wanted_names
from glocal.data.volumes.nifti import GZIP_RATIO
from glocal.data.volumes.volume import Values, VolumeFile
from glocal.errors import UserError, counted, optional_import

__all__ = ["open_hdf5"]

_MOST_ITEMS, _DEEPEST = 10_000, 20


def open_hdf5(path: Path, key: Key, prefer: tuple[str, ...] = IMAGE_KEYS) -> VolumeFile:
    """Open one array of an HDF5 file, as :func:`~glocal.data.volumes.arrays.open_npz`; ``key`` may be ``group/name``.

    Raises:
        UserError: h5py is not installed; the file is damaged; it has no array or several and none is named; the array
            is a link, or its numbers lie in another file.
    """
    h5py = optional_import("h5py", "volumes")
    notes: list[str] = []
    with suspicion(path, "HDF5"), h5py.File(path, "r") as file:
        found: dict[str, Any] = {}
        links: list[str] = []
        _collect(path, file, "", found, links, {_place(file)})
        asked = [name for name in wanted_names(key) if name in links or name in found]
        linked = links if not found else [name for name in asked[:1] if name in links]
        if linked:
            raise UserError(
                f"{path}: {(asked or linked)[0]!r} is a link (to another file or place), which is not followed; "
                "copy the array itself into the file"
            )
        if links:
            notes.append(f"{counted(len(links), 'link')} not followed")
        name = choose(path, key, found, prefer, notes)
        dataset = found[name]
        if dataset.external or dataset.is_virtual:
            raise UserError(f"{path}: the numbers of {name!r} lie in other files; copy them into the file itself")
        stored = np.dtype(dataset.dtype)
        number_type(path, stored, 1)
        volume, channels = volume_shape(path, tuple(dataset.shape or ()), notes)
        dtype = number_type(path, stored, channels)
        size = int(np.prod(dataset.shape, dtype=object)) * stored.itemsize
        require_size(path, size, min(dataset.id.get_storage_size(), path.stat().st_size) * GZIP_RATIO)
    full = (*volume, 3) if channels == 3 else volume
    source = _Hdf5Slices(path, name, full, dtype)
    return VolumeFile(path, "HDF5", (path,), volume, channels, dtype, np.eye(4), False, source, notes=tuple(notes))


def _collect(
    path: Path, group: Any, above: str, found: dict[str, Any], links: list[str], seen: set[tuple[int, int]]
) -> None:
    """Arrays of a group and all below it, by hard links alone; each object once."""
    h5py = optional_import("h5py", "volumes")
    for name in group:
        full = f"{above}{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            links.append(full)
            continue
        item = group[name]
        if _place(item) in seen:
            continue
        seen.add(_place(item))
        if len(seen) > _MOST_ITEMS or full.count("/") > _DEEPEST:
            raise UserError(
                f"{path}: holds more than {_MOST_ITEMS} arrays, or groups nested more than {_DEEPEST} deep; "
                "copy what is wanted to a file of its own"
            )
        if isinstance(item, h5py.Group):
            _collect(path, item, f"{full}/", found, links, seen)
        elif isinstance(item, h5py.Dataset) and item.ndim >= 2:
            found[full] = item


def _place(item: Any) -> tuple[int, int]:
    """What tells an object from others, whatever it is called."""
    about = optional_import("h5py", "volumes").h5o.get_info(item.id)
    return int(about.fileno), int(about.addr)


class _Hdf5Slices:
    """Slices of an array; the file is opened when the first is asked for, and stays open."""

    def __init__(self, path: Path, name: str, full: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path, self._name, self._full, self._dtype = path, name, full, dtype
        self._file: Any = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def read(self, k: int) -> Values:
        h5py = optional_import("h5py", "volumes")
        with suspicion(self._path, "HDF5"):
            if self._file is None or self._process != os.getpid():  # a process opens its own
                self._file, self._process = h5py.File(self._path, "r"), os.getpid()
            dataset = self._file[self._name]
            has_depth = dataset.shape[: len(self._full)] == self._full
            plane = np.asarray(dataset[k] if has_depth else dataset[()])
            return plane.reshape(self._full[1:]).astype(self._dtype)

    def slices(self) -> Iterator[Values]:
        yield from (self.read(k) for k in range(self._full[0]))
