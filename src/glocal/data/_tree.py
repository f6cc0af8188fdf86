"""What files a folder holds, and what the names of its sub-folders say about them."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from glocal.data.readers import IMAGE_SUFFIXES
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES, begins_one_series
from glocal.errors import UserError

__all__ = [
    "VOLUME_SUFFIXES",
    "File",
    "Listing",
    "Part",
    "Place",
    "list_files",
    "natural",
    "place",
    "split_named",
    "words",
]

Part: TypeAlias = Literal["train", "val", "test"]

_VOLUMES = (
    *(".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr"),
    *(".npz", ".npy", ".h5", ".hdf5", ".mat"),
)
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
"""Endings, in lower case, of files that hold one volume each."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_DEEPEST = 12

_MASK_WORDS = frozenset(
    (
        *("mask", "masks", "label", "labels", "annotation", "annotations", "gt", "gts", "groundtruth", "groundtruths"),
        *("truth", "truths", "segmentation", "segmentations", "seg", "segs", "manual", "target", "targets"),
        *("segmentationclass", "labelstr", "labelsts"),
    )
)
_IMAGE_WORDS = frozenset(
    (
        "image",
        "images",
        "img",
        "imgs",
        "input",
        "inputs",
        "scan",
        "scans",
        "picture",
        "pictures",
        "original",
        *("jpegimages", "imagestr", "imagests"),
    )
)
_PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "traindataset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testdataset"), "test"),
}
_NNUNET: dict[str, Part] = {"imagestr": "train", "labelstr": "train", "imagests": "test", "labelsts": "test"}
_FILLERS = frozenset({"set", "data", "dataset", "split"})


@dataclass(frozen=True)
class File:
    """A file taken for an image by its ending."""

    path: Path
    folders: tuple[str, ...]
    """Folders between the root and the file."""
    stem: str


@dataclass
class Listing:
    """What a folder holds, files in natural order."""

    root: Path
    files: list[File] = field(default_factory=list)
    volumes: Counter[str] = field(default_factory=Counter)
    """Files that are no pictures, by their ending."""
    volume_files: list[File] = field(default_factory=list)
    """Files that hold a volume each, and folders that hold a DICOM series."""
    series: set[Path] = field(default_factory=set)
    pictures: set[Path] = field(default_factory=set)
    """Folders whose DICOM files are pictures."""
    """The folders among them."""
    archives: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    hidden: int = 0
    """Hidden files and folders, and what file managers leave."""
    repeated: list[Path] = field(default_factory=list)
    """Links to folders that are listed under another name."""


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that puts ``x2`` before ``x10``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", text)]


def list_files(root: Path) -> Listing:
    """List a folder and all below it, following links, each real folder once.

    Raises:
        UserError: The folder is missing, a file, or it or a folder below cannot be listed.
    """
    if root.is_symlink() and not root.exists():
        raise UserError(f"{root}: the link points to nothing; restore the folder it names")
    if not root.exists():
        raise UserError(f"{root}: no such folder; check the path")
    if not root.is_dir():
        raise UserError(f"{root}: this is a file where the folder of a data set is expected; name the folder")
    listing = Listing(root)
    _list(root, (), listing, set())
    for files in (listing.files, listing.volume_files):
        files.sort(key=lambda file: [natural(part) for part in (*file.folders, file.path.name)])
    return listing


