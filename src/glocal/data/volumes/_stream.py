"""Slices that lie one after another in a stream, read one at a time also where the stream is packed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from glocal.data.volumes._guards import suspicion
from glocal.data.volumes.volume import Values
from glocal.errors import UserError
from glocal.files import writing

__all__ = ["StreamedSlices"]

_CHUNK = 2**16
_OF_THE_PROCESS = ("_stream", "_spooled", "_process", "_one_at_a_time")


class StreamedSlices:
    """Slices of ``shape[1:]`` items of ``stored``, contiguous from ``offset`` of what ``opener`` opens."""

    def __init__(
        self,
        path: Path,
        kind: str,
        opener: Callable[[], IO[bytes]],
        packed: bool,
        offset: int,
        shape: tuple[int, ...],
        stored: np.dtype[Any],
        convert: Callable[[Values], Values],
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: The file, for messages.
            kind: What it is, for messages.
            opener: Opens the stream at its beginning; can be pickled.
            packed: The stream is compressed: going back means unpacking again from the beginning.
            offset: Of the first slice, in bytes of the unpacked stream.
            shape: Slices, rows, columns, and colours if any.
            stored: Type of the items in the stream.
            convert: From the stored slice to the one that is given; can be pickled.
        """
        self._path, self._kind, self._opener, self._packed = path, kind, opener, packed
        self._offset, self._shape, self._stored, self._convert = offset, shape, stored, convert
        self._nbytes = int(np.prod(shape[1:], dtype=object)) * stored.itemsize
        self._start()

    def _start(self) -> None:
        """Nothing is open: at first, and in a process of its own, which must not share the place in a file."""
        self._stream: IO[bytes] | None = None
        self._spooled = False
        self._process = os.getpid()
        self._one_at_a_time = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THE_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    def read(self, k: int) -> Values:
        """Slice ``k``; the stream stays open, and going back in a packed one unpacks it once to a nameless file."""
        place = self._offset + k * self._nbytes
        if self._process != os.getpid():
            self._start()
        with self._one_at_a_time, suspicion(self._path, self._kind):
            if self._stream is None:
                self._stream = self._opener()
            if self._packed and not self._spooled and place < self._stream.tell():
                self._stream.close()
                self._stream = self._spool()
            self._stream.seek(place)
            return self._slice(self._stream)

    def slices(self) -> Iterator[Values]:
        """All slices in one pass, to the end of the stream, where a packed one has its checksum."""
        with suspicion(self._path, self._kind):
            stream = self._opener()
        with stream:
            for k in range(self._shape[0]):
                with suspicion(self._path, self._kind):
                    if k == 0:
                        stream.seek(self._offset)
                    plane = self._slice(stream)
                    while k == self._shape[0] - 1 and self._packed and stream.read(_CHUNK):
                        pass
                yield plane

    def _spool(self) -> IO[bytes]:
        with writing(Path(tempfile.gettempdir())):
            spool = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as this object)
            with self._opener() as stream:
                end = self._offset + self._shape[0] * self._nbytes
                while (chunk := stream.read(_CHUNK)) and spool.tell() < end:
                    spool.write(chunk)
        self._spooled = True
        return spool

    def _slice(self, stream: IO[bytes]) -> Values:
        data = stream.read(self._nbytes)
        if len(data) < self._nbytes:
            raise UserError(f"{self._path}: truncated: slices are missing; copy it again from its source")
        return self._convert(np.frombuffer(data, self._stored).reshape(self._shape[1:]))
