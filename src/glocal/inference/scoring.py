"""Evaluation of a run on one of its splits, or on other data."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.data import Dataset, open_dataset
from glocal.data.readers import Picture
from glocal.data.resize import image_at, label_at
from glocal.errors import UserError, counted
from glocal.evaluation import (
    ClassificationEvaluation,
    EvaluatedCase,
    Evaluation,
    Preset,
    evaluate,
    get_classification_preset,
    get_policy,
    get_preset,
)
from glocal.inference._ahead import ahead
from glocal.inference._evaluation_folder import require_free, write_folder
from glocal.inference._run_plan import SPLITS, Plan, Progress, evaluation_folder, history, open_plan, title_of
from glocal.inference.class_scoring import evaluate_classifier
from glocal.inference.classifier import Classifier
from glocal.inference.postprocessing import Postprocessing
from glocal.inference.prediction import Prediction
from glocal.inference.predictor import Predictor, Tiling
from glocal.inference.spline import spline_masks
from glocal.inference.tta import TTA
from glocal.inference.volume_scoring import predicted_volumes, require_for_volumes

__all__ = ["SPLITS", "compared_cases", "evaluate_run", "evaluation_folder", "with_classes"]

log = logging.getLogger("glocal")


def evaluate_run(
    run: str | Path,
    split: str = "test",
    *,
    data: str | Path | None = None,
    preset: str | None = None,
    policy: str = "penalty",
    tolerance: float = 2.0,
    unit: Literal["auto", "px"] = "auto",
    device: str = "auto",
    tta: bool | TTA = False,
    tiling: Tiling = "auto",
    batch_size: int | None = None,
    deploy: bool = True,
    postprocess: bool = True,
    output: str | Path | None = None,
    overwrite: bool = True,
    progress: Progress | None = None,
) -> Evaluation | ClassificationEvaluation:
    """Predict the cases of a split, compare with the truth, and write the report.

    Masks are compared at the size of their images, classes by name; slices are joined to volumes, which are compared in
    three dimensions. What goes with masks alone (``policy``, ``tolerance``, ``unit``, ``tiling``) is refused of a
    classifier.

    Args:
        run: Folder of a finished training.
        split: ``"train"``, ``"val"``, ``"test"`` as the run has them, or ``"all"`` cases of the data.
        data: Folder of the data: where it is now, or other data with the same classes. Default: where it was.
        preset: A published evaluation to compute beside ours: ``"lmnet"`` of masks, ``"hifuse"`` of classes. Masks
            are then measured at its resolution: scores are resized to it, masks by nearest neighbour; or, with
            ``"hiperformer"``, images and masks are resized as it does.
        policy: For empty masks; see :func:`glocal.evaluation.evaluate`.
        tolerance: Of NSD, in mm or pixels.
        unit: ``"auto"``: mm where the spacing is known. ``"px"``: pixels.
        device: As :class:`~glocal.inference.Predictor`.
        tta: As :class:`~glocal.inference.Predictor`.
        tiling: As :class:`~glocal.inference.Predictor`.
        batch_size: As :class:`~glocal.inference.Predictor`.
        deploy: As :class:`~glocal.inference.Predictor`; false measures the network as it was trained.
        postprocess: Mend masks at the end as the model has chosen; false leaves them as the network makes them.
        output: Folder of the report; default: :func:`evaluation_folder`.
        overwrite: Replace an evaluation that is there.
        progress: Called with (done, all).

    Returns:
        The numbers; the folder with ``cases.csv``, ``summary.json`` and ``report.html`` is complete, or untouched.

    Raises:
        UserError: The run, its model or the data cannot be used, a case cannot be read, or the folder not be written.
    """
    run = Path(run)
    get_policy(policy)
    plan = open_plan(run, split, data, preset, output)
    for note in plan.notes:
        log.warning("%s", note)
    seen: dict[str, Any] = {"tta": tta, "batch_size": batch_size}
    predictor: Predictor | Classifier
    evaluation: Evaluation | ClassificationEvaluation
    if plan.dataset.task == "classification":
        _refuse_what_goes_with_masks(
            policy=policy, tolerance=tolerance, unit=unit, tiling=tiling, postprocess=postprocess
        )
        if preset is not None:
            get_classification_preset(preset)
        require_free(plan.folder, overwrite)
        predictor = Classifier.load(run, device=device, deploy=deploy)
        evaluation = evaluate_classifier(plan, predictor, preset, progress, **seen)
    else:
        measured: dict[str, Any] = {"policy": policy, "tolerance": tolerance, "unit": unit, "preset": preset}
        published = get_preset(preset) if preset is not None else None
        if plan.dataset.volumes is not None:
            require_for_volumes(published)
        if published is not None and published.resizing == "spline" and tiling == "always":
            raise UserError(f"preset {preset!r} resizes whole slices to the network; leave --tiling always out")
        require_free(plan.folder, overwrite)
        predictor = Predictor.load(run, device=device, deploy=deploy)
        if not postprocess or (published is not None and published.resizing == "spline"):
            predictor.postprocessing = Postprocessing()
        dataset, notes = with_classes(plan, predictor)
        notes += [f"post-processing: {what}" for what in predictor.postprocessing.describe(predictor.classes)]
        for note in notes:
            log.warning("%s", note)
        cases = compared_cases(predictor, dataset, plan, published, tiling, seen, progress)
        evaluation = evaluate(cases, predictor.classes, **measured)
        evaluation = dataclasses.replace(evaluation, notes=(*notes, *evaluation.notes))
    evaluation = dataclasses.replace(evaluation, notes=(*plan.notes, *evaluation.notes))
    asked = {"split": split, "data": str(plan.dataset.root), "fingerprint": plan.dataset.fingerprint, "tta": tta}
    manifest = {**plan.manifest, "evaluation": {**asked, "tiling": tiling, "device": str(predictor.device)}}
    page: dict[str, Any] = {"title": title_of(run, split, plan.dataset), "manifest": manifest, "history": history(run)}
    write_folder(plan.folder, lambda to: evaluation.write(to, **page))
    return evaluation


def _refuse_what_goes_with_masks(**given: Any) -> None:
    usual = inspect.signature(evaluate_run).parameters
    for name, value in given.items():
        if value != usual[name].default:
            raise UserError(f"{name} {value} goes with masks, and this run is a classifier; leave it out (--{name})")


def with_classes(plan: Plan, predictor: Predictor) -> tuple[Dataset, list[str]]:
    """The data set, with as many classes as the network; told where their names differ.

    Data that shows fewer classes, as a small set may, is read by the meaning mask values had in training.

    Raises:
        UserError: The number of classes differs all the same.
    """
    dataset, number = plan.dataset, len(predictor.classes)
    if len(dataset.classes) != number and plan.encoding is not None:
        axes = predictor.record.preprocessing.orientation
        dataset = open_dataset(dataset.root, "segmentation", plan.masks, plan.encoding, axes)
        return dataset, [f"mask values of {dataset.root} are read as those of the training data"]
    if len(dataset.classes) != number:
        raise UserError(f"{dataset.root}: {len(dataset.classes)} classes, but the network knows {number}")
    if dataset.fingerprint != plan.fingerprint and tuple(dataset.classes) != tuple(predictor.classes):
        there, ours = ", ".join(dataset.classes), ", ".join(predictor.classes)
        return dataset, [f"classes of {dataset.root} ({there}) are taken in their order for those of the run ({ours})"]
    return dataset, []


def compared_cases(
    predictor: Predictor,
    dataset: Dataset,
    plan: Plan,
    preset: Preset | None,
    tiling: Tiling,
    seen: Mapping[str, Any],
    progress: Progress | None,
) -> Iterator[EvaluatedCase]:
    """The cases with their predictions, one at a time: pictures or whole volumes."""
    dataset.scan()
    if dataset.volumes is not None:
        options: dict[str, Any] = {"preset": preset, "tiling": tiling, "progress": progress, **seen}
        return predicted_volumes(predictor, dataset, plan.cases, grouped=plan.grouped, **options)
    size = preset.resolution if preset is not None else None
    if preset is not None and preset.resizing == "spline":
        masks = spline_masks(predictor, map(dataset.read_image, plan.cases), **seen)
    else:
        masks = _masks(predictor.predict_many([case.image for case in plan.cases], tiling=tiling, **seen), size)
    return _evaluated(masks, dataset, plan, size, progress)


def _masks(
    predictions: Iterator[Prediction], resolution: tuple[int, int] | None
) -> Iterator[tuple[Picture, NDArray[np.uint8]]]:
    """Pictures and their masks, at their own size or at ``resolution``."""
    notes: Counter[str] = Counter()
    for prediction in predictions:
        notes.update(prediction.notes)
        yield prediction.picture, prediction.mask_at(resolution or prediction.size)
    for note, count in notes.most_common():
        log.info("%s: %s", counted(count, "image"), note)


def _evaluated(
    masks: Iterable[tuple[Picture, NDArray[np.uint8]]],
    dataset: Dataset,
    plan: Plan,
    resolution: tuple[int, int] | None,
    progress: Progress | None,
) -> Iterator[EvaluatedCase]:
    """The pictures with their masks beside the truth."""
    truths = ahead(dataset.read_label, plan.cases, workers=1, depth=2)
    for done, (case, (picture, mask), truth) in enumerate(zip(plan.cases, masks, truths, strict=True), 1):
        size = resolution or picture.size
        image: NDArray[Any] = picture.pixels
        if resolution is not None:
            image = np.moveaxis(image_at(picture, resolution, picture.channels), 0, 2)
        yield EvaluatedCase(
            case.id,
            prediction=mask,
            truth=label_at(truth, size),
            group=case.group if plan.grouped else None,
            spacing=scaled_spacing(case.spacing, truth.shape, size),
            image=image,
        )
        if progress is not None:
            progress(done, len(plan.cases))


def scaled_spacing(
    spacing: tuple[float, float] | None, shape: tuple[int, ...], size: tuple[int, int]
) -> tuple[float, float] | None:
    """Size of a pixel in mm once an image of ``shape`` is resized to ``size``; None stays None."""
    if spacing is None:
        return None
    return spacing[0] * shape[0] / size[0], spacing[1] * shape[1] / size[1]
