"""Where the mask of everything that a user names goes, decided before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from glocal.data.volumes import VolumeFile, open_volume
from glocal.errors import UserError
from glocal.inference.files import FileJob, require_folder, require_free
from glocal.inference.volumes.finding import Found, find
from glocal.inference.volumes.writers import NIFTI

__all__ = ["TABLE", "Format", "VolumeJob", "plan_masks"]

Format: TypeAlias = Literal["auto", "nifti", "mha", "seg", "png"]
_ENDINGS: Mapping[str, Format] = {**dict.fromkeys(NIFTI, "nifti"), ".mha": "mha", ".dcm": "seg", ".png": "png"}
_SUFFIX: Mapping[str, str] = {"nifti": ".nii.gz", "mha": ".mha", "seg": ".dcm", "png": ".png"}

TABLE = "volumes.csv"
"""Name of the table of volumes beside the masks."""


@dataclass(frozen=True)
class VolumeJob:
    """One volume and what is written of it."""

    image: Path
    """A file, or the folder of a DICOM series."""
    mask: Path
    format: Format
    overlay: Path | None = None
    probabilities: Path | None = None
    series: str | None = None
    key: str | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that are written."""
        return tuple(path for path in (self.mask, self.overlay, self.probabilities) if path is not None)

    def open(self) -> VolumeFile:
        """The volume.

        Raises:
            UserError: It cannot be read.
        """
        return open_volume(self.image, series=self.series, key=self.key)


@dataclass(frozen=True)
class _Asked:
    """What is written, as asked for."""

    folder: Path
    format: Format = "auto"
    overlay: bool = False
    probabilities: bool = False


def plan_masks(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    format: Format = "auto",
    overlay: bool = False,
    probabilities: bool = False,
    series: str | None = None,
    key: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> tuple[list[FileJob], list[VolumeJob]]:
    """Decide what is written where, and refuse what would lose something or cannot be written.

    The mask of a picture ``x.jpg`` is ``output/x.png``; of a volume ``x.nii.gz``, of a MetaImage or NRRD ``x.mha``, of
    a DICOM series ``FOLDER.nii.gz`` and of a DICOM file with one frame ``x.png``, unless ``format`` says otherwise.
    Where a single volume is named, ``output`` may be the file itself, which its ending tells.

    Args:
        inputs: Files and folders, as :func:`~glocal.inference.volumes.finding.find`. A file named twice is taken once.
        output: Folder of the masks, or the file of one.
        format: Of the masks of volumes and DICOM images.
        overlay: Also draw overlays, of volumes that of the slice in the middle, in ``output/overlays``.
        probabilities: Also write probabilities, in ``output/probabilities``.
        series: Of folders with several DICOM series, which; or ``"all"``.
        key: Of files with several arrays, which.
        overwrite: Replace files that are there. An image is never replaced.
        skip_existing: Leave out what has a mask already.

    Returns:
        Pictures, and volumes.

    Raises:
        UserError: Nothing to segment, two masks of one name, a format that an image cannot have, a mask that would
            replace an image or, without ``overwrite``, any file; or ``output`` cannot be written.
    """
    if format not in get_args(Format):
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(get_args(Format))}")
    output = Path(output)
    file = _as_file(output)
    asked = _Asked(output.parent if file else output, _ENDINGS[file] if file else format, overlay, probabilities)
    if file and format not in ("auto", asked.format):
        raise UserError(f"{output}: ends in {file}, which is not --format {format}; leave one of the two out")
    require_folder(asked.folder, "masks")
    found = _once(find(inputs, output, series=series))
    if file and len(found) > 1:
        raise UserError(f"{output}: names one file, and there are {len(found)} images; name a folder")
    pictures = [_picture(one, asked) for one in found if one.kind == "picture"]
    volumes = [_volume(one, asked, output if file else None, key) for one in found if one.kind != "picture"]
    _refuse_twins([*pictures, *volumes])
    if skip_existing:
        pictures = [job for job in pictures if not job.mask.exists()]
        volumes = [job for job in volumes if not job.mask.exists()]
    outputs = [path for job in pictures for path in job.outputs] + [path for job in volumes for path in job.outputs]
    require_free([one.path for one in found], outputs, "mask", overwrite)
    if volumes and not file and not skip_existing:
        require_free([], [asked.folder / TABLE], "table", overwrite)
    return pictures, volumes


def _once(found: Iterable[Found]) -> list[Found]:
    """Leave out what was named before."""
    return list({(one.path.resolve(), one.series): one for one in found}.values())


def _refuse_twins(jobs: Sequence[FileJob | VolumeJob]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.mask in taken:
            raise UserError(
                f"{job.image}: its mask would have the name of that of {taken[job.mask]} ({job.mask}); rename one of "
                "them, or write them into two folders (--output)"
            )
        taken[job.mask] = job.image


def _as_file(output: Path) -> str | None:
    """The ending of an output that is a file rather than a folder."""
    if output.is_dir():
        return None
    return next((ending for ending in _ENDINGS if output.name.lower().endswith(ending)), None)


def _beside(mask: Path, what: str, folder: Path, stem: str, suffix: str) -> Path:
    return folder / what / mask.parent.relative_to(folder) / f"{stem}{suffix}"


def _picture(found: Found, asked: _Asked) -> FileJob:
    if asked.format not in ("auto", "png"):
        raise UserError(
            f"{found.path}: the mask of a picture is a PNG, not {asked.format}; leave --format out, or name volumes"
        )
    mask = asked.folder / found.relative.with_name(f"{found.relative.name}.png")
    overlay = _beside(mask, "overlays", asked.folder, found.relative.name, ".png") if asked.overlay else None
    maps = _beside(mask, "probabilities", asked.folder, found.relative.name, ".npz") if asked.probabilities else None
    return FileJob(found.path, mask, overlay, maps)


def _volume(found: Found, asked: _Asked, file: Path | None, key: str | None) -> VolumeJob:
    if asked.format == "seg" and not found.kind.startswith("dicom"):
        raise UserError(f"{found.path}: a DICOM segmentation refers to DICOM images, and this is none; use nifti")
    name = found.relative.name
    format, suffix = asked.format, _SUFFIX.get(asked.format, "")
    if format == "auto":
        format, suffix = _usual(found)
    mask = file or asked.folder / found.relative.with_name(f"{name}{suffix}")
    overlay = _beside(mask, "overlays", asked.folder, name, ".png") if asked.overlay else None
    maps = _beside(mask, "probabilities", asked.folder, name, ".npy") if asked.probabilities else None
    return VolumeJob(found.path, mask, format, overlay, maps, found.series, key)


def _usual(found: Found) -> tuple[Format, str]:
    """The format of the mask of an image, where none is asked for."""
    name = found.path.name.lower()
    if name.endswith((".mha", ".mhd", ".nrrd", ".nhdr")):
        return "mha", ".mha"
    if found.kind == "dicom file" and _has_one_frame(found.path):
        return "png", ".png"
    return "nifti", ".nii" if name.endswith(".nii") else ".nii.gz"


def _has_one_frame(path: Path) -> bool:
    try:
        return len(open_volume(path, require_geometry=False)) == 1
    except UserError:
        return True  # told when it is its turn
