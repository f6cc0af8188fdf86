"""MetaImage (.mha, .mhd) and NRRD through SimpleITK."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.volumes._guards import require_plane, require_size, suspicion, usable_affine
from glocal.data.volumes.nifti import GZIP_RATIO
from glocal.data.volumes.volume import Affine, Values, VolumeFile
from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

__all__ = ["is_metaimage", "is_nrrd", "open_metaimage", "open_nrrd"]

_HEAD = 2**16
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR", "MET_ASCII_CHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_NRRD_BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}
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
    """Open ``.mha`` or ``.mhd``. Slices of an uncompressed one are read one by one; a compressed one is loaded whole.

    Raises:
        UserError: SimpleITK is not installed; the file is damaged or truncated; its voxels are missing or not beside
            it; it has more than three axes, or an impossible spacing.
    """
    fields, end = _fields(path)
    sizes = [int(size) for size in re.findall(r"-?[0-9]+", fields.get("DimSize", ""))]
    if not sizes or len(sizes) != int(fields.get("NDims", "0") or 0):
        raise UserError(f"{path}: its header gives no usable size (NDims, DimSize); copy the file again")
    voxels = _require_axes(path, sizes)
    packed = fields.get("CompressedData", "").lower() in ("true", "1")
    size = voxels * int(fields.get("ElementNumberOfChannels", "1")) * _BYTES.get(fields.get("ElementType", ""), 1)
    data = fields.get("ElementDataFile", "")
    there = path.stat().st_size - end if data.upper() == "LOCAL" else _beside(path, data).stat().st_size
    if packed:
        require_size(path, int(fields.get("CompressedDataSize", "0") or 0), there)
    require_size(path, size, there * GZIP_RATIO if packed else there)
    in_text = fields.get("BinaryData", "").lower() == "false"
    modality = _MODALITIES.get(fields.get("Modality", ""))
    return _opened(path, "MetaImage", "MetaImageIO", packed or in_text, modality, require_geometry)


def open_nrrd(path: Path, require_geometry: bool = True) -> VolumeFile:
    """Open ``.nrrd`` or ``.nhdr``, which is loaded whole when the first slice is asked for.

    Raises:
        UserError: As :func:`open_metaimage`.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    text, _, _ = head.partition(b"\n\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in text.decode("latin-1").splitlines())
        if colon and not name.startswith("#")
    }
    sizes = [int(size) for size in re.findall(r"-?[0-9]+", fields.get("sizes", ""))]
    if not sizes:
        raise UserError(f"{path}: its header gives no usable size; copy the file again")
    data = fields.get("data file", fields.get("datafile", ""))
    there = _beside(path, data).stat().st_size if data else path.stat().st_size - len(text)
    packed = fields.get("encoding", "raw").lower() != "raw"
    least = _NRRD_BYTES.get(fields.get("type", "").replace("unsigned ", "u").replace("signed ", ""), 1)
    size = int(np.prod([max(size, 0) for size in sizes], dtype=object)) * least
    require_size(path, size, there * GZIP_RATIO if packed else there)
    return _opened(path, "NRRD", "NrrdImageIO", True, None, require_geometry)


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


def _opened(
    path: Path, kind: str, reader_name: str, whole: bool, modality: str | None, require_geometry: bool
) -> VolumeFile:
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
    if whole and depth > 1:
        notes.append(
            f"packed {kind}: loaded whole when the first slice is read"
            if kind != "NRRD"
            else "NRRD: loaded whole when the first slice is read"
        )
    source = _ItkSlices(path, kind, reader_name, (width, height, depth), len(size), whole, dtype)
    shape = (depth, height, width)
    return VolumeFile(path, kind, (path,), shape, channels, dtype, usable, has_geometry, source, modality, tuple(notes))


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


class _ItkSlices:
    """Slices cut from the file by SimpleITK, or from the volume where it must be loaded whole."""

    def __init__(
        self,
        path: Path,
        kind: str,
        reader_name: str,
        size: tuple[int, int, int],
        axes: int,
        whole: bool,
        dtype: np.dtype[Any],
    ) -> None:
        self._path, self._kind, self._reader_name = path, kind, reader_name
        self._size, self._axes, self._whole, self._dtype = size, axes, whole, dtype
        self._values: Values | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None}

    def read(self, k: int) -> Values:
        with suspicion(self._path, self._kind):
            if not self._whole:
                return self._cut(k)
            if self._values is None:
                sitk = _simpleitk()
                array = sitk.GetArrayFromImage(_reader(sitk, self._path, self._reader_name).Execute())
                width, height, depth = self._size
                self._values = np.asarray(array).reshape(depth, height, width, *array.shape[self._axes :])
            return np.asarray(self._values[k]).astype(self._dtype)

    def _cut(self, k: int) -> Values:
        sitk = _simpleitk()
        reader = _reader(sitk, self._path, self._reader_name)
        width, height, _ = self._size
        reader.SetExtractIndex([0, 0, k, 0][: self._axes])
        reader.SetExtractSize([width, height, *[1] * (self._axes - 2)])
        array = np.asarray(sitk.GetArrayFromImage(reader.Execute()))
        return array.reshape(height, width, *array.shape[self._axes :]).astype(self._dtype)

    def slices(self) -> Iterator[Values]:
        yield from (self.read(k) for k in range(self._size[2]))
