"""What of a run is evaluated, on which data, and where the result goes; the same for every task."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from glocal.data import Case, Dataset, Encoding, open_dataset
from glocal.data.slices import UNUSABLE
from glocal.errors import UserError, nearest
from glocal.files import read_json, read_text, read_yaml
from glocal.inference.base import read_model_record

__all__ = ["SPLITS", "Masks", "Plan", "Progress", "evaluation_folder", "history", "open_plan", "title_of"]

SPLITS = ("train", "val", "test", "all")
"""Parts of a data set that can be evaluated."""

Progress: TypeAlias = Callable[[int, int], None]
Masks: TypeAlias = Literal["unite", "keep"]


@dataclass(frozen=True)
class Plan:
    """What is to be evaluated, and where the result goes."""

    dataset: Dataset
    cases: tuple[Case, ...]
    masks: Masks
    encoding: Encoding | None
    """Meaning of mask values in training; ``None`` for a classifier."""
    fingerprint: str
    """Of the training data."""
    folder: Path
    manifest: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def grouped(self) -> bool:
        """Whether some cases of the data belong together."""
        units = {case.volume or case.id for case in self.dataset.cases}
        return len({case.group for case in self.dataset.cases}) < len(units)


def evaluation_folder(
    run: str | Path, split: str = "test", *, preset: str | None = None, data: str | Path | None = None
) -> Path:
    """Where :func:`evaluate_run` with the same arguments writes by default.

    ``RUN/evaluation/test``; with a preset ``…/test-PRESET``; for other data than the run's ``…/DATA-test``.

    Raises:
        UserError: It is no run, or there is no such data.
    """
    run = Path(run)
    facts = _data_facts(run, _manifest(run))
    foreign = False
    if data is not None:
        record = read_model_record(run)
        there = open_dataset(data, task=record.task, orientation=record.preprocessing.orientation)
        foreign = there.fingerprint != facts["fingerprint"]
    return _folder(run, split, preset, Path(data) if data is not None and foreign else None)


def _folder(run: Path, split: str, preset: str | None, foreign: Path | None) -> Path:
    names = [] if foreign is None else [foreign.resolve().name]
    return run / "evaluation" / "-".join([*names, split, *([] if preset is None else [preset])])


def open_plan(run: Path, split: str, data: str | Path | None, preset: str | None, output: str | Path | None) -> Plan:
    """Open the data of a run, or other data, for the task of its network, and select the cases.

    Args:
        run: Folder of a finished training.
        split: One of :data:`SPLITS`.
        data: As :func:`evaluate_run`.
        preset: Name of a published evaluation, for the name of the folder.
        output: Folder of the report; default: :func:`evaluation_folder`.

    Raises:
        UserError: The run or the data cannot be used, or the split is empty.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    manifest = _manifest(run)
    facts, record = _data_facts(run, manifest), read_model_record(run)
    task, steps = record.task, record.preprocessing
    root = Path(facts["root"] if data is None else data)
    if data is None and not root.is_dir():
        raise UserError(f"{root}: the data of the run is not there any more; say where it is (--data DIR)")
    masks = _masks(run)
    encoding = None if facts["encoding"] is None else Encoding.from_json(facts["encoding"])
    dataset = open_dataset(root, task=task, masks=masks, orientation=steps.orientation)
    notes = [problem.message for problem in dataset.problems if problem.kind in UNUSABLE]
    same = dataset.fingerprint == facts["fingerprint"]
    if same and task == "segmentation":
        dataset = open_dataset(root, task=task, masks=masks, encoding=encoding, orientation=steps.orientation)
    if not same:
        notes.append(
            f"{root} is not the data the run was trained on, or was changed since (fingerprint {dataset.fingerprint}, "
            f"not {facts['fingerprint']})"
        )
    if steps.intensity is not None and dataset.volumes is None:
        notes.append("the run was trained on volumes, whose values it knows; pictures are taken over their full range")
    if split in ("train", "val"):
        what = "these cases were trained on" if split == "train" else "the best epoch was chosen on these cases"
        notes.append(f"{what}: the numbers are better than on new images")
    cases = dataset.cases if split == "all" else dataset.select(_ids(run, split, dataset))
    if not cases:
        raise UserError(f"{run / 'splits.json'}: the {split} split is empty; choose another one (--split)")
    folder = Path(output) if output is not None else _folder(run, split, preset, None if same else root)
    return Plan(dataset, cases, masks, encoding, facts["fingerprint"], folder, manifest, tuple(notes))


def title_of(run: Path, split: str, dataset: Dataset) -> str:
    """Title of the report."""
    return f"{run.resolve().name}: " + (f"{split} split" if split != "all" else dataset.root.name)


def history(run: Path) -> list[dict[str, str]]:
    """The rows of the run's ``metrics.csv``, if there is one."""
    path = run / "metrics.csv"
    if not path.exists():
        return []
    rows = csv.DictReader(read_text(path).splitlines())
    return [{key: value for key, value in row.items() if key and value} for row in rows]


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
