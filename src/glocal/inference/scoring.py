"""Evaluation of a run on one of its splits, or on other data."""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from glocal.data import Case, Dataset, Encoding, open_dataset
from glocal.data.resize import image_at, label_at
from glocal.errors import UserError, counted, nearest
from glocal.evaluation import EvaluatedCase, Evaluation, evaluate, get_policy, get_preset
from glocal.files import read_json, read_text, read_yaml
from glocal.inference._ahead import ahead
from glocal.inference._evaluation_folder import require_free, write_folder
from glocal.inference.prediction import Prediction
from glocal.inference.predictor import Predictor, Tiling
from glocal.inference.tta import TTA

__all__ = ["SPLITS", "evaluate_run", "evaluation_folder"]

log = logging.getLogger("glocal")

SPLITS = ("train", "val", "test", "all")
"""Parts of a data set that can be evaluated."""

Progress: TypeAlias = Callable[[int, int], None]
Masks: TypeAlias = Literal["unite", "keep"]


@dataclass(frozen=True)
class _Plan:
    """What is to be evaluated, and where the result goes."""

    dataset: Dataset
    cases: tuple[Case, ...]
    masks: Masks
    encoding: Encoding | None
    """Meaning of mask values in training."""
    fingerprint: str
    """Of the training data."""
    folder: Path
    manifest: dict[str, Any]
    notes: tuple[str, ...]


def evaluation_folder(
    run: str | Path, split: str = "test", *, preset: str | None = None, data: str | Path | None = None
) -> Path:
    """Where :func:`evaluate_run` with the same arguments writes by default.

    ``RUN/evaluation/test``; with a preset ``…/test-PRESET``; for other data than the run's ``…/DATA-test``.

    Raises:
        UserError: It is no run, or there is no such data.
    """
    facts = _data_facts(Path(run), _manifest(Path(run)))
    foreign = data is not None and open_dataset(data).fingerprint != facts["fingerprint"]
    return _folder(Path(run), split, preset, Path(data) if data is not None and foreign else None)


def _folder(run: Path, split: str, preset: str | None, foreign: Path | None) -> Path:
    names = [] if foreign is None else [foreign.resolve().name]
    return run / "evaluation" / "-".join([*names, split, *([] if preset is None else [preset])])


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
    output: str | Path | None = None,
    overwrite: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict the cases of a split at the size of their images, compare with the truth, and write the report.

    Args:
        run: Folder of a finished training.
        split: ``"train"``, ``"val"``, ``"test"`` as the run has them, or ``"all"`` cases of the data.
        data: Folder of the data: where it is now, or other data with the same classes. Default: where it was.
        preset: A published evaluation to compute beside ours, such as ``"lmnet"``; everything is then measured at its
            resolution: scores are resized to it, masks by nearest neighbour.
        policy: For empty masks; see :func:`glocal.evaluation.evaluate`.
        tolerance: Of NSD, in mm or pixels.
        unit: ``"auto"``: mm where the spacing is known. ``"px"``: pixels.
        device: As :class:`~glocal.inference.Predictor`.
        tta: As :class:`~glocal.inference.Predictor`.
        tiling: As :class:`~glocal.inference.Predictor`.
        batch_size: As :class:`~glocal.inference.Predictor`.
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
    resolution = get_preset(preset).resolution if preset is not None else None
    plan = _plan(run, split, data, preset, None if output is None else Path(output))
    require_free(plan.folder, overwrite)
    predictor = Predictor.load(run, device=device)
    dataset, notes = _with_classes(plan, predictor)
    images = [case.image for case in plan.cases]
    predictions = predictor.predict_many(images, tta=tta, tiling=tiling, batch_size=batch_size)
    cases = _evaluated(predictions, dataset, plan.cases, resolution, progress)
    evaluation = evaluate(cases, predictor.classes, policy=policy, tolerance=tolerance, unit=unit, preset=preset)
    evaluation = dataclasses.replace(evaluation, notes=(*plan.notes, *notes, *evaluation.notes))
    for note in (*plan.notes, *notes):
        log.warning("%s", note)
    asked = {"split": split, "data": str(dataset.root), "fingerprint": dataset.fingerprint, "tta": tta}
    manifest = {**plan.manifest, "evaluation": {**asked, "tiling": tiling, "device": str(predictor.device)}}
    title = f"{run.resolve().name}: {split} split" if split != "all" else f"{run.resolve().name}: {dataset.root.name}"
    history = _history(run / "metrics.csv")
    write_folder(plan.folder, lambda to: evaluation.write(to, title=title, manifest=manifest, history=history))
    return evaluation


def _manifest(run: Path) -> dict[str, Any]:
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder; check the path")
    if not (run / "manifest.json").exists():
        raise UserError(f"{run}: not a run (no manifest.json); name the folder that `glocal train` made")
    manifest = read_json(run / "manifest.json")
    if not isinstance(manifest, dict):
        raise UserError(f"{run / 'manifest.json'}: not the manifest of a run; restore it")
    return manifest


