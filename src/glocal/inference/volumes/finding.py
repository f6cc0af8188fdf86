"""What is segmented of the files and folders that a user names: pictures, volumes, DICOM series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from glocal.data.readers import IMAGE_SUFFIXES
from glocal.data.volumes import list_series
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES, is_dicom
from glocal.errors import UserError

__all__ = ["VOLUME_SUFFIXES", "Found", "Kind", "find", "stem_of"]

Kind: TypeAlias = Literal["picture", "volume", "dicom file", "dicom series"]

VOLUME_SUFFIXES = (
    *(".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr"),
    *(".npy", ".npz", ".h5", ".hdf5", ".hdf"),
)
"""Endings, in lower case, of files that are taken for volumes."""


@dataclass(frozen=True)
class Found:
    """One thing to be segmented."""

    path: Path
    """A file, or the folder of a series."""
    relative: Path
    """Where it lies below the folder that was named, without ending."""
    kind: Kind
    series: str | None = None
    """Of a folder with several: which."""


def stem_of(name: str) -> str:
    """A file name without its ending: ``x.nii.gz`` -> ``x``."""
    for ending in VOLUME_SUFFIXES:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return Path(name).stem


def find(inputs: Sequence[str | Path], output: Path, *, series: str | None = None) -> Iterator[Found]:
    """Everything of files and folders that can be segmented, in the order of its names.

    Folders are searched with their sub-folders; hidden files and ``output`` are left out. A folder that holds DICOM
    files is a series with all below it; one whose series have a single file each is a folder of single files.

    Args:
        inputs: Files and folders.
        output: Where files will be written.
        series: Of a folder with several series: the number of one, its UID, or ``"all"``.

    Raises:
        UserError: A folder with nothing to segment, with several series of which none is chosen, or that cannot be
            listed; or a series is chosen of a file.
    """
    for given in map(Path, inputs):
        if not given.is_dir():
            if series is not None:
                raise UserError(f"{given}: a series is chosen in a folder, and this is a file; leave --series out")
            yield Found(given, Path(stem_of(given.name)), _kind(given))
            continue
        found = list(_below(given, given, {os.path.realpath(output)}, series))
        if not found:
            raise UserError(
                f"{given}: no images in this folder or below (PNG, JPEG, TIFF, BMP, …, NIfTI, MHA, DICOM); name another"
            )
        yield from found


def _kind(path: Path) -> Kind:
    name = path.name.lower()
    if name.endswith(VOLUME_SUFFIXES):
        return "volume"
    if path.suffix.lower() in IMAGE_SUFFIXES - DICOM_SUFFIXES:
        return "picture"
    return "dicom file" if _is_dicom(path) else "picture"


def _is_dicom(path: Path) -> bool:
    """Whether a file without the ending of an image is DICOM, which often has none at all."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return is_dicom(path, stream.read(132))
    except OSError:
        return path.suffix.lower() in DICOM_SUFFIXES


def _below(folder: Path, root: Path, left_out: set[str], series: str | None) -> Iterator[Found]:
    """What is in a folder and below; links are followed, each real folder once."""
    left_out.add(os.path.realpath(folder))
    try:
        with os.scandir(folder) as entries:
            inside = sorted(folder / entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be listed ({error.strerror}); make it readable") from None
    dicom = False
    for path in inside:
        name = path.name.lower()
        if name.endswith(VOLUME_SUFFIXES) or path.suffix.lower() in IMAGE_SUFFIXES - DICOM_SUFFIXES:
            where = path.relative_to(root)
            yield Found(path, where.parent / stem_of(path.name), _kind(path))
        elif not dicom and _is_dicom(path):
            dicom = True
            yield from _of_series(folder, root, series)
    if not dicom:
        for path in inside:
            if path.is_dir() and os.path.realpath(path) not in left_out:
                yield from _below(path, root, left_out, series)


def _of_series(folder: Path, root: Path, series: str | None) -> Iterator[Found]:
    known = list_series(folder)
    if all(len(info.files) == 1 for info in known):
        for path in sorted(info.files[0] for info in known):
            where = path.relative_to(root)
            yield Found(path, where.parent / stem_of(path.name), "dicom file")
        return
    where = folder.relative_to(root)
    relative = where if where.parts else Path(folder.resolve().name)
    if len(known) == 1:
        yield Found(folder, relative, "dicom series")
    elif series == "all":
        for info in known:
            named = relative.with_name(f"{relative.name}-series{info.number}")
            yield Found(folder, named, "dicom series", str(info.number))
    elif series is None:
        listed = "; ".join(map(str, known))
        raise UserError(
            f"{folder}: holds {len(known)} series; choose one by its number, or all of them (--series all): {listed}"
        )
    else:
        yield Found(folder, relative, "dicom series", series)
