"""Evaluation of masks that lie in a folder, whatever made them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.data import Case, Dataset, Mask, open_dataset, read_mask, read_splits
from glocal.data.readers import IMAGE_SUFFIXES
from glocal.data.resize import image_at, label_at
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES
from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, Evaluation, evaluate, get_policy, get_preset
from glocal.inference._evaluation_folder import require_free, write_folder
from glocal.inference.scoring import scaled_spacing
from glocal.inference.volume_scoring import hold_indices, masked_volumes, require_for_volumes, volumes_of
from glocal.inference.volumes.finding import VOLUME_SUFFIXES

__all__ = ["evaluate_masks"]

_MASK_SUFFIXES = IMAGE_SUFFIXES - DICOM_SUFFIXES  # a DICOM file beside masks is a segmentation object


def evaluate_masks(
    predictions: str | Path,
    data: str | Path,
    *,
    splits: str | Path | None = None,
    split: str = "test",
    preset: str | None = None,
    policy: str = "penalty",
    tolerance: float = 2.0,
    unit: Literal["auto", "px"] = "auto",
    output: str | Path | None = None,
    overwrite: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare masks in a folder with those of a data set, and write the report.

    A mask belongs to the case with its name: the stem of the image, or its path below the data where stems repeat.
    Values are class indices if none is as large as the number of classes, otherwise they mean what they mean in the
    masks of the data set (such as 255); the notes say which. Masks of volumes are compared in three dimensions, each as
    one case.

    Args:
        predictions: Folder of masks; sub-folders are searched, but not those that ``glocal predict`` makes beside.
        data: Folder of the data set.
        splits: A ``splits.json``; with it only the cases of ``split`` are compared. Default: all cases.
        split: ``"train"``, ``"val"`` or ``"test"``.
        preset: As :func:`glocal.inference.evaluate_run`.
        policy: As :func:`glocal.evaluation.evaluate`.
        tolerance: Of NSD, in mm or pixels.
        unit: ``"auto"``: mm where the spacing is known. ``"px"``: pixels.
        output: Folder of the report; default: ``evaluation`` in ``predictions``.
        overwrite: Replace an evaluation that is there.
        progress: Called with (done, all).

    Returns:
        The numbers; the folder of the report is complete, or untouched.

    Raises:
        UserError: A case has no mask or several, a mask cannot be read, has another size or unknown values, or the
            folder cannot be written.
    """
    predictions, folder = Path(predictions), Path(output or Path(predictions) / "evaluation")
    get_policy(policy)
    published = get_preset(preset) if preset is not None else None
    require_free(folder, overwrite)
    dataset = open_dataset(data, task="segmentation")
    cases = dataset.cases if splits is None else dataset.select(read_splits(splits, dataset).part(split))
    if dataset.volumes is None:
        names = {case.id: _names(case) for case in cases}
        paths = _matched(predictions, names, tuple(_MASK_SUFFIXES))
        indices = _hold_indices(paths, len(dataset.classes))
        resolution = published.resolution if published is not None else None
        compared = _compared(paths, dataset, cases, indices, resolution, progress)
    else:
        require_for_volumes(published)
        names = {id: _names(case) for id, case in volumes_of(dataset, cases).items()}
        paths = _matched(predictions, names, VOLUME_SUFFIXES)
        indices = hold_indices(paths, len(dataset.classes))
        compared = masked_volumes(paths, dataset, cases, indices, progress)
    evaluation = evaluate(compared, dataset.classes, policy=policy, tolerance=tolerance, unit=unit, preset=preset)
    meaning = "are class indices" if indices else f"mean what they mean in the masks of {dataset.root}"
    evaluation = dataclasses.replace(evaluation, notes=(f"values of the predictions {meaning}", *evaluation.notes))
    asked = {"predictions": str(predictions), "data": str(dataset.root), "fingerprint": dataset.fingerprint}
    manifest = {"evaluation": {**asked, "split": "all" if splits is None else split}}
    title = f"{predictions.resolve().name} against {dataset.root.resolve().name}"
    write_folder(folder, lambda to: evaluation.write(to, title=title, manifest=manifest))
    return evaluation


def _names(case: Case) -> tuple[str, ...]:
    """What the mask of a case, or of the volume it is a slice of, may be called."""
    if case.volume is not None:
        return case.volume, PurePosixPath(case.volume).name
    return case.id, PurePosixPath(case.id).name, case.image.stem


def _matched(folder: Path, names: Mapping[str, tuple[str, ...]], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The mask of each case by its id, from the names it may have and the endings of masks."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of masks; check --predictions")
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        ending = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)
        if ending is not None and relative.parts[0] not in ("overlays", "evaluation", "probabilities"):
            stem = path.name[: -len(ending)]
            name = (relative.parent / stem).as_posix()
            by_name[name].append(path)
            if name != stem:
                by_name[stem].append(path)
    found, missing = {}, []
    for id, possible in names.items():
        there = next((by_name[name] for name in possible if name in by_name), [])
        if len(there) > 1:
            raise UserError(f"{there[0]} and {there[1]}: both could be the mask of {id}; remove or rename one")
        if there:
            found[id] = there[0]
        else:
            missing.append(id)
    if missing:
        raise UserError(
            f"{folder}: no mask for {len(missing)} of {len(names)} cases ({missing[0]}, …); name masks like the "
            "images, or say which cases are meant (--splits splits.json --split test)"
        )
    return found


def _hold_indices(paths: Mapping[str, Path], classes: int) -> bool:
    """Whether the values of all masks are class indices."""
    for path in paths.values():
        values = read_mask(path).values
        if values.ndim == 3 or int(values.max()) >= classes:
            return False
    return True


def _compared(
    paths: Mapping[str, Path],
    dataset: Dataset,
    cases: Sequence[Case],
    indices: bool,
    resolution: tuple[int, int] | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[EvaluatedCase]:
    grouped = len({case.group for case in dataset.cases}) < len(dataset.cases)
    encoding = dataset.encoding
    assert encoding is not None
    for done, case in enumerate(cases, 1):
        path, mask = paths[case.id], read_mask(paths[case.id])
        truth, picture = dataset.read_label(case), dataset.read_image(case)
        if mask.size != truth.shape:
            raise UserError(
                f"{path}: the mask is {mask.size[1]}x{mask.size[0]} pixels, its image {truth.shape[1]}x"
                f"{truth.shape[0]}; predict at the size of the image"
            )
        size = resolution or picture.size
        image: NDArray[Any] = picture.pixels
        if resolution is not None:
            image = np.moveaxis(image_at(picture, resolution, picture.channels), 0, 2)
        yield EvaluatedCase(
            case.id,
            prediction=label_at(_indices(mask) if indices else encoding.apply(mask, path), size),
            truth=label_at(truth, size),
            group=case.group if grouped else None,
            spacing=scaled_spacing(case.spacing, truth.shape, size),
            image=image,
        )
        if progress is not None:
            progress(done, len(cases))


def _indices(mask: Mask) -> NDArray[np.uint8]:
    return mask.values.astype(np.uint8)
