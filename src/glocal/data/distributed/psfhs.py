"""PSFHS and FH-PS-AOP 2023: intrapartum ultrasound as MetaImage, ``image_mha/`` with ``label_mha/``."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from glocal.data._tree import place
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, by_stem, missing
from glocal.data.distributed._intrapartum import CLASSES, Meaning, label_indices, meaning_of, values_of
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
from glocal.data.volumes import open_volume, read_labels
from glocal.errors import UserError, counted

__all__ = ["recognise"]


def recognise(tree: Tree) -> Distribution | None:
    """Recognise folders ``image_mha`` and ``label_mha`` side by side."""
    folders = [folder for folder in tree.folders_named("image_mha") if folder.parent / "label_mha" in tree.by_folder]
    if not folders:
        return None
    images = sum(len(tree.within(folder, ".mha")) for folder in folders)
    found = (f"{counted(images, 'image')} in image_mha, labels in label_mha",)

    def content(progress: Progress | None) -> Content:
        return _content(tree, folders, progress)

    title = "PSFHS / FH-PS-AOP: pubic symphysis and fetal head in ultrasound"
    return Distribution("psfhs", title, tree.root, "segmentation", "pictures", False, found, content)


def _content(tree: Tree, folders: list[PurePath], progress: Progress | None) -> Content:
    pairs: list[tuple[Path, Path, PurePath]] = []
    problems: list[Problem] = []
    for folder in folders:
        masks = by_stem(tree.within(folder.parent / "label_mha", ".mha"))
        for image in tree.within(folder, ".mha"):
            mask = masks.pop(image.stem, None)
            if mask is None:
                problems.append(missing("image without mask", image, "label_mha holds no label of it", "add the label"))
            else:
                pairs.append((image, mask, folder.parent))
        problems += [
            missing("mask without image", mask, "image_mha holds no image of it", "add the image")
            for mask in masks.values()
        ]
    meaning, notes = meaning_of(values_of([mask for _, mask, _ in pairs], _labels, progress))
    several = len({folder for _, _, folder in pairs}) > 1
    steps = [_step(*pair, meaning, several) for pair in pairs]
    return Content(steps, len(steps), CLASSES, tuple(notes), tuple(problems))


def _step(image: Path, mask: Path, folder: PurePath, meaning: Meaning, several: bool) -> Step:
    def read(mend: bool) -> Item:
        pixels, notes = _frame(image)
        label = label_indices(mask, _labels(mask), meaning)
        if label.shape != pixels.shape[:2]:
            raise UserError(f"{mask}: the label has another size than its image; restore both from their source")
        return Item(pixels, label, notes=("MetaImage written as PNG", *notes))

    id = "/".join((*folder.parts, image.stem)) if several else image.stem
    return Step(id, (image, mask), read, split=place(folder.parts).split)


def _labels(path: Path) -> Array:
    values = read_labels(path, require_geometry=False).values
    if values.shape[0] != 1:
        raise UserError(f"{path}: a label of {values.shape[0]} slices where one is expected; restore it")
    return np.asarray(values[0])


def _frame(path: Path) -> tuple[Array, tuple[str, ...]]:
    """The picture: the channels are the slowest axis of what the file calls a volume (biometry.md §6)."""
    planes = open_volume(path, require_geometry=False).load().values
    if planes.dtype != np.uint8 or planes.shape[0] not in (1, 3) or planes.ndim not in (3, 4):
        shape = "x".join(map(str, planes.shape))
        raise UserError(f"{path}: {shape} of type {planes.dtype}, where 8-bit 3x256x256 is expected; restore it")
    if planes.ndim == 4:
        planes = planes[0].transpose(2, 0, 1)
    if bool((planes == planes[:1]).all()):
        return planes[0], ("three equal channels made one",) * (planes.shape[0] == 3)
    return np.ascontiguousarray(planes.transpose(1, 2, 0)), ("channels moved last",)
