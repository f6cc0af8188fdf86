"""Synapse and ACDC as TransUNet and its successors distribute them: slices for training, whole volumes for testing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glocal.data._tree import Part, natural
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._arrays import open_array
from glocal.data.distributed._files import Tree, missing, stem_of
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
from glocal.errors import UserError, counted
from glocal.files import read_text

__all__ = ["recognise"]

SYNAPSE = (
    *("background", "aorta", "gallbladder", "left kidney", "right kidney"),
    *("liver", "pancreas", "spleen", "stomach"),
)
ACDC = ("background", "right ventricle", "myocardium", "left ventricle")
_ENDINGS = (".npz", ".npy.h5", ".h5")
_SLICE = re.compile(r"(?i)(?P<case>.+?)_slice_?(?P<phase>ED|ES)?_?(?P<number>\d+)")
_VOLUME = re.compile(r"(?i)(?P<case>.+?)_volume_?(?P<phase>ED|ES)?")
_PATIENT = re.compile(r"(?i)(?P<patient>(?:case|patient)_?\d+)(?:[_-].*)?")
_PARTS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_LISTS: dict[str, Part] = {**_PARTS, "train_slices": "train", "test_vol": "test"}


def recognise(tree: Tree) -> Distribution | None:
    """Recognise ``train_npz`` with ``test_vol_h5``, or folders of slices ``…_slice_3.h5`` / ``…_sliceED_3.npz``."""
    files = [path for path in tree.files if path.name.lower().endswith(_ENDINGS)]
    folders = {path.parent for path in files}
    synapse = {folder.name for folder in folders} & {"train_npz", "test_vol_h5"}
    if not synapse and not any(_SLICE.fullmatch(stem_of(path)) for path in files):
        return None
    if not synapse and not all(
        _SLICE.fullmatch(stem_of(p)) or _VOLUME.fullmatch(stem_of(p)) or _PATIENT.fullmatch(stem_of(p)) for p in files
    ):
        return None
    slices: dict[str, dict[int, Path]] = defaultdict(dict)
    volumes: dict[str, Path] = {}
    for path in files:
        if match := _SLICE.fullmatch(stem_of(path)):
            name = f"{match['case']}_{match['phase']}" if match["phase"] else match["case"]
            slices[name][int(match["number"])] = tree.root / path
        else:
            match = _VOLUME.fullmatch(stem_of(path))
            name = match["case"] + (f"_{match['phase']}" if match["phase"] else "") if match else stem_of(path)
            volumes[name] = tree.root / path
    return _Slices(tree, "synapse" if synapse else "acdc", dict(slices), volumes).distribution()


class _Slices:
    """Slices and volumes, by the name of the volume."""

    def __init__(self, tree: Tree, name: str, slices: dict[str, dict[int, Path]], volumes: dict[str, Path]) -> None:
        self.tree, self.name, self.slices, self.volumes = tree, name, slices, volumes

    def distribution(self) -> Distribution:
        """What was recognised."""
        number = sum(map(len, self.slices.values()))
        found = []
        if self.slices:
            found.append(f"{counted(number, 'slice')} of {counted(len(self.slices), 'volume')}")
        if self.volumes:
            found.append(f"{counted(len(self.volumes), 'whole volume')}")
        title = {"synapse": "Synapse as TransUNet distributes it", "acdc": "ACDC in slices, as for TransUNet"}
        root = self.tree.root
        return Distribution(
            self.name, title[self.name], root, "segmentation", "volumes", False, tuple(found), self._content
        )

    def _content(self, progress: Progress | None) -> Content:
        listed, problems, notes = self._lists()
        steps: list[Step] = []
        for name, numbers in self.slices.items():
            if name in self.volumes:
                continue  # the volume holds the same slices, and all of them
            order = sorted(numbers)
            gaps = sorted(set(range(order[0], order[-1] + 1)) - set(order))
            if gaps:
                shown = ", ".join(map(str, gaps[:5]))
                what = f"slice {shown} of {name} is missing, so that its neighbours are not beside each other"
                problems.append(missing("missing slice", numbers[order[0]], what, "copy the slices again"))
                continue
            steps.append(self._step(name, tuple(numbers[k] for k in order), listed, stacked=True))
        steps += [self._step(name, (path,), listed, stacked=False) for name, path in self.volumes.items()]
        steps.sort(key=lambda step: natural(step.id))
        twice = sum(name in self.volumes for name in self.slices)
        if twice:
            notes.append(f"{counted(twice, 'volume')} there in slices and whole: the whole ones taken")
        notes.append("the distribution holds no voxel size and no orientation: spacing is written as 1x1x1 mm, unknown")
        classes = SYNAPSE if self.name == "synapse" else ACDC
        return Content(steps, len(steps), classes, tuple(notes), tuple(problems))

    def _step(self, name: str, files: tuple[Path, ...], listed: dict[str, Part], stacked: bool) -> Step:
        classes = SYNAPSE if self.name == "synapse" else ACDC

        def read(mend: bool) -> Item:
            return _stack(files, len(classes)) if stacked else _whole(files[0], len(classes))

        patient = _PATIENT.fullmatch(name)
        group = patient["patient"] if patient else None
        split = listed.get(stem_of(files[0])) or listed.get(name) or self._part(files[0])
        return Step(name, files, read, group if group != name else None, split)

    def _part(self, path: Path) -> Part | None:
        """The part that the folder names: ``train``, ``train_npz``, ``ACDC_training_slices`` …"""
        for word in re.split(r"[_\W]", path.parent.name.lower()):
            if word in _PARTS:
                return _PARTS[word]
        return None

    def _lists(self) -> tuple[dict[str, Part], list[Problem], list[str]]:
        """Name -> part from ``lists/…/train.txt`` and the others; what they name in vain."""
        listed: dict[str, Part] = {}
        problems: list[Problem] = []
        notes: list[str] = []
        there = {stem_of(path) for files in self.slices.values() for path in files.values()}
        there |= {stem_of(path) for path in self.volumes.values()} | set(self.slices)
        for path in self.tree.files:
            is_list = path.suffix == ".list" or (path.suffix == ".txt" and "list" in path.parent.name.lower())
            part = _LISTS.get(path.stem) if is_list else None
            if part is None:
                continue
            names = [line.split(",")[0].strip() for line in read_text(self.tree.root / path).splitlines()]
            names = [stem_of(Path(name)) if name.endswith(_ENDINGS) else name for name in names if name]
            listed |= dict.fromkeys(names, part)
            notes.append(f"{part} part from {path.as_posix()}")
            lost = [name for name in names if name not in there]
            problems += [
                missing(
                    "listed file missing", self.tree.root / path, f"names {name!r}, which is not there", "restore it"
                )
                for name in lost
            ]
        return listed, problems, notes


def _stack(files: Sequence[Path], classes: int) -> Item:
    images: list[Array] = []
    labels: list[Array] = []
    notes: set[str] = set()
    for path in files:
        image, label = (array[0] for array in _pair(path, slices=True))
        if images and image.shape != images[0].shape:
            raise UserError(f"{path}: a slice of another size than {files[0].name}; restore it from its source")
        images.append(image)
        labels.append(_indices(path, label, classes, notes))
    notes.add(f"{counted(len(files), 'slice')} stacked to a volume")
    return Item(np.stack(images), np.stack(labels), None, tuple(sorted(notes)))


def _whole(path: Path, classes: int) -> Item:
    image, label = _pair(path, slices=False)
    notes: set[str] = set()
    return Item(image, _indices(path, label, classes, notes), None, tuple(sorted(notes)))


def _pair(path: Path, slices: bool) -> tuple[Array, Array]:
    """Image and label ``(D, H, W)``; of a slice ``D`` is 1."""
    files = open_array(path, ("image", "img", "data")), open_array(path, ("label", "seg", "mask"))
    sizes = [file.shape for file in files]
    if sizes[0] != sizes[1] or {file.channels for file in files} != {1} or (slices and sizes[0][0] != 1):
        told = " and ".join("x".join(map(str, size)) for size in sizes)
        kind = "slice" if slices else "volume"
        raise UserError(f"{path}: image and label are {told}, not one {kind}; restore it from its source")
    return files[0].load().values, files[1].load().values


def _indices(path: Path, label: Array, classes: int, notes: set[str]) -> Array:
    if label.dtype.kind == "f":
        if bool((label != np.rint(label)).any()):
            raise UserError(f"{path}: the label holds fractions, which are no classes; restore it from its source")
        notes.add("labels of floating point, all whole, made class indices")
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= classes:
        raise UserError(
            f"{path}: labels go from {low} to {high}, but the set has {classes} classes (0 to {classes - 1}): another "
            "version of it; map the labels to these classes first"
        )
    return label.astype(np.uint8)
