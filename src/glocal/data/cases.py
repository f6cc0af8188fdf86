"""A data set once its folder has been recognised: cases with their images, labels and groups."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glocal.data._names import foreground_names
from glocal.data._tree import Part
from glocal.data.encoding import Declared, Encoding, MaskFacts, infer_encoding, mask_facts
from glocal.data.readers import Picture, image_size, read_image, read_mask
from glocal.data.slices import VolumeSet, label_facts
from glocal.errors import UserError, counted, nearest

__all__ = ["Case", "Dataset", "Part", "Problem", "Progress", "Task"]

Task: TypeAlias = Literal["segmentation", "classification"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

_SAMPLE = 16 * 1024


@dataclass(frozen=True)
class Case:
    """One image with its label; of a volume, one slice."""

    id: str
    """Unique in the data set: the stem, with folders before it where stems repeat; of slice 12 of x ``x#012``."""
    image: Path
    masks: tuple[Path, ...] = ()
    """Segmentation: one mask, or several that are united."""
    label: int | tuple[int, ...] | None = None
    """Classification: the class index; in a multi-label set the indices of the classes present, perhaps none."""
    group: str = ""
    """What must not be split between train and test; cases that belong to nothing larger have a group of their own."""
    split: Part | None = None
    """The part a ready-made split puts it in."""
    stratum: str | None = None
    """A class of the whole image (benign, malignant, normal), several joined by ``|``: splits keep its proportions."""
    spacing: tuple[float, float] | None = None
    """Size of a pixel (height, width) in mm, where it is known."""
    volume: str | None = None
    """The volume that this is a slice of; ``None`` for a picture."""
    slice: int | None = None
    """Which of its slices, from 0; ``image`` and ``masks`` are those of the whole volume."""

    @property
    def labels(self) -> tuple[int, ...]:
        """Classification: the indices of all classes of the case, one or several or none."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, int) else self.label


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data set that the rest of it survives, with its cure."""

    kind: str
    """One of a few words, such as ``"image without mask"``."""
    path: Path
    message: str
    """One line that begins with the path: what is wrong and what to do."""


