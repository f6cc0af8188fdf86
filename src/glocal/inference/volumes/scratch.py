"""Voxels on disk while a volume is predicted, so that memory does not grow with its depth."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from glocal.data.volumes import Volume, VolumeFile, reorient
from glocal.files import atomic, writing

__all__ = ["Scratch", "along", "probability_file"]

_CHUNK = 2**20


class Scratch:
    """An array of class indices, all 0, in a temporary file without a name: what is left of it when a process ends.

    Its size is taken from the disk at once: a disk that is too full is noticed before anything is computed.

    Args:
        shape: Of the array.
        folder: Where there is space; made if missing.

    Raises:
        UserError: The folder cannot be written, or the disk is full.
    """

    def __init__(self, shape: tuple[int, ...], folder: Path) -> None:
        size = int(np.prod(shape, dtype=np.int64))
        with writing(folder / "mask"):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as stream:
                _reserve(stream, size)
                self._map = mmap.mmap(stream.fileno(), size)  # keeps the file on its own
        self.voxels: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(shape)

    def release(self) -> None:
        """Give back the memory of pages that were touched; their values stay in the file."""
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def along(stored: npt.NDArray[Any], file: VolumeFile) -> npt.NDArray[Any]:
    """A view of voxels ``(D, H, W, …)`` on the stored axes of a file, along the axes that ``file`` was turned to.

    Args:
        stored: On the axes of the file on disk.
        file: The volume, perhaps turned by :func:`glocal.data.volumes.reorient`.
    """
    if file.stored is None or file.orientation is None:
        return stored
    turned: npt.NDArray[Any] = reorient(Volume(stored, file.stored.affine), file.orientation).values
    assert np.shares_memory(turned, stored)
    return turned


@contextlib.contextmanager
def probability_file(path: Path, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.float16]]:
    """A ``float16`` array in a ``.npy`` file that appears whole or not at all.

    Args:
        path: Of the file.
        shape: Of the array.

    Raises:
        UserError: It cannot be written, or the disk is full: before the block begins.
    """
    with atomic(path) as temporary:
        with temporary.open("wb") as stream:
            about = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, about)
            _reserve(stream, 2 * int(np.prod(shape, dtype=np.int64)))
        array: np.memmap[Any, np.dtype[np.float16]] = np.lib.format.open_memmap(temporary, mode="r+")
        yield array
        array.flush()


def _reserve(stream: IO[bytes], size: int) -> None:
    """Write zeros: a hole in a file would be missed only when a page of it is touched, which ends the process."""
    zeros = bytes(_CHUNK)
    for start in range(0, size, _CHUNK):
        stream.write(zeros[: size - start])
    stream.flush()
