"""Prediction of files: which output belongs to which input, decided before anything is computed; then written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glocal.data.readers import IMAGE_SUFFIXES
from glocal.errors import UserError
from glocal.inference._ahead import ahead
from glocal.inference.prediction import Prediction, save_image

if TYPE_CHECKING:
    from glocal.inference.predictor import Predictor, Tiling
    from glocal.inference.tta import TTA

__all__ = [
    "FileJob",
    "FileResult",
    "find_images",
    "plan_files",
    "plan_outputs",
    "predict_files",
    "require_folder",
    "require_free",
]


@dataclass(frozen=True)
class FileJob:
    """One image and what is written of it."""

    image: Path
    mask: Path
    overlay: Path | None = None
    probabilities: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that are written."""
        return tuple(path for path in (self.mask, self.overlay, self.probabilities) if path is not None)


@dataclass(frozen=True)
class FileResult:
    """What became of one image."""

    job: FileJob
    size: tuple[int, int] | None = None
    """Height and width in pixels; ``None`` if the image could not be read."""
    pixels: tuple[int, ...] = ()
    """Pixels of each class."""
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why there is no mask: one line."""


def plan_files(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
) -> list[FileJob]:
    """Decide what is written where, and refuse what would lose something.

    The mask of ``x.jpg`` is ``output/x.png``. A folder stands for the images in it and below, known by their endings;
    its sub-folders are kept. Hidden files, and ``output`` if it lies inside, are left out. Overlays go to
    ``output/overlays``, probabilities to ``output/probabilities``.

    Args:
        inputs: Files and folders. A file named twice is taken once.
        output: Folder of the masks.
        overlay: Also draw overlays.
        probabilities: Also write probabilities.
        overwrite: Replace files that are there. An image is never replaced.

    Raises:
        UserError: A folder without images, two images whose masks would have one name, a mask that would replace an
            image or, without ``overwrite``, any file; or ``output`` cannot be a folder.
    """
    output = Path(output)
    jobs = []
    for mask, image in plan_outputs(inputs, output, "mask").items():
        relative = mask.relative_to(output)
        jobs.append(
            FileJob(
                image,
                mask,
                output / "overlays" / relative if overlay else None,
                output / "probabilities" / relative.parent / f"{relative.stem}.npz" if probabilities else None,
            )
        )
    require_free([job.image for job in jobs], [path for job in jobs for path in job.outputs], "mask", overwrite)
    return jobs


def plan_outputs(inputs: Sequence[str | Path], output: Path, what: str, suffix: str = ".png") -> dict[Path, Path]:
    """The file made of each image, beside the image: that of ``x.jpg`` is ``output/x.png``.

    Args:
        inputs: Files and folders, as :func:`find_images`. A file named twice is taken once.
        output: Where the files go.
        what: What they are, in the singular.
        suffix: Of their names.

    Raises:
        UserError: Two images whose files would have one name; or as :func:`find_images` and :func:`require_folder`.
    """
    require_folder(output, f"{what}s")
    taken: dict[Path, Path] = {}
    for image, relative in find_images(inputs, output):
        made = output / relative.parent / f"{relative.stem}{suffix}"
        other = taken.setdefault(made, image)
        if not _same(other, image):
            raise UserError(
                f"{image}: its {what} would have the name of that of {other} ({made}); rename one of them, or write "
                "them into two folders (--output)"
            )
    return taken


def require_folder(folder: Path, what: str) -> None:
    """Refuse a folder that is none, or in which nothing may be made; it need not be there yet.

    Args:
        folder: Where files will be written.
        what: What they are, in the plural.

    Raises:
        UserError: It, or what is there of its path, is no folder or may not be written.
    """
    present = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not present.is_dir():
        raise UserError(f"{present}: not a folder, so {what} cannot go to {folder}; choose another --output")
    if not os.access(present, os.W_OK | os.X_OK):
        raise UserError(f"{present}: no permission to write there; choose another --output")


def find_images(inputs: Sequence[str | Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Every image of files and folders, and its place relative to the folder it was named by.

    Folders are searched with their sub-folders for files with the endings of images; hidden ones and ``output`` are
    left out.

    Raises:
        UserError: A folder without images, or one that cannot be listed.
    """
    for given in map(Path, inputs):
        if not given.is_dir():
            yield given, Path(given.name)
            continue
        found = sorted(_below(given, {os.path.realpath(output)}))
        if not found:
            raise UserError(f"{given}: no images in this folder or below (PNG, JPEG, TIFF, BMP, …); name another")
        for path in found:
            yield path, path.relative_to(given)


def _below(folder: Path, left_out: set[str]) -> Iterator[Path]:
    """Images in a folder and below; links are followed, each real folder once."""
    left_out.add(os.path.realpath(folder))
    try:
        with os.scandir(folder) as entries:
            inside = [folder / entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be listed ({error.strerror}); make it readable") from None
    for path in inside:
        if path.suffix.lower() in IMAGE_SUFFIXES:  # also a folder or a pipe: reading it says what is wrong
            yield path
        elif path.is_dir() and os.path.realpath(path) not in left_out:
            yield from _below(path, left_out)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def require_free(images: Sequence[Path], outputs: Sequence[Path], what: str, overwrite: bool) -> None:
    """Refuse to write what would replace an image or, unless ``overwrite``, any file.

    Args:
        images: What is read.
        outputs: What would be written.
        what: What it is, in the singular.
        overwrite: Files that are there may be replaced.

    Raises:
        UserError: Something would be lost.
    """
    real = {os.path.realpath(image) for image in images}
    there, seen = [], set[Path]()
    for path in outputs:
        if path in seen:
            raise UserError(f"{path}: a {what} and an overlay would have this name; rename the input folder 'overlays'")
        seen.add(path)
        if os.path.realpath(path) in real:
            raise UserError(f"{path}: the {what} would replace the image; choose another --output")
        if os.path.lexists(path):
            there.append(path)
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(f"{there[0]}{more}: already there; --overwrite replaces them, or choose another --output")


def predict_files(
    predictor: Predictor,
    jobs: Sequence[FileJob],
    *,
    tta: bool | TTA = False,
    tiling: Tiling = "auto",
    batch_size: int | None = None,
) -> Iterator[FileResult]:
    """Predict and write files while the next are read; what cannot be read is told in its result and left out.

    Args:
        predictor: The network.
        jobs: Of :func:`plan_files`.
        tta: As :meth:`Predictor.__call__`.
        tiling: As :meth:`Predictor.__call__`.
        batch_size: As :meth:`Predictor.outcomes`.

    Returns:
        One result for each job, in their order, when its files are written.

    Raises:
        UserError: A file cannot be written, or as :meth:`Predictor.outcomes`. What was written before is whole.
    """
    outcomes = predictor.outcomes([job.image for job in jobs], tta=tta, tiling=tiling, batch_size=batch_size)
    workers = 1 if predictor.device.type == "cpu" else 4
    return ahead(lambda pair: _written(*pair), zip(jobs, outcomes, strict=True), workers, 2 * workers)


def _written(job: FileJob, outcome: Prediction | UserError) -> FileResult:
    if isinstance(outcome, UserError):
        return FileResult(job, error=str(outcome))
    outcome.save(job.mask)
    if job.overlay is not None:
        save_image(outcome.overlay(), job.overlay)
    if job.probabilities is not None:
        outcome.save_probabilities(job.probabilities)
    pixels = np.bincount(outcome.mask.ravel(), minlength=len(outcome.classes))
    return FileResult(job, outcome.size, tuple(pixels.tolist()), outcome.notes)
