"""Volumes predicted and compared with the truth as a whole, at the size and spacing of their files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.data import Case, Dataset
from glocal.data.intensity import Intensity
from glocal.data.slices import StoredVolume, class_indices, grid_problem, united_labels
from glocal.data.volumes import Volume, VolumeFile, open_volume, read_labels, reorient
from glocal.errors import UserError, counted
from glocal.evaluation import EvaluatedCase, Preset
from glocal.inference.predictor import Predictor
from glocal.inference.spline import spline_volume
from glocal.inference.volumes.predicting import predict_volume

__all__ = [
    "compared_volume",
    "hold_indices",
    "masked_volumes",
    "predicted_volumes",
    "require_for_volumes",
    "volumes_of",
]

log = logging.getLogger("glocal")

_SHOWN = {"I": "LP", "S": "LP", "A": "LI", "P": "LI", "L": "PI", "R": "PI"}
"""By the axis from slice to slice: where a slice as it is displayed has its right and its lower side."""


def require_for_volumes(preset: Preset | None) -> None:
    """Refuse a published evaluation of pictures.

    Raises:
        UserError: It is one.
    """
    if preset is not None and not preset.volumes:
        raise UserError(f"preset {preset.name!r} evaluates pictures, and these are volumes; leave --preset out")


def volumes_of(dataset: Dataset, cases: Sequence[Case]) -> dict[str, Case]:
    """The volumes that some slices are of, in their order, each with its first slice."""
    assert dataset.volumes is not None
    found: dict[str, Case] = {}
    for case in cases:
        if case.volume is not None:
            found.setdefault(case.volume, case)
    return found


def predicted_volumes(
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    grouped: bool,
    preset: Preset | None,
    tiling: Any,
    progress: Callable[[int, int], None] | None,
    **seen: Any,
) -> Iterator[EvaluatedCase]:
    """The volumes that ``cases`` are slices of with their predictions, one at a time, at the size of their files.

    Each slice is predicted at the size of the network; its scores are resized to the slice, the highest wins, and what
    the model knows of post-processing is done in three dimensions; so masks are those of ``glocal predict``.

    Args:
        predictor: The network.
        dataset: Of volumes.
        cases: Slices.
        grouped: Tell which volumes belong together.
        preset: With ``resizing`` "spline" slices and masks are resized as published.
        tiling: As :class:`Predictor`.
        progress: Called with slices (done, all).
        seen: ``tta`` and ``batch_size``.

    Raises:
        UserError: A volume cannot be read, or not be seen as the model has to.
    """
    assert dataset.volumes is not None
    if (intensity := predictor.record.preprocessing.intensity) is not None:  # for the pictures of the report
        dataset = replace(dataset, volumes=dataset.volumes.seen(Intensity.from_json(intensity)))
    assert dataset.volumes is not None
    chosen = volumes_of(dataset, cases)
    total = sum(dataset.volumes.volumes[id].shape[0] for id in chosen)
    done = 0
    notes: Counter[str] = Counter()
    for id, case in chosen.items():
        stored = dataset.volumes.volumes[id]
        file = open_volume(stored.image)
        before = done
        if preset is not None and preset.resizing == "spline":
            mask = spline_volume(predictor, file, **seen)
        else:

            def tell(slices: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + slices, total)

            prediction = predict_volume(predictor, file, tiling=tiling, progress=tell, **seen)
            mask = prediction.mask
            notes.update(prediction.notes)
        yield compared_volume(dataset, stored, file, mask, case.group if grouped else None)
        done += len(file)
        if progress is not None:
            progress(done, total)
    for note, count in notes.most_common():
        log.info("%s: %s", counted(count, "volume"), note)


def compared_volume(
    dataset: Dataset, stored: StoredVolume, file: VolumeFile, mask: NDArray[np.uint8], group: str | None
) -> EvaluatedCase:
    """A mask of a volume beside the truth; both, and the volume, with slices turned as they are displayed.

    Args:
        dataset: Which knows what mask values mean.
        stored: The volume.
        file: The same on disk, not turned.
        mask: Class indices ``(D, H, W)`` on the stored axes.
        group: Of the volume.

    Raises:
        UserError: The truth or the volume cannot be read.
    """
    encoding, volumes = dataset.encoding, dataset.volumes
    assert encoding is not None
    assert volumes is not None
    truth = united_labels(stored, file.shape, encoding)
    limits = volumes.intensity.limits(file)
    image = np.empty((*file.shape, *((3,) if file.channels == 3 else ())), np.uint8)
    for k, plane in enumerate(file.slices()):
        image[k] = np.rint(Intensity().unit(plane, limits) * 255)
    codes = file.orientation and _SHOWN[file.orientation[2]] + file.orientation[2]
    turned = [_turned(values, file, codes) for values in (np.asarray(mask), truth, image)]
    spacing = turned[0].spacing
    return EvaluatedCase(
        stored.id,
        prediction=turned[0].values,
        truth=turned[1].values,
        group=group,
        spacing=spacing,
        image=turned[2].values,
    )


def _turned(values: NDArray[Any], file: VolumeFile, codes: str | None) -> Volume:
    volume = Volume(values, file.affine, file.has_geometry)
    return volume if codes is None else reorient(volume, codes)


def hold_indices(paths: Mapping[str, Path], classes: int) -> bool:
    """Whether the values of all masks of volumes are class indices.

    Raises:
        UserError: One cannot be read.
    """
    return all(int(read_labels(path, require_geometry=False).values.max()) < classes for path in paths.values())


def masked_volumes(
    paths: Mapping[str, Path],
    dataset: Dataset,
    cases: Sequence[Case],
    indices: bool,
    progress: Callable[[int, int], None] | None,
) -> Iterator[EvaluatedCase]:
    """The volumes that ``cases`` are slices of, with masks that are there, one at a time.

    Args:
        paths: The mask of each volume.
        dataset: Of volumes.
        cases: Slices.
        indices: The values of the masks are class indices.
        progress: Called with volumes (done, all).

    Raises:
        UserError: A mask does not lie on its volume, or holds unknown values.
    """
    assert dataset.volumes is not None
    chosen = volumes_of(dataset, cases)
    grouped = len({case.group for case in dataset.cases}) < len(dataset.volumes.volumes)
    for done, (id, case) in enumerate(chosen.items(), 1):
        stored = dataset.volumes.volumes[id]
        file = open_volume(stored.image)
        mask = _mask_on(file, paths[id], dataset, indices)
        yield compared_volume(dataset, stored, file, mask, case.group if grouped else None)
        if progress is not None:
            progress(done, len(chosen))


def _mask_on(file: VolumeFile, path: Path, dataset: Dataset, indices: bool) -> NDArray[np.uint8]:
    """Class indices of a mask along the axes of its volume; one that knows no position is taken voxel by voxel."""
    labels = read_labels(path, require_geometry=False)
    known = labels.has_geometry and not np.allclose(np.abs(labels.affine), np.eye(4))
    if known and file.has_geometry and labels.orientation != file.orientation:
        labels = read_labels(path, codes=file.orientation)
    wrong = grid_problem(file, labels)
    if wrong is not None and (known or labels.shape != file.shape):
        raise UserError(wrong)
    if wrong is not None:
        log.warning("%s: it does not say where its voxels are; taken voxel by voxel for those of its volume", path)
    if indices:
        return labels.values.astype(np.uint8)
    assert dataset.encoding is not None
    return class_indices(labels, dataset.encoding)
