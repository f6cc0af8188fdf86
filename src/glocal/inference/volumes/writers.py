"""Masks of volumes as NIfTI and MetaImage, on the axes and in the geometry of the file they belong to."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glocal.data.volumes import VolumeFile
from glocal.errors import UserError, optional_import
from glocal.files import atomic

__all__ = ["NIFTI", "write_metaimage", "write_nifti"]

NIFTI = (".nii.gz", ".nii")
_TEXTS = ("descrip", "aux_file", "intent_name", "db_name")
"""Fields of a NIfTI header that may name a patient, or say of the image what is not true of its mask."""


def write_nifti(mask: Iterable[npt.NDArray[np.uint8]], file: VolumeFile, path: str | Path) -> None:
    """Write a mask as NIfTI, ``uint8``.

    Of a NIfTI, the geometry in the header (dimensions, qform, sform, their codes, units) is copied bit by bit, free
    texts and extensions are not. Of another file, sform and qform are its affine; both codes are 0 if it has none.

    Args:
        mask: ``(D, H, W)`` class indices on the stored axes of ``file``, or its slices one by one.
        file: What was segmented.
        path: Ends in ``.nii.gz`` or ``.nii``. The file appears whole or not at all.

    Raises:
        UserError: Another ending, nibabel is not installed, or the file cannot be written.
    """
    if not str(path).lower().endswith(NIFTI):
        raise UserError(f"{path}: a NIfTI file is expected; let the name end in .nii.gz or .nii")
    nibabel = optional_import("nibabel", "volumes")
    header = _nifti_header(nibabel, file)
    with atomic(path) as temporary, temporary.open("wb") as raw:
        zipped = str(path).lower().endswith(".gz")
        with gzip.GzipFile("", "wb", 4, raw, 0) if zipped else contextlib.nullcontext(raw) as stream:
            stream.write(header.binaryblock + bytes(int(header["vox_offset"]) - header.sizeof_hdr))
            for plane in mask:
                stream.write(np.ascontiguousarray(plane).tobytes())


def _nifti_header(nibabel: Any, file: VolumeFile) -> Any:
    if file.kind == "NIfTI":
        header = nibabel.load(file.path).header.copy()
        for name in set(_TEXTS) & set(header.keys()):
            header[name] = b""
        header["cal_min"], header["cal_max"], header["intent_code"] = 0, 0, 0
    else:
        header = nibabel.Nifti1Header()
        header.set_xyzt_units("mm" if file.has_geometry else "unknown")
    depth, height, width = file.shape
    header.set_data_shape((width, height, depth))
    if file.kind != "NIfTI":
        header.set_qform(file.affine, code=int(file.has_geometry))
        header.set_sform(file.affine, code=int(file.has_geometry))
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    return header


def write_metaimage(mask: npt.NDArray[np.uint8], file: VolumeFile, path: str | Path) -> None:
    """Write a mask as compressed MetaImage, ``uint8``, with origin, spacing and direction as ``file`` has them.

    Args:
        mask: ``(D, H, W)`` class indices on the stored axes of ``file``.
        file: What was segmented.
        path: Ends in ``.mha``. The file appears whole or not at all.

    Raises:
        UserError: Another ending, SimpleITK is not installed, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".mha":
        raise UserError(f"{path}: a MetaImage is expected; let the name end in .mha")
    itk = optional_import("SimpleITK", "volumes")
    image = itk.GetImageFromArray(np.ascontiguousarray(mask))
    origin, spacing, direction = _itk_geometry(itk, file)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    with atomic(path) as temporary:
        itk.WriteImage(image, str(temporary), useCompression=True)


def _itk_geometry(itk: Any, file: VolumeFile) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and direction: of ITK's own formats as their header has them, else from the affine (LPS)."""
    if file.kind in ("MetaImage", "NRRD"):
        reader = itk.ImageFileReader()
        reader.SetFileName(str(file.path))
        reader.ReadImageInformation()
        if reader.GetDimension() == 3:
            return reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ file.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return lps[:3, 3].tolist(), spacing.tolist(), (lps[:3, :3] / spacing).ravel().tolist()
