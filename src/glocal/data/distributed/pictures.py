"""Layouts of pictures that ``open_dataset`` reads as they are: ISIC 2018, LGG, BUSI, Kvasir-SEG, and any plain one."""

from __future__ import annotations

import re
from pathlib import Path

from glocal.data.cases import Case, Dataset, Progress
from glocal.data.distributed._files import Tree
from glocal.data.distributed.distribution import Content, Distribution, Item, Step
from glocal.data.distributed.picture import picture_item
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES, read_header
from glocal.errors import UserError, counted

__all__ = ["plain", "recognise"]

_ISIC = re.compile(r"(?i)ISIC_?2018_Task1(-2)?_(Training|Validation|Test)_(Input|GroundTruth)")
_LGG = re.compile(r"TCGA_\w{2}_\w{4}_\d{8}_\d+_mask\.tif")
_BUSI = re.compile(r"(benign|malignant|normal) \(\d+\)_mask(_\d+)?\.png")


def recognise(tree: Tree) -> Distribution | None:
    """Recognise a published data set by the names of its folders and files."""
    folders = {folder.name for folder in tree.by_folder}
    isic = {match[3].lower() for name in folders if (match := _ISIC.fullmatch(name))}
    if isic == {"input", "groundtruth"}:
        return _published("isic2018", "ISIC 2018, task 1: outlines of skin lesions", tree)
    masks = [path for path in tree.files if _LGG.fullmatch(path.name)]
    if masks:
        patients = {path.name[:12] for path in masks}
        said = f"{counted(len(masks), 'slice')} of {counted(len(patients), 'patient')}"
        return _published("lgg", "LGG MRI segmentation (kaggle_3m)", tree, said)
    if sum(bool(_BUSI.fullmatch(path.name)) for path in tree.files) > len(tree.files) / 4:
        return _published("busi", "BUSI: breast ultrasound with masks of the lesions", tree)
    names = {tree.root.name.lower(), *(folder.name.lower() for folder in tree.by_folder)}
    if {"images", "masks"} <= names and any(
        path.name in ("kavsir_bboxes.json", "bounding-boxes.json") for path in tree.files
    ):
        return _published("kvasir", "Kvasir-SEG: polyps with masks", tree)
    return None


def _published(name: str, title: str, tree: Tree, said: str = "") -> Distribution:
    found = said or f"{counted(len(tree.files), 'file')}"
    return _readable(name, title, tree.root, (found,))


def plain(root: Path) -> Distribution:
    """Any folder that ``open_dataset`` reads: images with masks, or with classes.

    Raises:
        UserError: It reads none there.
    """
    from glocal.data.layouts import open_dataset

    dataset = open_dataset(root)
    found = (dataset.layout, counted(len(dataset), "case"))
    return _readable("plain", f"pictures for {dataset.task}", root, found, dataset)


def _readable(
    name: str, title: str, root: Path, found: tuple[str, ...], dataset: Dataset | None = None
) -> Distribution:
    def content(progress: Progress | None) -> Content:
        from glocal.data.layouts import open_dataset

        return _content(dataset or open_dataset(root), progress)

    task = "segmentation" if dataset is None else dataset.task
    return Distribution(name, title, root, task, "pictures", True, found, content)


def _content(dataset: Dataset, progress: Progress | None) -> Content:
    dataset.scan(progress)
    steps = [_step(dataset, case) for case in dataset.cases]
    return Content(steps, len(steps), dataset.classes, dataset.notes, dataset.problems, dataset.multi_label)


def _step(dataset: Dataset, case: Case) -> Step:
    def read(mend: bool) -> Item:
        picture = dataset.read_image(case)
        if dataset.task == "classification":
            return picture_item(case.image, picture, None)
        label = dataset.read_label(case)
        notes = [f"{len(case.masks)} masks united"] * (len(case.masks) > 1)
        encoding = dataset.encoding
        if encoding is not None and (encoding.coloured or any(value != i for value, i in encoding.mapping.items())):
            notes.append("mask values made class indices")
        return picture_item(case.image, picture, label, tuple(notes))

    if dataset.task == "classification":
        labels = tuple(dataset.classes[index] for index in case.labels)
    else:
        labels = (case.stratum,) if case.stratum else ()
    group = case.group if case.group != case.id else None
    return Step(case.id, (case.image, *case.masks), read, group, case.split, labels, _pixel_size(case))


def _pixel_size(case: Case) -> float | None:
    """Side of a square pixel in mm, from a table or else the header of DICOM, which its PNG lacks."""
    spacing = case.spacing
    if spacing is None and case.image.suffix.lower() in DICOM_SUFFIXES:
        try:
            spacing = read_header(case.image).frames[0].spacing
        except UserError:
            return None  # reading the case says what is wrong
    return spacing[0] if spacing and spacing[0] == spacing[1] else None
