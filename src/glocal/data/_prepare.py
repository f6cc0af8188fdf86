"""Cases on their way into arrays: decoded by threads, resized, in order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from glocal.data.cases import Case, Dataset, Progress
from glocal.data.resize import image_at, label_at
from glocal.errors import counted

__all__ = ["DeeperError", "Depth", "Job", "threads"]

BATCH = 64
"""Images that are decoded ahead: bounds the memory of a build."""

Depth: TypeAlias = type[np.uint8] | type[np.uint16]
"""Type of all images of a cache."""

LabelType: TypeAlias = type[np.uint8] | type[np.int64] | type[np.float32]


def threads() -> int:
    """Threads that decode: one more than the cores this process may use (files are waited for), at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores + 1)


class DeeperError(Exception):
    """An image has 16 bits though the arrays were laid out for 8."""


@dataclass
class Job:
    """Cases on their way into arrays."""

    dataset: Dataset
    cases: Sequence[Case]
    size: tuple[int, int]
    channels: int
    progress: Progress | None

    def prepared(self, depth: Depth) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
        """Image, label and notes of each case, in order, decoded by threads and at most ``BATCH`` ahead."""
        waiting, done = iter(self.cases), 0
        with ThreadPoolExecutor(threads()) as pool:
            try:
                while batch := list(islice(waiting, BATCH)):
                    for image, label, notes in pool.map(self._prepare, batch):
                        if image.dtype == np.uint16 and depth is np.uint8:
                            raise DeeperError
                        wide = image.dtype == np.uint8 and depth is np.uint16
                        yield image.astype(np.uint16) * 257 if wide else image, label, notes
                        done += 1
                        if self.progress is not None:
                            self.progress(done, len(self.cases))
            finally:
                pool.shutdown(cancel_futures=True)

    def _prepare(self, case: Case) -> tuple[Any, Any, tuple[str, ...]]:
        picture = self.dataset.read_image(case)
        notes = picture.notes
        if picture.size != self.size:
            notes = (*notes, f"stretched to {self.size[0]}x{self.size[1]}")
        if picture.channels == 3 and self.channels == 1:
            notes = (*notes, "colour reduced to grey")
        image = image_at(picture, self.size, self.channels)
        if self.dataset.task == "classification":
            return image, self._class_label(case), notes
        return image, label_at(self.dataset.read_label(case), self.size), notes

    def _class_label(self, case: Case) -> np.int64 | NDArray[np.float32]:
        """The class index, or for a multi-label set ``(K,)`` with 1 for each class that is present."""
        if not self.dataset.multi_label:
            return np.int64(case.labels[0])
        present = np.zeros(len(self.dataset.classes), np.float32)
        present[list(case.labels)] = 1
        return present

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], LabelType]:
        """Shape of the images, and shape and type of the labels."""
        count = len(self.cases)
        images = (count, self.channels, *self.size)
        if self.dataset.multi_label:
            return images, (count, len(self.dataset.classes)), np.float32
        if self.dataset.task == "classification":
            return images, (count,), np.int64
        return images, (count, *self.size), np.uint8

    def record(self, depth: Depth, notes: Counter[str]) -> dict[str, Any]:
        """What ``cache.json`` says."""
        return {
            "root": str(self.dataset.root),
            "size": list(self.size),
            "channels": self.channels,
            "scale": int(np.iinfo(depth).max),
            "notes": [f"{counted(count, 'image')}: {note}" for note, count in notes.most_common()],
            "ids": [case.id for case in self.cases],
        }
