"""MetaImage (.mha, .mhd) and NRRD: headers through SimpleITK, voxels slice by slice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from glocal.data.volumes._guards import require_plane, require_size, suspicion, usable_affine
from glocal.data.volumes._inflate import Inflated
from glocal.data.volumes._stream import StreamedSlices
from glocal.data.volumes.nifti import GZIP_RATIO
from glocal.data.volumes.volume import Affine, Values, VolumeFile
from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

__all__ = ["is_metaimage", "is_nrrd", "open_metaimage", "open_nrrd"]

_HEAD = 2**16
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_ASCII_CHAR"), "i1"),
    **{"MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_US": "US", "MET_MOD_NM": "NM"}


def is_metaimage(path: Path, head: bytes) -> bool:
    """Whether a file is a MetaImage: by the text it begins with."""
    first = head.lstrip().partition(b"=")[0].strip()
    known = (b"ObjectType", b"ObjectSubType", b"Comment", b"NDims", b"Name", b"ID", b"BinaryData")
    return first in known or (path.suffix.lower() in (".mha", ".mhd") and b"=" in head)


def is_nrrd(head: bytes) -> bool:
    """Whether a file is NRRD: by its magic."""
    return head.startswith(b"NRRD0")


def open_metaimage(path: Path, require_geometry: bool = True) -> VolumeFile:
    """Open ``.mha`` or ``.mhd``.

    Raises:
        UserError: SimpleITK is not installed; the file is damaged or truncated; its voxels are missing or not beside
            it, or written as text; it has more than three axes, or an impossible spacing.
    """
    fields, end = _fields(path)
    with suspicion(path, "MetaImage"):
        sizes = [int(size) for size in fields.get("DimSize", "").split()]
        if not sizes or len(sizes) != int(fields.get("NDims", 0)):
            raise UserError(f"{path}: its header gives no usable size (NDims, DimSize); copy the file again")
        voxels = _require_axes(path, sizes)
        packed, in_text = _is_true(fields, "CompressedData"), fields.get("BinaryData", "True").lower() == "false"
        kind = _TYPES.get(fields.get("ElementType", ""))
        if kind is None or in_text:
            what = "as text" if in_text else f"of type {fields.get('ElementType', 'unknown')}"
            raise UserError(f"{path}: voxels {what} are not read; save it as binary integers or floating point")
        is_big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
        stored = np.dtype(f"{'>' if is_big else '<'}{kind}")
        size = voxels * max(1, int(fields.get("ElementNumberOfChannels", 1))) * stored.itemsize
        name = fields.get("ElementDataFile", "")
        data, offset = (path, end) if name.upper() == "LOCAL" else (_beside(path, name), 0)
        skipped = int(fields.get("HeaderSize", 0))
        offset = data.stat().st_size - size if skipped < 0 else offset + skipped
        there = data.stat().st_size - max(offset, 0)
        require_size(path, int(fields.get("CompressedDataSize", 0)) if packed else size, there)
        require_size(path, size, there * GZIP_RATIO)
    header = _itk_header(path, "MetaImage", "MetaImageIO", require_geometry)
    modality = _MODALITIES.get(fields.get("Modality", ""))
    return _streamed(path, "MetaImage", header, (data, offset, packed), stored, modality)


def _streamed(
    path: Path,
    kind: str,
    header: _Header,
    place: tuple[Path, int, bool],
    stored: np.dtype[Any],
    modality: str | None = None,
) -> VolumeFile:
    """``place``: the file of the voxels, the byte they begin at, and whether they are packed."""
    data, offset, packed = place
    full = (*header.shape, 3) if header.channels == 3 else header.shape
    convert = partial(_as_type, dtype=header.dtype)
    opener = partial(_inflated, data, offset) if packed else partial(_plain, data)
    source = StreamedSlices(path, kind, opener, packed, 0 if packed else offset, full, stored, convert)
    return VolumeFile(
        path,
        kind,
        (path,),
        header.shape,
        header.channels,
        header.dtype,
        header.affine,
        header.has_geometry,
        source,
        modality,
        header.notes,
    )


def _is_true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "").lower() in ("true", "1")


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _inflated(path: Path, offset: int) -> IO[bytes]:
    return cast(IO[bytes], Inflated(path, offset))


def _as_type(plane: Values, dtype: np.dtype[Any]) -> Values:
    return plane.astype(dtype)


def open_nrrd(path: Path, require_geometry: bool = True) -> VolumeFile:
    """Open ``.nrrd`` or ``.nhdr``, raw or gzipped.

    Raises:
        UserError: As :func:`open_metaimage`.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    with suspicion(path, "NRRD"):
        blank = re.search(rb"\r?\n\r?\n", head)
        text = head[: blank.start()] if blank else head
        fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in text.decode("latin-1").splitlines())
            if colon and not name.startswith("#")
        }
        sizes = [int(size) for size in fields.get("sizes", "").split()]
        name = fields.get("data file", fields.get("datafile", ""))
        if not sizes or min(sizes) < 1 or (not name and blank is None):
            raise UserError(f"{path}: its header is truncated or gives no usable size; copy the file again")
        encoding = fields.get("encoding", "raw").lower()
        skips = any(fields.get(skip, "0") != "0" for skip in ("byte skip", "byteskip", "line skip", "lineskip"))
        if encoding not in ("raw", "gzip", "gz") or skips:
            raise UserError(f"{path}: NRRD of encoding {encoding} with or without skips is not read; save it as NIfTI")
        data, offset = (_beside(path, name), 0) if name else (path, blank.end() if blank else 0)
        packed = encoding != "raw"
        there = (data.stat().st_size - offset) * (GZIP_RATIO if packed else 1)
        require_size(path, int(np.prod(sizes, dtype=object)), there)  # before SimpleITK sees it
        header = _itk_header(path, "NRRD", "NrrdImageIO", require_geometry)
        if header.channels == 3 and sizes[0] != 3:
            raise UserError(f"{path}: colours that are not the first axis are not read; save it as NIfTI")
        stored = header.stored.newbyteorder(">" if fields.get("endian", "little") == "big" else "<")
        require_size(path, int(np.prod(sizes, dtype=object)) * stored.itemsize, there)
    return _streamed(path, "NRRD", header, (data, offset, packed), stored)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header of a MetaImage, and where it ends."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    fields: dict[str, str] = {}
    end = 0
    for line in head.splitlines(keepends=True):
        end += len(line)
        name, equals, value = line.decode("latin-1").partition("=")
        if not equals or len(line) > 4096:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return fields, end
    raise UserError(f"{path}: this MetaImage header is damaged or truncated; copy it again from its source")


