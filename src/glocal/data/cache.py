"""Decoded, resized images and labels in memory-mapped arrays: decoded once, shared by all workers and later runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from glocal.data._prepare import DeeperError, Depth, Job
from glocal.data._staging import staged_folder
from glocal.data.cases import Case, Dataset, Progress
from glocal.errors import UserError, counted
from glocal.files import read_json, write_json

__all__ = ["CacheEstimate", "CachedCases", "Item", "build_cache", "default_folder", "estimate_cache"]

FORMAT = 1
STALE = 24 * 3600
"""Seconds after which an unfinished build is taken for the remains of a killed process."""

log = logging.getLogger("glocal")

Size: TypeAlias = tuple[int, int]
Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Result = TypeVar("Result")


class Item(TypedDict):
    """One case as a network takes it, before normalisation.

    ``image`` (C, H, W) ``uint8``, or ``int32`` from 16-bit images: divide by :attr:`CachedCases.scale`.
    ``label`` (H, W) ``uint8`` class indices; for classification one class index, or of a multi-label set
    (K,) ``float32`` with 1 for each class that is present. ``index`` into the cases.
    """

    image: torch.Tensor
    label: torch.Tensor | int
    index: int


@dataclass(frozen=True)
class CacheEstimate:
    """What a cache takes, in bytes; ``str()`` gives one line to print."""

    cases: int
    size: Size
    channels: int
    bytes: int
    folder: Path | None
    """Where it goes; ``None`` for memory."""
    available: int
    """Bytes free there."""
    exists: bool
    """A whole cache of the same content is there already."""

    @property
    def fits(self) -> bool:
        """Whether there is room, or nothing to be written."""
        return self.exists or self.bytes <= self.available

    def __str__(self) -> str:
        height, width = self.size
        what = f"{counted(self.cases, 'image')} at {height}x{width}x{self.channels}: {_bytes(self.bytes)}"
        if self.exists:
            return f"{what}, already cached in {self.folder}"
        where = "of memory" if self.folder is None else f"on disk in {self.folder}"
        return f"{what} {where} ({_bytes(self.available)} free)"


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def default_folder() -> Path:
    """``$GLOCAL_CACHE``, or ``~/.cache/glocal`` (``$XDG_CACHE_HOME/glocal`` where that is set)."""
    if chosen := os.environ.get("GLOCAL_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glocal"


def _available(folder: Path | None) -> int:
    """Bytes free where ``folder`` is or will be, or of memory."""
    if folder is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return 2**63
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(present).free


def _key(dataset: Dataset, cases: Sequence[Case], size: Size, channels: int) -> str:
    """A name for the content: changes with any file, its meaning, the order of the cases, size, channels or format."""
    encoding = dataset.encoding
    digest = hashlib.sha256()
    facts = [FORMAT, dataset.fingerprint, encoding.to_json() if encoding else None, list(size), channels]
    facts += [len(dataset.classes)] if dataset.multi_label else []
    facts += [dataset.volumes.facts()] if dataset.volumes is not None else []
    digest.update(json.dumps(facts).encode())
    for case in cases:
        stamps = [path.stat().st_mtime_ns for path in (case.image, *case.masks)]
        digest.update(json.dumps([case.id, case.label, stamps]).encode())
    return digest.hexdigest()[:20]


def _check(dataset: Dataset, cases: Sequence[Case], size: Size, channels: int) -> None:
    if not cases:
        raise UserError("no cases to cache: the split is empty; choose another split or remake it (glocal data splits)")
    neighbours = 1 if dataset.volumes is None else dataset.volumes.neighbours
    if channels not in ((1, 3) if neighbours == 1 else (neighbours,)) or min(size) < 1:
        raise UserError(f"cannot cache images of {size[0]}x{size[1]}x{channels}; use a size from 1 and 1 or 3 channels")


def estimate_cache(
    dataset: Dataset,
    cases: Sequence[Case],
    size: Size,
    channels: int,
    folder: str | Path | None = None,
    *,
    in_memory: bool = False,
) -> CacheEstimate:
    """What :func:`build_cache` with the same arguments will take. Decodes one image, to see its depth.

    Raises:
        UserError: There are no cases, an argument is out of range, or a file is missing.
    """
    _check(dataset, cases, size, channels)
    depth = dataset.read_image(cases[0]).pixels.itemsize
    pixels = len(cases) * size[0] * size[1]
    a_label = 4 * len(dataset.classes) if dataset.multi_label else 8
    number = pixels * channels * depth + (pixels if dataset.task == "segmentation" else a_label * len(cases))
    if in_memory:
        return CacheEstimate(len(cases), size, channels, number, None, _available(None), False)
    caches = default_folder() if folder is None else Path(folder).expanduser()
    target = caches.absolute() / _key(dataset, cases, size, channels)
    exists = _open(target, len(cases)) is not None
    return CacheEstimate(len(cases), size, channels, number, target, _available(target), exists)


class CachedCases(TorchDataset[Item]):
    """Decoded cases, in the order they were given: a map-style dataset for :class:`torch.utils.data.DataLoader`.

    Arrays on disk are mapped, not read: processes share their pages, and a copy sent to a worker holds only their path.

    Attributes:
        ids: Case ids, in order.
        size: ``(height, width)`` in pixels.
        channels: 1 or 3.
        scale: What an image value is divided by to come to [0, 1]: 255, or 65535 if any image has 16 bits.
        notes: What was done to the images, one line a kind.
        folder: Where the arrays are; ``None`` for memory.
    """

    def __init__(self, record: dict[str, Any], folder: Path | None, arrays: Arrays) -> None:
        self.ids: tuple[str, ...] = tuple(record["ids"])
        self.size: Size = (record["size"][0], record["size"][1])
        self.channels: int = record["channels"]
        self.scale: int = record["scale"]
        self.notes: tuple[str, ...] = tuple(record["notes"])
        self.folder = folder
        self._arrays: Arrays | None = arrays

    @property
    def images(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """All images, ``(N, C, H, W)``; read-only where they are on disk."""
        return self._mapped()[0]

    @property
    def labels(self) -> NDArray[np.uint8] | NDArray[np.int64] | NDArray[np.float32]:
        """``(N, H, W)`` ``uint8`` class indices; else ``(N,)`` ``int64``, multi-label ``(N, K)`` ``float32``."""
        return self._mapped()[1]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        image, label = self.images[index], self.labels[index]
        depth = np.uint8 if image.dtype == np.uint8 else np.int32  # the memory is copied: the map is read-only
        return {
            "image": torch.from_numpy(image.astype(depth)),
            "label": torch.from_numpy(np.array(label)) if label.ndim else int(label),
            "index": index % len(self),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": self._arrays if self.folder is None else None}

    def _mapped(self) -> Arrays:
        if self._arrays is None:
            assert self.folder is not None
            self._arrays = _load(self.folder)
        return self._arrays


def _load(folder: Path) -> Arrays:
    try:
        return np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{folder}: the cache is gone or damaged; remove the folder and start again") from error


def _open(folder: Path, count: int) -> CachedCases | None:
    """The cache in ``folder``, or ``None`` if there is no whole one."""
    if not folder.is_dir():
        return None
    try:
        record = read_json(folder / "cache.json")
        arrays = _load(folder)
        shape = (count, record["channels"], *record["size"])
        whole = (
            record["format"] == FORMAT and arrays[0].shape == shape and len(arrays[1]) == len(record["ids"]) == count
        )
        return CachedCases(record, folder, arrays) if whole else None
    except (UserError, KeyError, TypeError, AttributeError):
        return None


def build_cache(
    dataset: Dataset,
    cases: Sequence[Case],
    size: Size,
    channels: int,
    folder: str | Path | None = None,
    *,
    in_memory: bool = False,
    progress: Progress | None = None,
) -> CachedCases:
    """Decode and resize cases once; the next call with the same cases, unchanged, only opens what is there.

    Images are stretched to ``size`` (bilinear, antialiased), masks by nearest neighbour (:mod:`glocal.data.resize`).
    Slices of volumes are kept in [0, 1] to 16 bits; cases should come volume by volume, since one is held at a time.
    Several processes may build the same cache at once. A build that is killed leaves nothing that is taken for whole.

    Args:
        dataset: Where the cases are from.
        cases: What to cache, in order.
        size: ``(height, width)`` in pixels.
        channels: 1 or 3; of slices seen with their neighbours, as many as these are.
        folder: Where caches are kept, each in a folder of its own. Default: :func:`default_folder`.
        in_memory: Keep the arrays in this process instead; workers started by ``spawn`` get a copy each.
        progress: Called with (done, all) as cases are decoded.

    Raises:
        UserError: No room (told before anything is decoded), no cases, an unreadable file, or a mask that does not
            fit its image.
    """
    estimate = estimate_cache(dataset, cases, size, channels, folder, in_memory=in_memory)
    if not estimate.fits:
        cure = "keep it on disk instead" if in_memory else "free some, or set GLOCAL_CACHE to a folder on another disk"
        raise UserError(f"no room to cache {estimate}; {cure}, or choose a smaller size")
    job = Job(dataset, cases, size, channels, progress)
    if estimate.folder is None:
        return _build_in_memory(job)
    if not estimate.exists:
        _build_on_disk(job, estimate.folder)
    cached = _open(estimate.folder, len(cases))
    if cached is None:
        raise UserError(f"{estimate.folder}: the cache was removed while it was opened; start again")
    return cached


def _at_needed_depth(build: Callable[[Depth], Result]) -> Result:
    """8 bits, unless an image turns out to have 16."""
    try:
        return build(np.uint8)
    except DeeperError:
        return build(np.uint16)


def _build_in_memory(job: Job) -> CachedCases:
    def build(depth: Depth) -> CachedCases:
        image_shape, label_shape, label_type = job.shapes()
        images, labels = np.empty(image_shape, depth), np.empty(label_shape, label_type)
        notes: Counter[str] = Counter()
        for index, (image, label, said) in enumerate(job.prepared(depth)):
            images[index], labels[index] = image, label
            notes.update(said)
        return CachedCases(job.record(depth, notes), None, (images, labels))

    return _at_needed_depth(build)


def _build_on_disk(job: Job, target: Path) -> None:
    def build(depth: Depth) -> None:
        image_shape, label_shape, label_type = job.shapes()
        notes: Counter[str] = Counter()
        with (staging / "images.npy").open("wb") as images, (staging / "labels.npy").open("wb") as labels:
            # Written in order, not through a map: a full disk is then an error, and not the end of the process.
            _write_header(images, image_shape, depth)
            _write_header(labels, label_shape, label_type)
            for image, label, said in job.prepared(depth):
                images.write(image.tobytes())
                labels.write(label.tobytes())
                notes.update(said)
        write_json(staging / "cache.json", {"format": FORMAT, **job.record(depth, notes)})

    with _writing(target.parent):
        if target.is_dir():
            log.warning("%s: not a whole cache; it is made anew", target)
            shutil.rmtree(target)
        _remove_remains(target.parent)
        with staged_folder(target, yield_to_other=True) as staging:
            _at_needed_depth(build)


def _write_header(stream: IO[bytes], shape: tuple[int, ...], kind: type[np.generic]) -> None:
    header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot keep a cache here ({reason}); set GLOCAL_CACHE to another folder") from error


def _remove_remains(folder: Path) -> None:
    """Remove what killed builds have left, once it is surely not a build that goes on."""
    for path in folder.glob(".partial-*"):
        with contextlib.suppress(OSError):
            if time.time() - max(file.stat().st_mtime for file in (path, *path.iterdir())) > STALE:
                log.info("removing %s, left by a build that was killed", path)
                shutil.rmtree(path, ignore_errors=True)