@dataclass(frozen=True)
class Dataset:
    """What was recognised in a folder.

    ``encoding``, ``classes`` and ``notes`` of a segmentation set need every mask to be read once; that happens when one
    of them is first asked, or in :meth:`scan`, which can show progress. Nothing is decoded twice for it.
    """

    root: Path
    task: Task
    layout: str
    """In words: how the folder is organised."""
    cases: tuple[Case, ...]
    """Sorted by id."""
    layout_notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    class_names: tuple[str, ...] = ()
    """Classification: the names of the classes."""
    multi_label: bool = False
    """Classification: an image may show several classes, or none."""
    declared: Declared | None = None
    volumes: VolumeSet | None = None
    """Of a set of volumes, whose cases are slices: the volumes, and how their slices are seen."""
    _facts: dict[Path, MaskFacts] = field(default_factory=dict, repr=False, compare=False)
    _given: Encoding | None = None

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def _index(self) -> Mapping[str, Case]:
        return {case.id: case for case in self.cases}

    def case(self, id: str) -> Case:
        """The case with this id.

        Raises:
            UserError: There is none; the nearest is named.
        """
        if id not in self._index:
            raise UserError(f"{self.root}: no case {id!r}.{nearest(id, self._index)}")
        return self._index[id]

    def select(self, ids: Iterable[str]) -> tuple[Case, ...]:
        """The cases with these ids, in their order.

        Raises:
            UserError: There is no such case.
        """
        return tuple(self.case(id) for id in ids)

    def scan(self, progress: Progress | None = None) -> Mapping[Path, MaskFacts]:
        """Read every mask once and remember what it holds; later calls return what is known.

        An unreadable mask has ``error`` set and does not stop the scan. Classification sets have nothing to scan.
        """
        masks = dict.fromkeys(mask for case in self.cases for mask in case.masks)
        missing = [mask for mask in masks if mask not in self._facts]
        facts, most = (mask_facts, 8) if self.volumes is None else (label_facts, 2)  # a volume is held whole
        with ThreadPoolExecutor(min(most, (os.cpu_count() or 1) + 1)) as pool:
            try:
                for done, fact in enumerate(pool.map(facts, missing), 1):
                    self._facts[fact.path] = fact
                    if progress is not None:
                        progress(done, len(missing))
            finally:
                pool.shutdown(cancel_futures=True)
        return MappingProxyType(self._facts)

    @cached_property
    def _inferred(self) -> tuple[Encoding, tuple[str, ...]]:
        if self._given is not None:
            return self._given, ("meaning of the mask values as given",)
        facts = self.scan()
        encoding, notes = infer_encoding(list(facts.values()), self.declared)
        kinds: dict[str, int] = {}
        for fact in facts.values():
            for note in fact.notes:
                kinds[note] = kinds.get(note, 0) + 1
        return encoding, (*notes, *(f"{counted(count, 'mask')}: {note}" for note, count in kinds.items()))

    @property
    def encoding(self) -> Encoding | None:
        """Which class each raw mask value means; None for classification.

        Raises:
            UserError: The values cannot be labels (:func:`~glocal.data.encoding.infer_encoding`).
        """
        return self._inferred[0] if self.task == "segmentation" else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; in segmentation the first is the background.

        Raises:
            UserError: As :attr:`encoding`.
        """
        if self.encoding is None:
            return self.class_names
        if self.declared is not None and len(self.declared.names) == self.encoding.classes:
            return self.declared.names
        number = self.encoding.classes - 1
        where = "/".join((self.root.resolve().name, *self._common_folders))
        known = foreground_names(where, number) or (("foreground",) if number == 1 else ())
        return ("background", *(known or (f"class {index + 1}" for index in range(number))))

    @property
    def _common_folders(self) -> tuple[str, ...]:
        """Folders below the root that hold all images, such as the one an archive unpacks into."""
        common = os.path.commonpath([case.image.parent for case in self.cases])
        return Path(common).relative_to(self.root).parts

    @property
    def notes(self) -> tuple[str, ...]:
        """How the folder and the masks were understood, a sentence each.

        Raises:
            UserError: As :attr:`encoding`.
        """
        return self.layout_notes + (self._inferred[1] if self.task == "segmentation" else ())

    def read_image(self, case: Case) -> Picture:
        """The image of a case; see :func:`~glocal.data.readers.read_image`, of a slice :meth:`VolumeSet.picture`."""
        if self.volumes is None or case.volume is None or case.slice is None:
            return read_image(case.image)
        return self.volumes.picture(case.volume, case.slice)

    def read_label(self, case: Case) -> npt.NDArray[np.uint8]:
        """Class indices of a segmentation case at the size of its image: ``uint8 (H, W)``.

        Several masks are united; where they overlap the highest class holds.

        Raises:
            UserError: A mask cannot be read, has another size than the image, or holds unknown values.
            ValueError: The data set is for classification; its labels are ``case.label``.
        """
        encoding = self.encoding
        if encoding is None:
            raise ValueError("a classification set has no masks; the class of a case is case.label")
        if self.volumes is not None and case.volume is not None and case.slice is not None:
            of_slice: npt.NDArray[np.uint8] = self.volumes.labels(case.volume, encoding)[case.slice]
            return of_slice
        size = image_size(case.image)
        label = np.zeros(size, np.uint8)
        for path in case.masks:
            mask = read_mask(path)
            if mask.size != size:
                raise UserError(size_mismatch(path, mask.size, case.image, size))
            np.maximum(label, encoding.apply(mask, path), out=label)
        return label

    def label_name(self, case: Case) -> str:
        """The class of a classification case in words; of a multi-label set all that are present, or ``"none"``."""
        return " + ".join(self.classes[index] for index in case.labels) or "none"

    def foreground(self, case: Case) -> float:
        """Share of the pixels of a segmentation case that are not background, from :meth:`scan`; in [0, 1].

        Where several masks overlap, their pixels are added. For a slice it is the share in its whole volume.

        Raises:
            UserError: A mask cannot be read, or holds unknown values.
        """
        facts, encoding = self.scan(), self.encoding
        assert encoding is not None
        share = 0.0
        for path in case.masks:
            counts = encoding.class_counts(facts[path])
            share += float(counts[1:].sum() / counts.sum())
        return min(share, 1.0)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with the data and not with where or when they were copied.

        SHA-256 over the sorted ids with their group, class and, for every file, its size in bytes, its first and last
        16 KiB.
        """
        digest = hashlib.sha256()
        for case in self.cases:
            digest.update(repr((case.id, case.group, case.label, len(case.masks))).encode())
            for path in () if case.slice else _files_of(case):  # those of a volume once, with its slice 0
                if path.exists() and not path.is_file():  # opening a pipe would wait for ever
                    raise UserError(f"{path}: a folder, pipe or device where a file is expected; remove it")
                try:
                    with path.open("rb") as stream:
                        length = stream.seek(0, 2)
                        stream.seek(0)
                        head = stream.read(_SAMPLE)
                        stream.seek(max(0, length - _SAMPLE))
                        tail = stream.read(_SAMPLE)
                except OSError as error:
                    raise UserError(f"{path}: cannot be read ({error.strerror}); restore or remove it") from None
                digest.update(length.to_bytes(8, "big") + head + tail)
        return digest.hexdigest()[:16]


def _files_of(case: Case) -> tuple[Path, ...]:
    """The image and the masks; for the folder of a DICOM series the files in it."""
    if case.volume is None or not case.image.is_dir():
        return (case.image, *case.masks)
    return (*sorted(path for path in case.image.iterdir() if path.is_file()), *case.masks)


def size_mismatch(mask: Path, mask_size: tuple[int, int], image: Path, size: tuple[int, int]) -> str:
    """The line that says a mask and its image differ in size, and what to do."""
    height, width = size
    text = f"{mask}: the mask is {mask_size[1]}x{mask_size[0]} pixels, its image {image.name} {width}x{height}; "
    if mask_size == (width, height) and height != width:
        return text + "it is lying on its side (an EXIF orientation in one of the two): turn it and save it again"
    return text + "export the mask again at the size of the image, or remove both"