def _require_axes(path: Path, sizes: list[int]) -> int:
    """Number of voxels of at most three axes longer than 1."""
    if len(sizes) > 4 or any(size > 1 for size in sizes[3:]) or len(sizes) < 2:
        raise UserError(
            f"{path}: a {len(sizes)}-D file of {' x '.join(map(str, sizes))}; save each volume as a file of its own"
        )
    require_plane(path, sizes[1], sizes[0])
    if min(sizes) < 1:
        raise UserError(f"{path}: its header gives a size of {sizes}; copy the file again from its source")
    return int(np.prod(sizes, dtype=object))


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names: in its own folder, not elsewhere."""
    if not name or name.upper().startswith("LIST") or "%" in name or Path(name).name != name or name in (".", ".."):
        raise UserError(
            f"{path}: its header names {name!r} for the voxels, which is not one file beside it; save it as one file"
        )
    try:
        return require_regular_file(path.parent / name)
    except UserError as error:
        raise UserError(f"{path}: its voxels cannot be read: {error}") from None


@dataclass
class _Header:
    """What SimpleITK makes of a header."""

    shape: tuple[int, int, int]
    channels: int
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    affine: Affine
    has_geometry: bool
    notes: tuple[str, ...]


def _itk_header(path: Path, kind: str, reader_name: str, require_geometry: bool) -> _Header:
    notes: list[str] = []
    with suspicion(path, kind):
        sitk = _simpleitk()
        reader = _reader(sitk, path, reader_name)
        reader.ReadImageInformation()
        size = [int(length) for length in reader.GetSize()]
        channels = int(reader.GetNumberOfComponents())
        _require_axes(path, size)
        affine = _affine(reader, len(size))
        probe = sitk.Image([1] * len(size), reader.GetPixelID(), channels)
        stored = np.asarray(sitk.GetArrayViewFromImage(probe)).dtype
    if channels not in (1, 3) or (channels == 3 and stored != np.uint8) or stored.kind not in "iuf":
        raise UserError(
            f"{path}: {channels} channels of {stored} are not read; save one grey channel, or 8-bit RGB, in a file"
        )
    dtype = np.dtype(np.float32) if stored.kind == "f" else stored
    usable, has_geometry = usable_affine(path, affine, require_geometry, notes)
    width, height, depth = (*size[:3], 1)[:3]
    return _Header((depth, height, width), channels, stored, dtype, usable, has_geometry, tuple(notes))


def _simpleitk() -> Any:
    sitk = optional_import("SimpleITK", "volumes")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # prints to stderr by itself
    return sitk


def _reader(sitk: Any, path: Path, name: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(name)
    reader.SetFileName(str(path))
    return reader


def _affine(reader: Any, axes: int) -> Affine:
    """Direction x spacing and origin, LPS, turned to RAS."""
    count = min(axes, 3)
    direction = np.array(reader.GetDirection()).reshape(axes, axes)[:count, :count]
    affine = np.eye(4)
    affine[:count, :count] = direction * np.array(reader.GetSpacing())[:count]
    affine[:count, 3] = reader.GetOrigin()[:count]
    return np.asarray(_LPS_TO_RAS @ affine, np.float64)