def _data_facts(run: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    facts = manifest.get("data")
    if not isinstance(facts, dict) or not {"root", "fingerprint", "encoding"} <= facts.keys():
        raise UserError(f"{run / 'manifest.json'}: does not say what data the run was trained on; restore it")
    return facts


def _plan(run: Path, split: str, data: str | Path | None, preset: str | None, output: Path | None) -> _Plan:
    if split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    manifest = _manifest(run)
    facts = _data_facts(run, manifest)
    root = Path(facts["root"] if data is None else data)
    if data is None and not root.is_dir():
        raise UserError(f"{root}: the data of the run is not there any more; say where it is (--data DIR)")
    masks = _masks(run)
    encoding = None if facts["encoding"] is None else Encoding.from_json(facts["encoding"])
    dataset = open_dataset(root, task="segmentation", masks=masks)
    notes = []
    same = dataset.fingerprint == facts["fingerprint"]
    if same:
        dataset = open_dataset(root, task="segmentation", masks=masks, encoding=encoding)
    if not same:
        notes.append(
            f"{root} is not the data the run was trained on, or was changed since (fingerprint {dataset.fingerprint}, "
            f"not {facts['fingerprint']})"
        )
    if split in ("train", "val"):
        what = "these cases were trained on" if split == "train" else "the best epoch was chosen on these cases"
        notes.append(f"{what}: the numbers are better than on new images")
    cases = dataset.cases if split == "all" else dataset.select(_ids(run, split, dataset))
    if not cases:
        raise UserError(f"{run / 'splits.json'}: the {split} split is empty; choose another one (--split)")
    folder = output if output is not None else _folder(run, split, preset, None if same else root)
    return _Plan(dataset, cases, masks, encoding, facts["fingerprint"], folder, manifest, tuple(notes))


def _masks(run: Path) -> Masks:
    """How the run took several masks of one image."""
    recipe = read_yaml(run / "recipe.yaml")
    section = recipe.get("data") if isinstance(recipe, dict) else None
    return "keep" if isinstance(section, dict) and section.get("masks") == "keep" else "unite"


def _ids(run: Path, split: str, dataset: Dataset) -> list[str]:
    path = run / "splits.json"
    plain = read_json(path)
    parts = plain.get("splits") if isinstance(plain, dict) else None
    ids = parts.get(split) if isinstance(parts, dict) else None
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise UserError(f"{path}: has no {split} split; restore it, or evaluate all cases (--split all)")
    known = {case.id for case in dataset.cases}
    missing = [id for id in ids if id not in known]
    if missing:
        raise UserError(
            f"{dataset.root}: {len(missing)} of {len(ids)} cases of the {split} split are not there ({missing[0]}, …); "
            "restore them, or evaluate all cases of the folder (--split all)"
        )
    return ids


def _with_classes(plan: _Plan, predictor: Predictor) -> tuple[Dataset, list[str]]:
    """The data set, with as many classes as the network; told where their names differ.

    Data that shows fewer classes, as a small set may, is read by the meaning mask values had in training.
    """
    dataset, number = plan.dataset, len(predictor.classes)
    if len(dataset.classes) != number and plan.encoding is not None:
        dataset = open_dataset(dataset.root, task="segmentation", masks=plan.masks, encoding=plan.encoding)
        return dataset, [f"mask values of {dataset.root} are read as those of the training data"]
    if len(dataset.classes) != number:
        raise UserError(f"{dataset.root}: {len(dataset.classes)} classes, but the network knows {number}")
    if dataset.fingerprint != plan.fingerprint and tuple(dataset.classes) != tuple(predictor.classes):
        there, ours = ", ".join(dataset.classes), ", ".join(predictor.classes)
        return dataset, [f"classes of {dataset.root} ({there}) are taken in their order for those of the run ({ours})"]
    return dataset, []


def _evaluated(
    predictions: Iterator[Prediction],
    dataset: Dataset,
    cases: Sequence[Case],
    resolution: tuple[int, int] | None,
    progress: Progress | None,
) -> Iterator[EvaluatedCase]:
    """The cases with their predictions, one at a time, at their own size or at ``resolution``."""
    dataset.scan()
    grouped = len({case.group for case in dataset.cases}) < len(dataset.cases)
    truths = ahead(dataset.read_label, cases, workers=1, depth=2)
    notes: Counter[str] = Counter()
    for done, (case, prediction, truth) in enumerate(zip(cases, predictions, truths, strict=True), 1):
        notes.update(prediction.notes)
        size = resolution or prediction.size
        image = prediction.picture.pixels
        if resolution is not None:
            image = np.moveaxis(image_at(prediction.picture, resolution, prediction.picture.channels), 0, 2)
        yield EvaluatedCase(
            case.id,
            prediction=prediction.mask_at(size),
            truth=label_at(truth, size),
            group=case.group if grouped else None,
            spacing=scaled_spacing(case.spacing, truth.shape, size),
            image=image,
        )
        if progress is not None:
            progress(done, len(cases))
    for note, count in notes.most_common():
        log.info("%s: %s", counted(count, "image"), note)


def scaled_spacing(
    spacing: tuple[float, float] | None, shape: tuple[int, ...], size: tuple[int, int]
) -> tuple[float, float] | None:
    """Size of a pixel in mm once an image of ``shape`` is resized to ``size``; None stays None."""
    if spacing is None:
        return None
    return spacing[0] * shape[0] / size[0], spacing[1] * shape[1] / size[1]


def _history(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    rows = csv.DictReader(read_text(path).splitlines())
    return [{key: value for key, value in row.items() if key and value} for row in rows]
