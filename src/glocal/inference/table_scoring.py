"""Evaluation of a table of predicted classes, whatever made it."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePath

from glocal.data import Case, open_dataset, read_splits
from glocal.data.readers import IMAGE_SUFFIXES
from glocal.errors import UserError, counted
from glocal.evaluation import (
    ClassificationEvaluation,
    ClassifiedCase,
    evaluate_classification,
    get_classification_preset,
    logits_of,
    read_prediction_table,
)
from glocal.inference._evaluation_folder import require_free, write_folder
from glocal.inference.class_scoring import picture_of, truth_of

__all__ = ["evaluate_table", "table_folder"]


def table_folder(predictions: str | Path) -> Path:
    """Where :func:`evaluate_table` writes by default: ``lesions-evaluation`` beside ``lesions.csv``."""
    path = Path(predictions)
    return path.with_name(f"{path.stem}-evaluation")


def evaluate_table(
    predictions: str | Path,
    data: str | Path,
    *,
    splits: str | Path | None = None,
    split: str = "test",
    preset: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ClassificationEvaluation:
    """Compare a table of predicted probabilities with the classes of a data set, and write the report.

    A row belongs to the case whose image it names: the same file, or a path that ends as the id of the case does.

    Args:
        predictions: CSV as ``glocal predict`` writes it; see :func:`glocal.evaluation.read_prediction_table`.
        data: Folder of the data set.
        splits: A ``splits.json``; with it only the cases of ``split`` are compared. Default: all cases.
        split: ``"train"``, ``"val"`` or ``"test"``.
        preset: A published evaluation to compute beside ours, such as ``"hifuse"``.
        output: Folder of the report; default: :func:`table_folder`.
        overwrite: Replace an evaluation that is there.
        progress: Called with (done, all).

    Returns:
        The numbers; the folder of the report is complete, or untouched.

    Raises:
        UserError: The table cannot be used, a case has no row or several, or the folder cannot be written.
    """
    path, folder = Path(predictions), Path(output) if output is not None else table_folder(predictions)
    if preset is not None:
        get_classification_preset(preset)
    require_free(folder, overwrite)
    dataset = open_dataset(data, task="classification")
    cases = dataset.cases if splits is None else dataset.select(read_splits(splits, dataset).part(split))
    table = read_prediction_table(path, dataset.classes, multi_label=dataset.multi_label)
    rows = _matched(path, table, cases)
    same = {index: index for index in range(len(dataset.classes))}
    grouped = len({case.group for case in dataset.cases}) < len(dataset.cases)
    classified = []
    for done, case in enumerate(cases, 1):
        logits = logits_of(table[rows[case.id]], multi_label=dataset.multi_label)
        group = case.group if grouped else None
        classified.append(ClassifiedCase(case.id, logits, truth_of(case, same), group, picture_of(dataset, case)))
        if progress is not None:
            progress(done, len(cases))
    evaluation = evaluate_classification(classified, dataset.classes, multi_label=dataset.multi_label, preset=preset)
    notes = []
    others = len(table) - len(set(rows.values()))
    if others and splits is None:
        note = f"{counted(others, 'row')} of {path.name} without a case of {dataset.root}"
        notes.append(note)
    if preset is not None:
        notes.append(f"AUC as {preset} takes it is of logits; a table has probabilities, of which it is computed here")
    evaluation = dataclasses.replace(evaluation, notes=tuple(notes))
    asked = {"predictions": str(path), "data": str(dataset.root), "fingerprint": dataset.fingerprint}
    manifest = {"evaluation": {**asked, "split": "all" if splits is None else split}}
    title = f"{path.name} against {dataset.root.resolve().name}"
    write_folder(folder, lambda to: evaluation.write(to, title=title, manifest=manifest))
    return evaluation


def _matched(path: Path, images: Collection[str], cases: Sequence[Case]) -> dict[str, str]:
    """The image in the table of each case by its id."""
    real = {os.path.realpath(image): image for image in images}
    ending: dict[str, list[str]] = defaultdict(list)
    for image in images:
        named = PurePath(image)
        parts = (named.with_suffix("") if named.suffix.lower() in IMAGE_SUFFIXES else named).parts
        for start in range(len(parts)):
            ending["/".join(parts[start:])].append(image)
    found, missing = {}, []
    for case in cases:
        same = real.get(os.path.realpath(case.image))
        there = [same] if same is not None else ending.get(case.id, [])
        if len(there) > 1:
            raise UserError(f"{path}: {there[0]} and {there[1]} could both be {case.id}; remove or rename one")
        if there:
            found[case.id] = there[0]
        else:
            missing.append(case.id)
    if missing:
        raise UserError(
            f"{path}: no row for {len(missing)} of {len(cases)} cases ({missing[0]}, …); predict them, or say which "
            "cases are meant (--splits splits.json --split test)"
        )
    return found
