"""The data doctor: what a folder of images holds, and all that is suspicious about it, each with its cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glocal.data._case_facts import CaseFacts, case_facts
from glocal.data._findings import Finding, find_problems
from glocal.data.cases import Dataset, Progress, Task
from glocal.data.layouts import open_dataset
from glocal.data.splits import read_splits
from glocal.errors import UserError

__all__ = ["ClassCount", "Finding", "Inspection", "inspect_dataset"]


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs."""

    index: int
    name: str
    cases: int
    """Cases that contain it."""
    pixels: int | None
    """Segmentation: its pixels in all masks."""
    share: float
    """Of all pixels; classification: of all cases."""


@dataclass(frozen=True)
class Inspection:
    """What was found in a folder.

    Attributes:
        root: The folder.
        task: ``"segmentation"`` or ``"classification"``.
        layout: How the folder is organised, in words.
        notes: How names and mask values were understood.
        cases: Cases recognised.
        usable: Of those, with a readable image and label.
        multi_label: Classification: an image may show several classes, or none.
        masks: Mask files.
        groups: Groups (patients, videos); as many as cases if none are known.
        classes: How often each class occurs; empty if the mask values have no clear meaning.
        sizes: (height, width) -> images.
        kinds: ``"grey, 8-bit"``, ``"RGB, 8-bit"`` … -> images.
        intensity: Lowest, mean and highest value over all images, each in [0, 1] of the range of its depth.
        findings: Errors first, then warnings, then notes.
        dataset: The data set itself, as :func:`~glocal.data.layouts.open_dataset` gives it.
    """

    root: Path
    task: str
    layout: str
    notes: tuple[str, ...]
    cases: int
    usable: int
    multi_label: bool
    masks: int
    groups: int
    classes: tuple[ClassCount, ...]
    sizes: Mapping[tuple[int, int], int]
    kinds: Mapping[str, int]
    intensity: tuple[float, float, float] | None
    findings: tuple[Finding, ...]
    dataset: Dataset

    def to_json(self) -> dict[str, Any]:
        """A plain form for JSON; paths of findings are relative to ``root``."""
        low, mean, high = self.intensity or (None, None, None)
        return {
            "format": 1,
            "root": str(self.root),
            "task": self.task,
            "layout": self.layout,
            "notes": list(self.notes),
            "cases": self.cases,
            "usable": self.usable,
            "multi_label": self.multi_label,
            "masks": self.masks,
            "groups": self.groups,
            "classes": [asdict(count) for count in self.classes],
            "sizes": [
                {"height": height, "width": width, "images": count} for (height, width), count in self.sizes.items()
            ],
            "kinds": dict(self.kinds),
            "intensity": {"low": low, "mean": mean, "high": high},
            "findings": [asdict(finding) for finding in self.findings],
        }


def inspect_dataset(
    root: str | Path,
    splits: str | Path | None = None,
    progress: Progress | None = None,
    task: Task | None = None,
) -> Inspection:
    """Read every image and mask of a folder once and say what is there and what is wrong with it.

    A bad file becomes a finding and does not stop the inspection.

    Args:
        root: The folder.
        splits: A ``splits.json`` to check against the data; default: the one in the folder, if there is one.
        progress: Called with (done, all) as masks and then images are read.
        task: As :func:`~glocal.data.layouts.open_dataset`.

    Raises:
        UserError: Nothing was recognised in the folder, or it cannot be listed.
    """
    dataset = open_dataset(root, task)
    masks = {mask for case in dataset.cases for mask in case.masks}
    steps = len(masks) + len(dataset.cases)
    dataset.scan(None if progress is None else lambda done, _: progress(done, steps))
    refusal = None
    try:
        notes, names = dataset.notes, dataset.classes
    except UserError as error:
        notes, names, refusal = dataset.layout_notes, (), str(error)
    facts = []
    for fact in case_facts(dataset, refusal is None):
        facts.append(fact)
        if progress is not None:
            progress(len(masks) + len(facts), steps)
    parts, objection = _parts(dataset, splits)
    problems = find_problems(dataset, facts, names, parts, refusal)
    usable = [fact for fact in facts if not fact.errors and refusal is None]
    images = [fact.image for fact in facts if fact.image is not None]
    depth = [255 if image.kind.endswith("8-bit") else 65535 for image in images]
    return Inspection(
        root=dataset.root,
        task=dataset.task,
        layout=dataset.layout,
        notes=notes,
        cases=len(dataset.cases),
        usable=len(usable),
        multi_label=dataset.multi_label,
        masks=len(masks),
        groups=len({case.group for case in dataset.cases}),
        classes=_class_counts(dataset, names, usable),
        sizes=dict(Counter(image.size for image in images).most_common()),
        kinds=dict(Counter(image.kind for image in images).most_common()),
        intensity=(
            min(image.low / top for image, top in zip(images, depth, strict=True)),
            sum(image.mean for image in images) / len(images),
            max(image.high / top for image, top in zip(images, depth, strict=True)),
        )
        if images
        else None,
        findings=(*objection, *problems),
        dataset=dataset,
    )


def _parts(dataset: Dataset, path: str | Path | None) -> tuple[dict[str, str], list[Finding]]:
    """Case id -> part of the split in use; and what is wrong with its file."""
    chosen = dataset.root / "splits.json" if path is None else Path(path)
    if path is None and not chosen.exists():
        return {case.id: case.split for case in dataset.cases if case.split is not None}, []
    try:
        splits = read_splits(chosen, dataset)
    except UserError as error:
        what, _, cure = str(error).removeprefix(f"{chosen}: ").rpartition("; ")
        return {}, [Finding("splits file", "error", what, cure, (str(chosen),))]
    if splits.folds:
        return {case.id: "test" if case.id in splits.test else "the folds" for case in dataset.cases}, []
    return {id: part for part in ("train", "val", "test") for id in splits.part(part)}, []


def _class_counts(dataset: Dataset, names: tuple[str, ...], usable: list[CaseFacts]) -> tuple[ClassCount, ...]:
    if dataset.task == "classification":
        labels = Counter(label for fact in usable for label in fact.case.labels)
        total = max(1, len(usable))
        return tuple(ClassCount(i, name, labels[i], None, labels[i] / total) for i, name in enumerate(names))
    pixels: Counter[int] = Counter()
    cases: Counter[int] = Counter()
    for fact in usable:
        pixels.update(fact.counts)
        cases.update(fact.counts.keys())
    total = max(1, pixels.total())
    return tuple(ClassCount(i, name, cases[i], pixels[i], pixels[i] / total) for i, name in enumerate(names))
