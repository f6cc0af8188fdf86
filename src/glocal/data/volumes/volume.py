"""A volume on disk, read slice by slice, and a volume in memory; both know their spacing and axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from glocal.errors import UserError, optional_import

__all__ = ["Affine", "SliceSource", "Turn", "Values", "Volume", "VolumeFile", "codes_of"]

Values: TypeAlias = npt.NDArray[Any]
"""``float32`` or an integer type."""
Affine: TypeAlias = npt.NDArray[np.float64]
"""``(4, 4)``: voxel index (x = column, y = row, z = slice) to millimetres towards Right, Anterior, Superior."""
Turn: TypeAlias = tuple[tuple[int, int], ...]
"""For each stored axis x, y, z: the axis it became, and 1 or -1 where it was flipped (nibabel's ``ornt``)."""


class SliceSource(Protocol):
    """Where the slices of a volume come from."""

    def read(self, k: int) -> Values:
        """Slice ``k``: ``(H, W)`` or ``(H, W, 3)``."""

    def slices(self) -> Iterator[Values]:
        """All slices from the first to the last, holding one at a time where the kind of file allows it."""


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """A volume on disk: what its header says, and its slices when they are asked for.

    Axes are named as in NIfTI: x along a row (the column index), y down a column (the row index), z from one slice to
    the next. It holds no name, number, date or place of a patient or a hospital.
    """

    path: Path
    """The file, or the folder of a DICOM series."""
    kind: str
    """``"NIfTI"``, ``"MetaImage"``, ``"DICOM series"``, …"""
    files: tuple[Path, ...] = field(repr=False)
    """The files its slices are in; of a DICOM series in the order of the slices."""
    shape: tuple[int, int, int]
    """Slices, rows, columns (D, H, W)."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    dtype: np.dtype[Any]
    """Of the slices that :meth:`read` gives: ``float32`` or an integer type."""
    affine: Affine
    """Index (x, y, z) to RAS+ millimetres; the identity where the file does not say (``has_geometry`` is false)."""
    has_geometry: bool
    """Whether the file says where its voxels are."""
    source: SliceSource = field(repr=False)
    modality: str | None = None
    """``"CT"``, ``"MR"``, ``"US"``, … as DICOM names it; ``None`` where the file does not say."""
    notes: tuple[str, ...] = ()
    """What was done to read it; an ordinary file has none."""
    pixel_spacing: tuple[float, float] | None = None
    """Of frames without a place in space (a cine): (y, x) in mm. Others have :attr:`spacing`."""
    stored: VolumeFile | None = field(default=None, repr=False)
    """The file as its axes are stored, if :func:`~glocal.data.volumes.reorient` gave this one."""
    turn: Turn | None = None
    """How the stored axes became these."""

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance of voxels along z, y, x in mm; ``None`` where the file does not say."""
        return _spacing(self.affine) if self.has_geometry else None

    @property
    def plane_spacing(self) -> tuple[float, float] | None:
        """Distance of pixels within a slice along y and x in mm; ``None`` where the file does not say."""
        return self.spacing[1:] if self.spacing else self.pixel_spacing

    @cached_property
    def orientation(self) -> str | None:
        """Where x, y, z point to, such as ``"LPS"``; ``None`` where the file does not say."""
        return codes_of(self.affine) if self.has_geometry else None

    @property
    def nbytes(self) -> int:
        """Bytes of all slices together."""
        return int(np.prod([*self.shape, self.channels], dtype=object)) * self.dtype.itemsize

    def __len__(self) -> int:
        """Number of slices."""
        return self.shape[0]

    def read(self, k: int) -> Values:
        """Slice ``k`` in real units: ``(H, W)``, or ``(H, W, 3)`` of RGB; ``dtype`` is :attr:`dtype`.

        Rescale slope and intercept are applied and MONOCHROME1 is inverted. Going backwards in a compressed NIfTI
        unpacks it once to a temporary file without a name; use :meth:`slices` to go through all.

        Args:
            k: From 0 to ``len(self) - 1``.

        Raises:
            IndexError: There is no such slice.
            UserError: The file is damaged or truncated there, or the slice holds NaN or infinity.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"{self.path}: there is no slice {k}; the volume has {len(self)}, counted from 0")
        return _finite(self.path, k, self.source.read(k))

    def slices(self) -> Iterator[Values]:
        """Slices 0, 1, … as :meth:`read` gives them, in one pass through the file.

        Raises:
            UserError: As :meth:`read`.
        """
        for k, plane in enumerate(self.source.slices()):
            yield _finite(self.path, k, plane)

    def load(self) -> Volume:
        """The whole volume in memory.

        Raises:
            UserError: As :meth:`read`, or there is not enough memory.
        """
        try:
            values = np.empty((*self.shape, 3) if self.channels == 3 else self.shape, self.dtype)
        except MemoryError:
            raise UserError(
                f"{self.path}: a volume of {self.nbytes / 2**30:.1f} GiB does not fit in memory; cut or reduce it"
            ) from None
        for k, plane in enumerate(self.slices()):
            values[k] = plane
        return Volume(values, self.affine, self.has_geometry, self.modality, self.notes, self.turn)


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in memory: ``values`` ``(D, H, W)``, or ``(D, H, W, 3)`` of RGB; the rest as in :class:`VolumeFile`."""

    values: Values = field(repr=False)
    affine: Affine
    has_geometry: bool = True
    modality: str | None = None
    notes: tuple[str, ...] = ()
    turn: Turn | None = None
    """How the axes of the file became these, if they were turned."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns (D, H, W)."""
        return self.values.shape[0], self.values.shape[1], self.values.shape[2]

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return 1 if self.values.ndim == 3 else int(self.values.shape[3])

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance of voxels along z, y, x in mm; ``None`` where unknown."""
        return _spacing(self.affine) if self.has_geometry else None

    @cached_property
    def orientation(self) -> str | None:
        """Where x, y, z point to, such as ``"LPS"``; ``None`` where unknown."""
        return codes_of(self.affine) if self.has_geometry else None


def codes_of(affine: Affine) -> str:
    """The letters R or L, A or P, S or I that the axes x, y, z of ``affine`` point to most nearly, such as ``"RAS"``.

    Raises:
        UserError: nibabel is not installed.
    """
    orientations = optional_import("nibabel.orientations", "volumes")
    return "".join(str(code) for code in orientations.aff2axcodes(affine))


def _spacing(affine: Affine) -> tuple[float, float, float]:
    x, y, z = (float(length) for length in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    return z, y, x


def _finite(path: Path, k: int, plane: Values) -> Values:
    if plane.dtype.kind == "f" and not bool(np.isfinite(plane).all()):
        bad = int(np.count_nonzero(~np.isfinite(plane)))
        raise UserError(
            f"{path}: {bad} of {plane.size} voxels of slice {k} are NaN or infinite; "
            "replace them by numbers, or remove the file"
        )
    return plane
