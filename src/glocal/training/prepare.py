"""From a folder and a recipe to cached training and validation cases."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glocal.data import Dataset, Encoding, Splits, make_splits, open_dataset, open_splits, read_splits
from glocal.data.cache import CachedCases, build_cache, estimate_cache
from glocal.data.intensity import Intensity
from glocal.data.splits import DEFAULT_FRACTIONS
from glocal.errors import UserError, counted
from glocal.models.registry import Task
from glocal.training.recipe import DataConfig
from glocal.training.volumes import require_usable_volumes, seen_volumes, volume_facts

__all__ = ["TrainingData", "class_facts", "prepare_data"]

log = logging.getLogger("glocal")

_SAMPLE = 64
"""Images looked at to decide between grey and colour."""

_PROBLEMS = 3
"""Problems of one kind that are told one by one."""

_STRAY = 1e-4
"""Share of all pixels below which a class in a single mask may be a mistake."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingData:
    """What a network is trained on."""

    dataset: Dataset
    splits: Splits
    channels: int
    train: CachedCases
    val: CachedCases

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; of a segmentation the background is first."""
        return self.dataset.classes

    def facts(self) -> dict[str, Any]:
        """What the manifest says about the data."""
        encoding = self.dataset.encoding
        return {
            "root": str(self.dataset.root.absolute()),
            "fingerprint": self.dataset.fingerprint,
            "layout": self.dataset.layout,
            "task": self.dataset.task,
            "multi_label": self.dataset.multi_label,
            "classes": list(self.classes),
            "encoding": encoding.to_json() if encoding else None,
            "channels": self.channels,
            "cases": {part: len(self.splits.part(part)) for part in ("train", "val", "test")},
            **({} if self.dataset.volumes is None else {"volumes": volume_facts(self.dataset, self.splits)}),
        }


def prepare_data(
    root: str | Path,
    config: DataConfig,
    task: Task = "segmentation",
    splits_file: Path | None = None,
    encoding: Encoding | None = None,
    fingerprint: str | None = None,
    intensity: Intensity | None = None,
    progress: Progress | None = None,
) -> TrainingData:
    """Recognise, split and cache a data set.

    Args:
        root: Folder of the data.
        config: The ``data`` section of a recipe.
        task: Of the network that is to be trained.
        splits_file: Splits of a run that is resumed; they go before those of ``config``.
        encoding: Meaning of mask values in a run that is resumed.
        fingerprint: Of the data of a run that is resumed.
        intensity: Of the volumes of a run that is resumed.
        progress: Called with (done, all) while images are decoded.

    Raises:
        UserError: The data cannot be used, there is no validation split, or two splits share a case.
    """
    dataset = open_dataset(root, masks=config.masks, encoding=encoding)
    if dataset.task != task == "segmentation":
        raise UserError(
            f"{root}: no masks were found, only classes; choose a network for classification (--model; `glocal models "
            "--task classification` lists them), or add masks"
        )
    if dataset.task != task:
        dataset = open_dataset(root, task)
    if fingerprint not in (None, dataset.fingerprint):
        raise UserError(f"{root}: the data has changed since the run began; restore it, or start a new run")
    _tell(dataset)
    require_usable_volumes(dataset)
    splits = _splits(dataset, config, splits_file)
    _require_validation(splits)
    for note in (*dataset.notes, *splits.notes):
        log.info("%s", note)
    counts = ", ".join(f"{len(splits.part(part))} {part}" for part in ("train", "val", "test"))
    log.info("%s: %s (%s), classes: %s", root, counted(len(dataset), "case"), counts, ", ".join(dataset.classes))
    _require_classes(dataset, splits)
    dataset = seen_volumes(dataset, splits, config, intensity)
    channels = _channels(dataset, splits, config)
    return TrainingData(
        dataset,
        splits,
        channels,
        train=_cached(dataset, splits.train, channels, config, progress),
        val=_cached(dataset, splits.val, channels, config, progress),
    )


def _tell(dataset: Dataset) -> None:
    """The problems of a data set, a few of each kind."""
    told: Counter[str] = Counter()
    for problem in dataset.problems:
        told[problem.kind] += 1
        if told[problem.kind] <= _PROBLEMS:
            log.warning("%s", problem.message)
    for kind, count in told.items():
        if count > _PROBLEMS:
            log.warning("%s: %d more (glocal data inspect lists them)", kind, count - _PROBLEMS)


def _splits(dataset: Dataset, config: DataConfig, splits_file: Path | None) -> Splits:
    if splits_file is not None:
        return read_splits(splits_file, dataset)
    beside = dataset.root / "splits.json"
    path = Path(config.splits) if config.splits is not None else beside if beside.exists() else None
    if path is None:
        fractions = DEFAULT_FRACTIONS if config.fractions is None else config.fractions
        splits = make_splits(dataset, config.split_seed or 0, fractions, config.folds)
    else:
        splits = open_splits(path, dataset, config.split_seed, config.fractions, config.folds)
        log.info("splits of %s", path)
    if splits.folds and config.fold is None:
        raise UserError(f"the splits have {len(splits.folds)} folds; choose one to validate on: --data.fold 0")
    if config.fold is not None and not splits.folds:
        raise UserError(f"data.fold is {config.fold} but there are no folds; add --data.folds 5 or leave it out")
    return splits.fold(config.fold) if config.fold is not None else splits


def _require_validation(splits: Splits) -> None:
    if not splits.train:
        raise UserError("the training split is empty; make other splits (--data.fractions '[0.8, 0.1, 0.1]')")
    if not splits.val:
        raise UserError(
            "there is no validation split to choose the best epoch on, and the test split is never used for that; "
            "make splits with one (--data.fractions '[0.8, 0.1, 0.1]')"
        )


def _require_classes(dataset: Dataset, splits: Splits) -> None:
    """Refuse a class that no mask shows; warn of one that no training case shows, or hardly any pixel of the set."""
    if dataset.task == "classification":
        _require_images(dataset, splits)
        return
    facts, encoding = dataset.scan(), dataset.encoding
    assert encoding is not None
    pixels = {mask: encoding.class_counts(facts[mask]) for case in dataset.cases for mask in case.masks}
    trained = [mask for case in dataset.select(splits.train) for mask in case.masks]
    total, seen = (np.sum(counts, axis=0) for counts in (list(pixels.values()), [pixels[mask] for mask in trained]))
    for index, name in enumerate(dataset.classes):
        what = f"class {index} ({name})"
        holders = [mask for mask, counts in pixels.items() if counts[index]]
        if not holders and index:
            declared = dataset.declared
            where, cure = (dataset.root, "") if declared is None else (declared.path, ", or take it out of this file")
            raise UserError(f"{where}: {what} is in no mask; check the masks{cure}")
        if len(holders) == 1 and total[index] < _STRAY * total.sum() and len(dataset.classes) > 2:
            log.warning("%s: the only mask with %s; if that is a stray value, correct it", holders[0], what)
        if not seen[index]:
            log.warning("%s is in no training mask, so it is not learned; make other splits or add masks", what)


def _require_images(dataset: Dataset, splits: Splits) -> None:
    """Say how often each class occurs; warn of one that has no training or no validation image."""
    counts = {
        part: Counter(label for case in dataset.select(splits.part(part)) for label in case.labels)
        for part in ("train", "val")
    }
    kind = "several classes an image are possible: " if dataset.multi_label else ""
    numbers = ", ".join(f"{name} {counts['train'][index]}" for index, name in enumerate(dataset.classes))
    log.info("%straining images of each class: %s", kind, numbers)
    for index, name in enumerate(dataset.classes):
        if not counts["train"][index]:
            log.warning("class %d (%s) has no training image, so it is not learned; make other splits", index, name)
        elif not counts["val"][index]:
            log.warning("class %d (%s) has no validation image, so the best epoch is chosen without it", index, name)


def _channels(dataset: Dataset, splits: Splits, config: DataConfig) -> int:
    if config.neighbours > 1:
        return config.neighbours
    if config.channels != "auto":
        return config.channels
    if dataset.volumes is not None:
        return max(volume.channels for volume in dataset.volumes.volumes.values())
    ids = (*splits.train, *splits.val)
    sample = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, _SAMPLE).astype(int))]
    grey = all(dataset.read_image(case).is_grey for case in dataset.select(sample))
    log.info("images are %s (data.channels auto looked at %d)", "grey: 1 channel" if grey else "RGB", len(sample))
    return 1 if grey else 3


def _cached(
    dataset: Dataset, ids: Sequence[str], channels: int, config: DataConfig, progress: Progress | None
) -> CachedCases:
    cases, size, in_memory = dataset.select(ids), config.height_width, config.cache == "memory"
    folder = None if in_memory else config.cache
    log.info("cache: %s", estimate_cache(dataset, cases, size, channels, folder, in_memory=in_memory))
    cached = build_cache(dataset, cases, size, channels, folder, in_memory=in_memory, progress=progress)
    for note in cached.notes:
        log.info("%s", note)
    return cached


def class_facts(labels: npt.NDArray[Any], num_classes: int) -> tuple[list[int], npt.NDArray[np.bool_]]:
    """How often each class occurs in all labels (in pixels or cases), and ``(N, K)``, which case shows which class.

    Args:
        labels: ``(N, H, W)`` class indices; may be mapped from disk, it is read case by case. Classification: ``(N,)``
            class indices, or ``(N, K)`` of 0 and 1.
        num_classes: K.
    """
    if labels.ndim < 3:
        present = labels > 0 if labels.ndim == 2 else np.asarray(labels)[:, None] == np.arange(num_classes)
        return [int(n) for n in present.sum(axis=0)], present
    counts = np.stack([np.bincount(label.reshape(-1), minlength=num_classes) for label in labels])
    return [int(n) for n in counts.sum(axis=0)], counts > 0
