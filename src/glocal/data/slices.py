"""Volumes as networks for images see them: slices along common axes, in [0, 1], with their neighbours."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from glocal.data.encoding import Encoding, MaskFacts
from glocal.data.intensity import Intensity
from glocal.data.readers import Mask, Picture
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.data.volumes import LabelVolume, VolumeFile

__all__ = [
    "UNUSABLE",
    "StoredVolume",
    "VolumeSet",
    "class_indices",
    "grid_problem",
    "label_facts",
    "slice_picture",
    "united_labels",
]

UNUSABLE = ("unreadable volume", "mask off its volume")
"""Kinds of problems of volumes that are left out though they have a mask."""

_HELD = 2
"""Volumes that stay in memory: cases come volume by volume, and threads may be at the end of one and the next."""
_CLOSE = 0.05
"""Of a voxel: how far the corners of the grids of a mask and its volume may be apart."""

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class StoredVolume:
    """A volume of a data set and its masks, as they are stored."""

    id: str
    image: Path
    """A file, or the folder of a DICOM series."""
    masks: tuple[Path, ...]
    shape: tuple[int, int, int]
    """Slices, rows, columns (D, H, W) along the axes of the set."""
    spacing: tuple[float, float, float] | None
    """Distance of voxels along z, y, x of the set in mm."""
    channels: int = 1
    """1 (grey) or 3 (RGB)."""
    modality: str | None = None
    """``"CT"``, ``"MR"``, … where the file or ``dataset.json`` says so."""


@dataclass(frozen=True, eq=False)
class VolumeSet:
    """The volumes of a data set, read slice by slice along common axes; one or two of them are held in memory.

    Attributes:
        volumes: By id.
        orientation: Where x, y, z of every volume point to once it is turned, such as ``"RAS"``; ``None``: all are left
            as they are stored, as some file does not say.
        intensity: How values come to [0, 1].
        neighbours: Slices that make one picture, as its channels; odd.
    """

    volumes: Mapping[str, StoredVolume]
    orientation: str | None
    intensity: Intensity = field(default_factory=lambda: Intensity("percentiles"))
    neighbours: int = 1
    _images: _Held[tuple[NDArray[Any], tuple[float, float]]] = field(default_factory=lambda: _Held(), repr=False)
    _labels: _Held[NDArray[np.uint8]] = field(default_factory=lambda: _Held(), repr=False)

    def seen(self, intensity: Intensity, neighbours: int = 1) -> VolumeSet:
        """The same volumes, their slices brought to [0, 1] in this way, with this number of neighbours."""
        return replace(self, intensity=intensity, neighbours=neighbours, _images=_Held(), _labels=_Held())

    def facts(self) -> dict[str, Any]:
        """How volumes are seen, as JSON values."""
        return {
            "orientation": self.orientation,
            "intensity": self.intensity.to_json(),
            "neighbours": self.neighbours,
        }

    def file(self, id: str) -> VolumeFile:
        """A volume on disk, along the axes of the set.

        Raises:
            UserError: It cannot be read any more.
        """
        from glocal.data.volumes import open_volume, reorient

        file = open_volume(self.volumes[id].image)
        return file if self.orientation is None else reorient(file, self.orientation)

    def picture(self, id: str, index: int) -> Picture:
        """A slice in [0, 1] to 16 bits: ``(H, W, C)``; C is 1 or 3 (colour), or the number of neighbours.

        Beyond the first and the last slice these are repeated. Neighbours of slices in colour are grey.

        Args:
            id: Of the volume.
            index: Of the slice, from 0.

        Raises:
            UserError: The volume cannot be read.
        """
        values, limits = self._images.get(id, lambda: self._loaded(id))
        side = self.neighbours // 2
        around = [slice_picture(values[k], limits) for k in _around(index, side, len(values))]
        if not side:
            return around[0]
        grey = [np.rint(one.unit(1) * 65535).astype(np.uint16) for one in around]
        return Picture(np.concatenate(grey, axis=2))

    def _loaded(self, id: str) -> tuple[NDArray[Any], tuple[float, float]]:
        volume = self.file(id).load()
        held = _InMemory(self.volumes[id].image, volume.values)
        return volume.values, self.intensity.limits(held)

    def labels(self, id: str, encoding: Encoding) -> NDArray[np.uint8]:
        """Class indices of a volume, ``uint8 (D, H, W)`` along the axes of the set.

        Several masks are united; where they overlap the highest class holds.

        Raises:
            UserError: A mask cannot be read, has another size than its volume, or holds unknown values.
        """
        stored = self.volumes[id]
        return self._labels.get(id, lambda: united_labels(stored, stored.shape, encoding, self.orientation))


def united_labels(
    stored: StoredVolume, shape: tuple[int, int, int], encoding: Encoding, codes: str | None = None
) -> NDArray[np.uint8]:
    """Class indices of all masks of a volume together, ``uint8 (D, H, W)``; the highest class holds.

    Args:
        stored: The volume.
        shape: Of the result.
        encoding: Meaning of the values.
        codes: What the masks are turned to; default: they are left as they are stored.

    Raises:
        UserError: A mask cannot be read, is no longer of the size of its volume, or holds unknown values.
    """
    from glocal.data.volumes import read_labels

    united = np.zeros(shape, np.uint8)
    for path in stored.masks:
        labels = read_labels(path, codes=codes)
        if labels.shape != shape:
            raise UserError(f"{path}: the mask has changed since the folder was opened; start again")
        np.maximum(united, class_indices(labels, encoding), out=united)
    return united


def class_indices(labels: LabelVolume, encoding: Encoding) -> NDArray[np.uint8]:
    """Class indices of the values of a mask, ``uint8 (D, H, W)``.

    Raises:
        UserError: It holds values that ``encoding`` does not know.
    """
    flat = Mask(labels.values.reshape(-1, labels.values.shape[-1]))
    return encoding.apply(flat, labels.path).reshape(labels.values.shape)


def slice_picture(plane: NDArray[Any], limits: tuple[float, float]) -> Picture:
    """A slice ``(H, W)`` or ``(H, W, 3)`` as a picture of 16 bits, over its full range between ``limits``."""
    pixels = np.rint(Intensity().unit(plane, limits) * np.float32(65535)).astype(np.uint16)
    return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None])


def label_facts(path: Path) -> MaskFacts:
    """What the mask of a volume holds, as :func:`~glocal.data.encoding.mask_facts` says it of a picture."""
    from glocal.data.volumes import read_labels

    try:
        labels = read_labels(path, require_geometry=False)
    except UserError as error:
        return MaskFacts(path, error=str(error))
    every = np.bincount(labels.values.ravel())
    found = np.flatnonzero(every)
    counts = dict(zip(found.tolist(), every[found].tolist(), strict=True))
    return MaskFacts(path, labels.shape[1:], counts, notes=labels.notes)


def grid_problem(image: VolumeFile, mask: VolumeFile | LabelVolume) -> str | None:
    """Why a mask does not lie on its volume, in one line; ``None`` if it does, or neither says where it is."""
    if image.shape != mask.shape:
        sizes = " and ".join("x".join(map(str, reversed(shape))) for shape in (mask.shape, image.shape))
        return f"{mask.path}: mask and volume have {sizes} voxels; export the mask on the grid of the volume"
    if not image.has_geometry and not mask.has_geometry:
        return None
    if image.has_geometry != mask.has_geometry:
        lost, other = (mask.path, image.path) if image.has_geometry else (image.path, mask.path)
        return f"{lost}: it does not say where its voxels are, but {other.name} does; {_MEND}"
    apart = _corners(image) - _corners(mask)
    if np.linalg.norm(apart, axis=1).max() <= _CLOSE * min(image.spacing or (1.0,)):
        return None
    if image.orientation != mask.orientation:
        what = f"the mask is stored along {mask.orientation}, its volume along {image.orientation}"
        return f"{mask.path}: {what}; {_MEND}"
    return (
        f"{mask.path}: mask and volume lie in different places in space; resample the mask onto the volume, or correct "
        "its header"
    )


_MEND = "'glocal data mend DIR OUT' writes a folder where they agree"


def _corners(file: VolumeFile | LabelVolume) -> NDArray[np.float64]:
    depth, height, width = (size - 1 for size in file.shape)
    corners = np.array([[0, 0, 0, 1], [width, 0, 0, 1], [0, height, 0, 1], [0, 0, depth, 1]], np.float64)
    return np.asarray(corners @ file.affine.T, np.float64)


def _around(index: int, side: int, depth: int) -> Sequence[int]:
    return [min(max(k, 0), depth - 1) for k in range(index - side, index + side + 1)]


@dataclass(frozen=True)
class _InMemory:
    """A volume that has been loaded, as :meth:`Intensity.limits` reads it."""

    path: Path
    values: NDArray[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def slices(self) -> Iterator[NDArray[Any]]:
        return iter(self.values)


class _Held(Generic[Kept]):
    """The last few things that were made, by name; made once however many threads ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, make: Callable[[], Kept]) -> Kept:
        with self._lock:
            if name not in self._kept:
                while len(self._kept) >= _HELD:
                    self._kept.popitem(last=False)
                self._kept[name] = make()
            self._kept.move_to_end(name)
            return self._kept[name]
