"""Prediction of volumes as files, one after the other, and the table of their volumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.errors import UserError
from glocal.files import read_text, write_text
from glocal.inference.base import Tiling
from glocal.inference.prediction import save_image, save_mask
from glocal.inference.tta import TTA
from glocal.inference.volumes.dicom_seg import require_segmentable, write_seg
from glocal.inference.volumes.planning import VolumeJob
from glocal.inference.volumes.predicting import VolumePrediction, predict_volume
from glocal.inference.volumes.segments import Segment, segments_of
from glocal.inference.volumes.writers import write_metaimage, write_nifti

if TYPE_CHECKING:
    from glocal.inference.predictor import Predictor

__all__ = ["VolumeResult", "predict_volumes", "write_table"]


@dataclass(frozen=True)
class VolumeResult:
    """What became of one volume."""

    job: VolumeJob
    shape: tuple[int, int, int] | None = None
    """Slices, rows, columns; ``None`` if it could not be predicted."""
    voxels: tuple[int, ...] = ()
    """Voxels of each class."""
    millilitres: tuple[float, ...] | None = None
    """Volume of each class; ``None`` where the spacing is not known."""
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why there is no mask: one line."""


def predict_volumes(
    predictor: Predictor,
    jobs: Sequence[VolumeJob],
    *,
    tta: bool | TTA = False,
    tiling: Tiling = "auto",
    batch_size: int | None = None,
    window: tuple[float, float] | None = None,
    segments: Mapping[str, Segment] | None = None,
    keep_identifiers: bool = False,
    progress: Callable[[VolumeJob, int, int], None] | None = None,
) -> Iterator[VolumeResult]:
    """Predict and write volumes one after the other; what cannot be read is told in its result and left out.

    Args:
        predictor: The network.
        jobs: Of :func:`plan_masks`.
        tta: As :func:`predict_volume`.
        tiling: As :func:`predict_volume`.
        batch_size: As :func:`predict_volume`.
        window: As :func:`predict_volume`.
        segments: Codes of classes in DICOM segmentations, where the user has their own.
        keep_identifiers: As :func:`~glocal.inference.volumes.dicom_seg.write_seg`.
        progress: Called with a job and its slices: done, all.

    Returns:
        One result for each job, in their order, when its files are written.

    Raises:
        UserError: A file cannot be written; or ``segments`` name unknown classes. What was written before is whole.
    """
    described = segments_of(predictor.classes, segments)
    for job in jobs:
        try:
            file = job.open()
            if job.format == "seg":
                require_segmentable(file)
            if job.format == "png" and len(file) > 1:
                raise UserError(f"{job.image}: {len(file)} slices do not fit in a PNG; use --format nifti")
            made = predict_volume(
                predictor,
                file,
                tta=tta,
                tiling=tiling,
                batch_size=batch_size,
                window=window,
                probabilities=job.probabilities,
                scratch=job.mask.parent,
                progress=None if progress is None else partial(progress, job),
            )
        except UserError as error:
            yield VolumeResult(job, error=str(error))
            continue
        notes = _write(job, made, described, predictor.record.name, keep_identifiers)
        yield VolumeResult(job, file.shape, made.voxels, made.millilitres, (*made.notes, *notes))


def _write(
    job: VolumeJob, made: VolumePrediction, segments: Sequence[Segment], network: str, keep_identifiers: bool
) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if job.format == "seg":
        notes = write_seg(made.mask, made.file, segments, job.mask, network=network, keep_identifiers=keep_identifiers)
    elif job.format == "mha":
        write_metaimage(made.mask, made.file, job.mask)
    elif job.format == "png":
        save_mask(made.mask[0], job.mask)
    else:
        write_nifti(made.planes(), made.file, job.mask)
    if job.overlay is not None:
        save_image(made.overlay(), job.overlay)
    return notes


def write_table(
    path: Path, results: Sequence[VolumeResult], classes: Sequence[str], *, keep_rows: bool = False
) -> None:
    """Write the volume of every class in every image as CSV: image, mask, class, voxels, ml.

    Args:
        path: Of the table.
        results: Those with an error are left out.
        classes: Names, the background first, which is left out.
        keep_rows: Keep what the table says of other masks.

    Raises:
        UserError: It cannot be written, or a table that is there is not one of these.
    """
    header = ["image", "mask", "class", "voxels", "ml"]
    rows = []
    if keep_rows and path.exists():
        there = list(csv.reader(io.StringIO(read_text(path))))
        if not there or there[0] != header:
            raise UserError(f"{path}: not a table of volumes; move it away")
        new = {str(result.job.mask) for result in results}
        rows = [row for row in there[1:] if row[1] not in new]
    for result in results:
        for k in range(1, len(classes)) if result.error is None else ():
            ml = "" if result.millilitres is None else f"{result.millilitres[k]:.6g}"
            rows.append([str(result.job.image), str(result.job.mask), classes[k], str(result.voxels[k]), ml])
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_text(path, text.getvalue())
