"""MedMNIST: small pictures for classification in one ``.npz``, read one after the other."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glocal.data._tree import Part
from glocal.data.cases import Progress
from glocal.data.distributed._files import Tree
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
from glocal.data.volumes import VolumeFile
from glocal.data.volumes.arrays import open_npz
from glocal.errors import UserError, counted

__all__ = ["recognise"]

_PARTS: tuple[Part, ...] = ("train", "val", "test")
_ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)
_CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
        *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
    ),
    "chestmnist": (
        *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia"),
        *("pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
    ),
    "dermamnist": (
        *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma"),
        *("benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        *("basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte"),
        *("neutrophil", "platelet"),
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
"""Names in the order of the makers' numbers; other sets keep the numbers."""


def recognise(tree: Tree) -> Distribution | None:
    """Recognise an ``.npz`` with ``train_images`` and ``train_labels``.

    Raises:
        UserError: Several such files are there.
    """
    files = [tree.root / path for path in tree.files if path.suffix.lower() == ".npz"]
    if not files or len(files) > 40 or len(files) < len(tree.files) / 2:  # folders of slices are not looked into
        return None
    held = [(path, parts) for path in files if (parts := _parts(path))]
    if not held:
        return None
    if len(held) > 1:
        raise UserError(f"{tree.root}: {len(held)} MedMNIST files ({held[0][0].name}, …); name one of them")
    path, parts = held[0]

    def content(progress: Progress | None) -> Content:
        return _content(path, parts)

    return Distribution("medmnist", "MedMNIST", path, "classification", "pictures", False, _found(path, parts), content)


def _parts(path: Path) -> tuple[Part, ...]:
    """The parts that a file holds; none if it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return ()
    if not {"train_images.npy", "train_labels.npy"} <= names:
        return ()
    return tuple(part for part in _PARTS if {f"{part}_images.npy", f"{part}_labels.npy"} <= names)


def _found(path: Path, parts: tuple[Part, ...]) -> tuple[str, ...]:
    said = []
    for part in parts:
        file = _pictures(path, part)
        size = "x".join(map(str, (*file.shape[1:], *(3,) * (file.channels == 3))))
        said.append(f"{part}: {counted(file.shape[0], 'picture')} of {size}")
    return tuple(said)


def _pictures(path: Path, part: Part) -> VolumeFile:
    """The pictures of a part, one after another as slices.

    Raises:
        UserError: They are no 8-bit pictures.
    """
    if "3d" in path.stem.lower():
        raise UserError(f"{path}: volumes of MedMNIST3D are not converted; give one of the 2-D sets")
    file = open_npz(path, f"{part}_images")
    if file.dtype != np.uint8:
        raise UserError(f"{path}: {part}_images are {file.dtype} where 8-bit pictures are expected; restore the file")
    return file


def _content(path: Path, parts: tuple[Part, ...]) -> Content:
    pictures = {part: _pictures(path, part) for part in parts}
    labels = {part: _labels(path, part, len(pictures[part])) for part in parts}
    several = any(array.shape[1] > 1 for array in labels.values())
    number = max(array.shape[1] if several else int(array.max()) + 1 for array in labels.values())
    name = re.sub(r"_\d+$", "", path.stem.lower())
    classes = _CLASSES.get(name, ())
    notes = [] if len(classes) == number else ["the file names no classes: they keep their numbers"]
    if len(classes) != number:
        classes = tuple(f"class {index}" for index in range(number))
    steps = _steps(path, pictures, labels, classes, several)
    return Content(steps, sum(map(len, pictures.values())), classes, tuple(notes), multi_label=several)


def _labels(path: Path, part: Part, count: int) -> Array:
    """``(N, 1)`` class numbers or ``(N, K)`` of 0 and 1."""
    array = np.asarray(open_npz(path, f"{part}_labels").read(0))
    if array.dtype.kind not in "iu" or len(array) != count or bool((array < 0).any()):
        raise UserError(f"{path}: {part}_labels does not give one label a picture; restore the file")
    if array.shape[1] > 1 and int(array.max()) > 1:
        raise UserError(f"{path}: {part}_labels has several columns that are not all 0 and 1; restore the file")
    return array


def _steps(
    path: Path, pictures: dict[Part, VolumeFile], labels: dict[Part, Array], classes: tuple[str, ...], several: bool
) -> Iterator[Step]:
    for part, file in pictures.items():
        width = len(str(len(file) - 1))
        for index, pixels in enumerate(file.slices()):
            row = labels[part][index]
            held = np.flatnonzero(row) if several else row
            names = tuple(classes[int(number)] for number in held)
            yield _step(path, f"{part}_{index:0{width}d}", pixels, part, names)


def _step(path: Path, id: str, pixels: Array, part: Part, names: tuple[str, ...]) -> Step:
    def read(mend: bool) -> Item:
        return Item(pixels)

    return Step(id, (path,), read, split=part, labels=names)
