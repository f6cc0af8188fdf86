"""NIfTI 1 and 2, plain or gzipped, read slice by slice in constant memory."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from glocal.data.volumes._guards import require_plane, require_size, suspicion, usable_affine
from glocal.data.volumes._stream import StreamedSlices
from glocal.data.volumes.volume import Affine, Values, VolumeFile
from glocal.errors import UserError, optional_import

__all__ = ["GZIP_MAGIC", "GZIP_RATIO", "is_nifti", "open_nifti"]

GZIP_MAGIC = b"\x1f\x8b"
GZIP_RATIO = 1032
"""What deflate can at most gain: RFC 1951, 258 bytes from two bits."""
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}


def is_nifti(head: bytes) -> bool:
    """Whether the first 348 bytes or more of a file, unpacked, are those of NIfTI 1 or 2."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def open_nifti(path: Path, require_geometry: bool = True) -> VolumeFile:
    """Open ``.nii`` or ``.nii.gz``; the header is read, and the voxels when they are asked for.

    Integers stay as they are stored unless the header scales them; everything else becomes ``float32``.

    Args:
        path: The file.
        require_geometry: Refuse impossible spacing; otherwise it is left out and noted.

    Raises:
        UserError: nibabel is not installed; the file is damaged, truncated or no NIfTI; it is 4-D, complex, or has a
            spacing of 0.
    """
    nibabel = optional_import("nibabel", "volumes")
    notes: list[str] = []
    with path.open("rb") as stream:
        zipped = stream.read(2) == GZIP_MAGIC
    with suspicion(path, "NIfTI"), _unpacked(path, zipped) as stream:
        head = stream.read(544)
        if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
            raise UserError(f"{path}: a NIfTI header without its voxels (.hdr/.img); save the pair as one .nii.gz")
        stream.seek(0)
        of_version_2 = head[4:8] == b"n+2\0"
        header = (nibabel.Nifti2Header if of_version_2 else nibabel.Nifti1Header).from_fileobj(stream, check=False)
        shape = _shape(path, tuple(int(size) for size in header["dim"]))
        stored: np.dtype[Any] = header.get_data_dtype()
        slope, intercept = _scaling(header)
        offset = int(header["vox_offset"]) or header.single_vox_offset
        if offset < header.sizeof_hdr:
            raise UserError(f"{path}: its header puts the voxels at byte {offset}; copy the file again from its source")
        affine, has_geometry = usable_affine(path, _affine(path, header, notes), require_geometry, notes)
    channels = 3 if stored.names else 1
    if stored.kind not in "iuf" and stored.names != ("R", "G", "B"):
        raise UserError(f"{path}: voxels of type {stored} are not read; save it as integers or floating point")
    scaled = (slope, intercept) != (1.0, 0.0)
    there = path.stat().st_size * GZIP_RATIO if zipped else path.stat().st_size - offset
    require_size(path, shape[0] * shape[1] * shape[2] * stored.itemsize, there)
    if scaled:
        notes.append(f"scaled as its header says: {slope:g} x stored + {intercept:g}")
    dtype = np.dtype(np.float32) if scaled or stored.kind == "f" else stored.newbyteorder("=")
    if channels == 3:
        dtype = np.dtype(np.uint8)
    convert = partial(_real, slope=slope, intercept=intercept, dtype=dtype)
    source = StreamedSlices(path, "NIfTI", partial(_unpacked, path, zipped), zipped, offset, shape, stored, convert)
    return VolumeFile(path, "NIfTI", (path,), shape, channels, dtype, affine, has_geometry, source, notes=tuple(notes))


def _unpacked(path: Path, zipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def _shape(path: Path, dim: tuple[int, ...]) -> tuple[int, int, int]:
    """``dim`` of the header, as D, H, W."""
    axes = dim[0]
    if not 1 <= axes <= 7 or any(size < 1 for size in dim[1 : axes + 1]):
        raise UserError(f"{path}: its header gives a size of {dim[1:4]}; copy the file again from its source")
    sizes = dim[1 : axes + 1]
    if any(size > 1 for size in sizes[3:]):
        raise UserError(
            f"{path}: a {axes}-D file of {' x '.join(map(str, sizes))}; "
            "save each volume (time point or channel) as a file of its own, such as with nibabel.four_to_three"
        )
    width, height, depth = (*sizes[:3], 1, 1)[:3]
    require_plane(path, height, width)
    return depth, height, width


def _scaling(header: Any) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # NIfTI-1: not scaled
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _affine(path: Path, header: Any, notes: list[str]) -> Affine:
    """sform, else qform, else the spacing alone; in mm."""
    affine = np.asarray(header.get_best_affine(), np.float64)
    if int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
        other = np.asarray(header.get_qform(), np.float64)
        if not np.allclose(other, affine, rtol=1e-3, atol=1e-2 * np.abs(affine[:3, :3]).max()):
            notes.append("sform and qform disagree: sform used")
    elif int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        notes.append("neither sform nor qform: axes taken from the spacing alone")
    if int(header["dim"][0]) < 3 and not affine[:3, 2].any():
        notes.append("one slice without a thickness: 1 mm taken")
        affine[2, 2] = 1.0
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    if unit:
        notes.append(f"positions in {unit} converted to mm")
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
    return affine


def _real(plane: Values, slope: float, intercept: float, dtype: np.dtype[Any]) -> Values:
    """A stored slice in real units, in the byte order of this machine; RGB from its three fields."""
    if plane.dtype.names:
        return np.stack([plane[name] for name in ("R", "G", "B")], axis=-1)
    if (slope, intercept) != (1.0, 0.0):
        return np.asarray(plane.astype(np.float64) * slope + intercept).astype(dtype)
    return plane.astype(dtype)
