"""A TIFF of several pages as a volume: one page a slice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data._decode import Decoded, decode, decode_pages, page_kinds
from glocal.data.volumes.volume import Values, VolumeFile
from glocal.errors import UserError

__all__ = ["TIFF_MAGIC", "open_tiff"]

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TYPES: dict[str, Any] = {"1": np.uint8, "L": np.uint8, "RGB": np.uint8, "I": np.int32, "F": np.float32}


def open_tiff(path: Path) -> VolumeFile:
    """Open a TIFF; every page is a slice. Its resolution is not trusted: the spacing stays unknown.

    Raises:
        UserError: It is damaged or truncated; its pages differ in size or kind, or are of a kind that is not read.
    """
    kinds = page_kinds(path)
    (height, width), mode = kinds[0]
    odd = next((page for page, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        raise UserError(
            f"{path}: page {odd} differs in size or kind from page 0 (a preview among them?); "
            "save the slices alone, or each page as a file of its own"
        )
    kind = np.uint16 if mode.startswith("I;16") else _TYPES.get(mode)
    if kind is None:
        raise UserError(
            f"{path}: pages of kind {mode!r} are not read as a volume; save it as grey or RGB without alpha"
        )
    dtype, channels = np.dtype(kind), 3 if mode == "RGB" else 1
    notes = ["1-bit pages read as 0 and 255"] if mode == "1" else []
    shape = (len(kinds), height, width)
    source = _TiffSlices(path, dtype)
    return VolumeFile(path, "TIFF", (path,), shape, channels, dtype, np.eye(4), False, source, notes=tuple(notes))


class _TiffSlices:
    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path, self._dtype = path, dtype

    def read(self, k: int) -> Values:
        return self._values(decode(self._path, k))

    def slices(self) -> Iterator[Values]:
        for page in decode_pages(self._path):
            yield self._values(page)

    def _values(self, page: Decoded) -> Values:
        image = page.image.convert("L") if page.image.mode == "1" else page.image
        values = np.asarray(image)
        if page.white_is_zero and values.dtype.kind != "f":
            values = np.iinfo(self._dtype).max - values
        return values.astype(self._dtype)
