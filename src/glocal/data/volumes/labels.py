"""A volume of labels: whole numbers, whatever type they are stored in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from glocal.data.volumes.arrays import LABEL_KEYS
from glocal.data.volumes.opening import open_any
from glocal.data.volumes.orientation import reorient
from glocal.data.volumes.volume import Affine, Turn, Values, VolumeFile, codes_of
from glocal.errors import UserError

__all__ = ["LabelVolume", "read_labels"]

Labels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_LARGEST = 65535


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A mask of a volume as its file has it: ``values`` ``(D, H, W)``, ``uint8``, or ``uint16`` if one is above 255."""

    path: Path
    values: Labels = field(repr=False)
    affine: Affine
    has_geometry: bool = True
    notes: tuple[str, ...] = ()
    turn: Turn | None = None
    """How the axes of the file became these, if they were turned."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns (D, H, W)."""
        return self.values.shape[0], self.values.shape[1], self.values.shape[2]

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance of voxels along z, y, x in mm; ``None`` where the file does not say."""
        if not self.has_geometry:
            return None
        x, y, z = (float(length) for length in np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)))
        return z, y, x

    @cached_property
    def orientation(self) -> str | None:
        """Where x, y, z point to, such as ``"LPS"``; ``None`` where the file does not say."""
        return codes_of(self.affine) if self.has_geometry else None


def read_labels(
    path: str | Path, *, codes: str | None = None, key: str | None = None, require_geometry: bool = True
) -> LabelVolume:
    """Read a mask of a volume: its values, without giving them a meaning.

    Args:
        path: A file of any kind that :func:`open_volume` opens.
        codes: Turn it to this orientation, as :func:`reorient`; ``None``: as it is stored.
        key: Name of the array in an NPZ or HDF5 file that holds several.
        require_geometry: As for :func:`open_volume`.

    Raises:
        UserError: As :func:`open_volume`; or its values cannot be labels: fractions, negative or above 65535, colours.
    """
    file = open_any(Path(path), None, key, require_geometry, LABEL_KEYS)
    if codes is not None:
        file = reorient(file, codes)
    return _labels(file)


def _labels(file: VolumeFile) -> LabelVolume:
    if file.channels != 1:
        raise UserError(f"{file.path}: a mask with colours is not read as labels; save it with one number a class")
    values: Values = np.zeros(file.shape, np.uint8)
    for k, plane in enumerate(file.slices()):
        whole = _whole(file.path, k, plane)
        if values.dtype == np.uint8 and int(whole.max()) > 255:
            values = values.astype(np.uint16)
        values[k] = whole
    notes = file.notes + (("floating point, all whole: taken as labels",) if file.dtype.kind == "f" else ())
    return LabelVolume(file.path, values, file.affine, file.has_geometry, notes, file.turn)


def _whole(path: Path, k: int, plane: Values) -> Values:
    low, high = float(plane.min()), float(plane.max())
    if plane.dtype.kind == "f" and bool((plane != np.rint(plane)).any()):
        raise UserError(
            f"{path}: a mask holds fractions ({low:g} to {high:g} in slice {k}), such as probabilities or after "
            "resampling with interpolation; save it as whole numbers, one a class"
        )
    if low < 0 or high > _LARGEST:
        raise UserError(
            f"{path}: mask values go from {low:g} to {high:g} in slice {k}; save it with labels in 0 … 65535"
        )
    return plane
