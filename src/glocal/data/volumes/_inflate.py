"""A zlib or gzip stream inside a file, read forward."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import TracebackType

__all__ = ["Inflated"]

_CHUNK = 2**16


class Inflated:
    """What is unpacked from byte ``offset`` of a file on, zlib or gzip: ``read``, ``tell``, and ``seek`` forward."""

    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("rb")
        self._file.seek(offset)
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # by its header: zlib or gzip
        self._place = 0

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end of the stream.

        Raises:
            EOFError: The file ends within the stream.
            zlib.error: The stream is damaged.
        """
        parts = []
        missing = size
        while missing and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            part = self._inflate.decompress(packed, missing)
            if not part and not packed:
                raise EOFError("the file ends within the packed voxels")
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._place += len(data)
        return data

    def tell(self) -> int:
        """Bytes unpacked so far."""
        return self._place

    def seek(self, place: int) -> int:
        """Go forward to byte ``place`` of what is unpacked."""
        assert place >= self._place
        while self._place < place and self.read(min(_CHUNK, place - self._place)):
            pass
        return self._place

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Inflated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
