"""The part of ``glocal predict`` that is about volumes: its options, its bar, and what is printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.inference import Predictor
    from glocal.inference.volumes import VolumeJob, VolumeResult

__all__ = [
    "add_volume_options",
    "print_volumes",
    "refuse_idle_options",
    "refuse_volume_options",
    "segment_volumes",
    "volume_facts",
]

_OPTIONS = ("postprocess", "format", "series", "key", "window", "segments", "keep_identifiers", "skip_existing")
_ARRAYS = (".npz", ".h5", ".hdf5", ".hdf")
"""Endings of files with several arrays."""


def add_volume_options(parser: Parser) -> None:
    """Add what goes with volumes and DICOM alone."""
    parser.add_argument(
        "--format",
        type=Literal["auto", "nifti", "mha", "seg", "png"],
        default="auto",
        help="of the masks of volumes and DICOM: as the input where it can be, else NIfTI (auto); seg: DICOM SEG",
    )
    parser.add_argument(
        "--series", type=str, metavar="N", help="of a folder with several DICOM series: a number, a UID, or all"
    )
    parser.add_argument("--key", type=str, help="of an NPZ or HDF5 file with several arrays: the name of one")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="for a model of pictures: the values of a volume that are shown to it as black and white",
    )
    parser.add_argument(
        "--segments", type=str, metavar="FILE", help="JSON with your own codes of the classes for DICOM SEG"
    )
    parser.add_argument(
        "--keep_identifiers",
        action="store_true",
        help="copy name and number of the patient into DICOM SEG; otherwise they stay empty",
    )


def refuse_volume_options(given: Any, usual: Any) -> None:
    """Refuse of a classifier what goes with a segmentation.

    Raises:
        UserError: Such an option is given.
    """
    for name in _OPTIONS:
        if given[name] != usual[name]:
            raise UserError(f"--{name} goes with a segmentation, and {given.run} is a classifier; leave it out")


def refuse_idle_options(given: Any, jobs: Sequence[VolumeJob]) -> None:
    """Refuse options that would do nothing to what is segmented; what ``--skip_existing`` leaves out is not looked at.

    Raises:
        UserError: Such an option is given.
    """
    if given.skip_existing:
        return
    arrays = any(job.image.suffix.lower() in _ARRAYS for job in jobs)
    segmentations = any(job.format == "seg" for job in jobs)
    for name, used, what in (
        ("key", arrays, "NPZ or HDF5 files"),
        ("window", bool(jobs), "volumes or DICOM"),
        ("segments", segmentations, "DICOM segmentations (--format seg)"),
        ("keep_identifiers", segmentations, "DICOM segmentations (--format seg)"),
    ):
        if given[name] and not used:
            raise UserError(f"--{name} goes with {what}, and there are none; leave it out")


def segment_volumes(
    predictor: Predictor, jobs: Sequence[VolumeJob], given: Any, seen: Mapping[str, Any]
) -> list[VolumeResult]:
    """Predict and write volumes with a bar over their slices, errors said at once, then the table of volumes.

    Raises:
        UserError: A file cannot be written.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from glocal.inference.volumes import TABLE, predict_volumes, read_segments, write_table

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("slices", total=None)
        place = {job: number for number, job in enumerate(jobs, 1)}

        def progress(job: VolumeJob, done: int, total: int) -> None:
            which = f"volume {place[job]} of {len(jobs)}, slices" if len(jobs) > 1 else "slices"
            bar.update(task, description=which, completed=done, total=total)

        results = []
        for result in predict_volumes(
            predictor,
            jobs,
            **seen,
            window=None if given.window is None else (given.window[0], given.window[1]),
            segments=None if given.segments is None else read_segments(given.segments),
            keep_identifiers=given.keep_identifiers,
            progress=progress,
        ):
            if result.error is not None and len(jobs) > 1:
                bar.console.out(f"glocal: {result.error}", highlight=False)
            results.append(result)
    folder = Path(given.output)
    if folder.is_dir() and any(result.error is None for result in results):
        write_table(folder / TABLE, results, predictor.classes, keep_rows=given.skip_existing)
    return results


def print_volumes(results: Sequence[VolumeResult], classes: Sequence[str]) -> None:
    """What was done to each volume on stderr, and how large its classes are on stdout."""
    for result in results:
        if result.error is not None:
            continue
        for note in result.notes:
            print(f"{result.job.image}: {note}", file=sys.stderr)
        sizes = [
            f"{name} {result.voxels[k]} voxels"
            if result.millilitres is None
            else f"{name} {result.millilitres[k]:.4g} mL"
            for k, name in enumerate(classes)
            if k
        ]
        print(f"{result.job.mask}: {', '.join(sizes)}")


def volume_facts(result: VolumeResult, classes: Sequence[str]) -> dict[str, Any]:
    """What became of a volume as JSON values."""
    job = result.job
    if result.error is not None:
        return {"image": str(job.image), "error": result.error}
    ml = result.millilitres
    return {
        "image": str(job.image),
        "mask": str(job.mask),
        "format": job.format,
        "overlay": None if job.overlay is None else str(job.overlay),
        "probabilities": None if job.probabilities is None else str(job.probabilities),
        "shape": list(result.shape or ()),
        "voxels": dict(zip(classes, result.voxels, strict=True)),
        "millilitres": None if ml is None else {name: round(value, 6) for name, value in zip(classes, ml, strict=True)},
        "notes": list(result.notes),
    }
