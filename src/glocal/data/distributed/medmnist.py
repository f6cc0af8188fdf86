"""MedMNIST: small pictures for classification in one ``.npz``, read one after the other."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glocal.data._tree import Part
from glocal.data.cases import Progress
from glocal.data.distributed._arrays import NpyHeader, npy_header, rows_of
from glocal.data.distributed._files import Tree
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
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
    found = tuple(f"{part}: {counted(shape[0], 'picture')} of {_size(shape)}" for part, (shape, _) in parts.items())

    def content(progress: Progress | None) -> Content:
        return _content(path, parts)

    return Distribution("medmnist", "MedMNIST", path, "classification", "pictures", False, found, content)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[1:]))


def _parts(path: Path) -> dict[Part, NpyHeader]:
    """Shape and type of the pictures of each part; empty if this is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if not {"train_images.npy", "train_labels.npy"} <= names:
                return {}
            found: dict[Part, NpyHeader] = {}
            for part in _PARTS:
                if {f"{part}_images.npy", f"{part}_labels.npy"} <= names:
                    with archive.open(f"{part}_images.npy") as stream:
                        found[part] = npy_header(path, stream)
            return found
    except (OSError, zipfile.BadZipFile, ValueError, zlib.error, EOFError) as error:
        if isinstance(error, UserError):
            raise
        return {}


def _content(path: Path, parts: dict[Part, NpyHeader]) -> Content:
    for shape, dtype in parts.values():
        if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
            raise UserError(
                f"{path}: pictures of {_size(shape)} and type {dtype}; 8-bit grey or RGB pictures are converted, "
                "volumes of MedMNIST3D are not"
            )
    labels = {part: _labels(path, part, shape[0]) for part, (shape, _) in parts.items()}
    several = any(array.shape[1] > 1 for array in labels.values())
    number = max(array.shape[1] if several else int(array.max()) + 1 for array in labels.values())
    name = re.sub(r"_\d+$", "", path.stem.lower())
    classes = _CLASSES.get(name, ())
    notes = [] if len(classes) == number else ["the file names no classes: they keep their numbers"]
    if len(classes) != number:
        classes = tuple(f"class {index}" for index in range(number))
    count = sum(shape[0] for shape, _ in parts.values())
    steps = _steps(path, parts, labels, classes, several)
    return Content(steps, count, classes, tuple(notes), multi_label=several)


def _labels(path: Path, part: str, count: int) -> Array:
    """``(N, 1)`` class numbers or ``(N, K)`` of 0 and 1."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{part}_labels.npy") as stream:
            shape, dtype = npy_header(path, stream)
            (array,) = rows_of(path, stream, (1, *shape), dtype)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UserError(f"{path}: damaged or truncated; copy it again from its source") from None
    array = array.reshape(len(array), -1)
    if dtype.kind not in "iu" or len(array) != count or bool((array < 0).any()):
        raise UserError(f"{path}: {part}_labels does not give one label a picture; restore the file")
    if array.shape[1] > 1 and int(array.max()) > 1:
        raise UserError(f"{path}: {part}_labels has several columns that are not all 0 and 1; restore the file")
    return array


def _steps(
    path: Path, parts: dict[Part, NpyHeader], labels: dict[Part, Array], classes: tuple[str, ...], several: bool
) -> Iterator[Step]:
    try:
        with zipfile.ZipFile(path) as archive:
            for part, (shape, dtype) in parts.items():
                width = len(str(shape[0] - 1))
                with archive.open(f"{part}_images.npy") as stream:
                    npy_header(path, stream)
                    for index, pixels in enumerate(rows_of(path, stream, shape, dtype)):
                        row = labels[part][index]
                        held = np.flatnonzero(row) if several else row
                        names = tuple(classes[int(number)] for number in held)
                        yield _step(path, f"{part}_{index:0{width}d}", pixels, part, names)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UserError(f"{path}: damaged or truncated; copy it again from its source") from None


def _step(path: Path, id: str, pixels: Array, part: Part, names: tuple[str, ...]) -> Step:
    def read(mend: bool) -> Item:
        return Item(pixels)

    return Step(id, (path,), read, split=part, labels=names)