def _list(folder: Path, folders: tuple[str, ...], listing: Listing, seen: set[str]) -> None:
    real = os.path.realpath(folder)
    if real in seen:
        listing.repeated.append(folder)
        return
    seen.add(real)
    if len(folders) > _DEEPEST:
        raise UserError(
            f"{folder}: folders are nested more than {_DEEPEST} deep; name the folder of the data set itself"
        )
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be listed ({error.strerror}); make it readable") from None
    for entry in inside:
        path, name = folder / entry.name, entry.name.lower()
        if name.startswith(".") or name in _CLUTTER:
            listing.hidden += 1
        elif path.suffix.lower() in DICOM_SUFFIXES and _is_series(folder, folders, listing):
            listing.volumes[path.suffix.lower()] += 1
            _add_volume(path, folders, path.suffix.lower(), listing)
        elif path.suffix.lower() in IMAGE_SUFFIXES:  # also a folder or a pipe: reading it says what is wrong
            listing.files.append(File(path, folders, _printable(path.stem)))
        elif _is_folder(entry):
            _list(path, (*folders, _printable(entry.name)), listing, seen)
        elif volume := next((suffix for suffix in _VOLUMES if name.endswith(suffix)), None):
            listing.volumes[volume] += 1
            _add_volume(path, folders, volume, listing)
        elif name.endswith(_ARCHIVES):
            listing.archives.append(path)
        else:
            listing.other.append(path)


def _add_volume(path: Path, folders: tuple[str, ...], suffix: str, listing: Listing) -> None:
    """Take a file for a volume, or the folder of a DICOM file for a series, once."""
    if suffix in VOLUME_SUFFIXES:
        listing.volume_files.append(File(path, folders, _printable(path.name[: -len(suffix)])))
    elif suffix in DICOM_SUFFIXES and path.parent not in listing.series:
        listing.series.add(path.parent)
        listing.volume_files.append(File(path.parent, folders[:-1], folders[-1]))


def _is_series(folder: Path, folders: tuple[str, ...], listing: Listing) -> bool:
    """Whether DICOM files there are slices, not pictures.

    They are in a folder of their own below ``images/``, and elsewhere if the first two are of one series. Files in
    ``images/`` itself are pictures.
    """
    if folder in listing.series:
        return True
    if folder in listing.pictures or not folders or _role(folders[-1]) is not None:
        return False
    named = split_named(folders[-1]) is None and any(_role(name) for name in folders[:-1])
    if named or begins_one_series(folder):
        return True
    listing.pictures.add(folder)
    return False


def _printable(name: str) -> str:
    """A name that can be written as UTF-8, also where the file system holds other bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that runs in a circle
        return False


def words(name: str) -> list[str]:
    """``"ISIC_Training_GroundTruth"`` -> ``["isic", "training", "groundtruth"]``."""
    return re.findall(r"[a-z]+|[0-9]+", name.lower())


def split_named(name: str) -> Part | None:
    """The part of a split that a folder or a table cell names by itself: ``"train"``, ``"Test set"``."""
    meaningful = [word for word in words(name) if word not in _FILLERS]
    return _PARTS.get(meaningful[0]) if len(meaningful) == 1 else None


def _role(folder: str) -> Literal["image", "mask"] | None:
    inside = words(folder)
    if any(word in _MASK_WORDS for word in inside):
        return "mask"
    if any(word in _IMAGE_WORDS for word in inside):
        return "image"
    of_a_part = split_named(folder) is None and any(word in _PARTS for word in inside)
    return "image" if of_a_part and inside[-1] == "data" else None  # ISBI2016_ISIC_Part1_Training_Data


@dataclass(frozen=True)
class Place:
    """What the folders above a file say about it."""

    role: Literal["image", "mask"] | None
    role_folder: str
    """The folder that says so."""
    split: Part | None
    rest: tuple[str, ...]
    """The other folders."""


def place(folders: tuple[str, ...]) -> Place:
    """Tell images from masks, and the parts of a ready-made split, by folder names."""
    role: Literal["image", "mask"] | None = None
    role_folder = ""
    split: Part | None = None
    rest: list[str] = []
    for folder in folders:
        here, part = _role(folder), split_named(folder)
        if here is not None:
            role, role_folder = here, folder
            part = part or _NNUNET.get(folder.lower())
            part = part or next((_PARTS[word] for word in words(folder) if word in _PARTS), None)
        split = part or split
        if here is None and part is None:
            rest.append(folder)
    return Place(role, role_folder, split, tuple(rest))
