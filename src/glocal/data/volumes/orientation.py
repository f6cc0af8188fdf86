"""The same volume along other axes: flips and permutations, nothing resampled, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from glocal.data.volumes.volume import Affine, Turn, Values, Volume, VolumeFile
from glocal.errors import UserError, optional_import

if TYPE_CHECKING:
    from glocal.data.volumes.labels import LabelVolume

__all__ = ["reorient", "restore"]

_STAYS: Turn = ((0, 1), (1, 1), (2, 1))


@overload
def reorient(volume: VolumeFile, codes: str) -> VolumeFile: ...
@overload
def reorient(volume: Volume, codes: str) -> Volume: ...


def reorient(volume: VolumeFile | Volume, codes: str) -> VolumeFile | Volume:
    """The volume with its axes x, y, z pointing most nearly where ``codes`` says: flipped and permuted, not resampled.

    A file stays on disk. Where its slices stay slices (perhaps flipped, transposed or in reverse order) they are still
    read one by one; otherwise the whole volume is loaded when the first slice is asked for, and ``notes`` says so.

    Args:
        volume: A file or a volume in memory, whose orientation is known.
        codes: Three letters for x, y, z, such as ``"LPS"`` (the usual display of axial slices) or ``"RAS"``.

    Raises:
        UserError: ``codes`` is not an orientation; or that of the volume is unknown.
    """
    wanted = _wanted(codes)
    if isinstance(volume, VolumeFile):
        stored = volume.stored or volume
        turn = _turn(stored.affine, wanted, stored.orientation, str(stored.path))
        return stored if turn == _STAYS else _turned_file(stored, turn)
    turn = _turn(volume.affine, wanted, volume.orientation, "volume")
    values, affine = _applied(volume.values, turn), _moved(volume.affine, turn, volume.shape)
    before = volume.turn or _STAYS
    joined = tuple((turn[axis][0], flip * turn[axis][1]) for axis, flip in before)
    return replace(volume, values=values, affine=affine, turn=None if joined == _STAYS else joined)


def restore(mask: Values, volume: VolumeFile | Volume | LabelVolume) -> Values:
    """Bring voxels along the axes of ``volume`` back to the axes that are stored in its file.

    Args:
        mask: ``(D, H, W)`` or ``(D, H, W, C)`` along the axes of ``volume``.
        volume: What :func:`reorient` gave; a volume that was not turned leaves ``mask`` as it is.

    Returns:
        The same voxels, contiguous, in the shape of the stored file.

    Raises:
        ValueError: ``mask`` has another shape than ``volume``.
    """
    if mask.shape[:3] != volume.shape:
        raise ValueError(f"a mask of {mask.shape[:3]} voxels does not lie on a volume of {volume.shape}")
    if volume.turn is None:
        return np.ascontiguousarray(mask)
    back = [(0, 1)] * 3
    for axis, (becomes, flip) in enumerate(volume.turn):
        back[becomes] = (axis, flip)
    return np.ascontiguousarray(_applied(mask, tuple(back)))


def _wanted(codes: str) -> str:
    upper = codes.upper()
    if sorted(min(pair) for letter in upper for pair in ("LR", "AP", "IS") if letter in pair) != ["A", "I", "L"]:
        raise UserError(
            f"{codes!r} is not an orientation; give three letters for x, y, z, one of each of LR, AP, IS, such as LPS"
        )
    return upper


def _turn(affine: Affine, codes: str, known: str | None, name: str) -> Turn:
    if known is None:
        raise UserError(
            f"{name}: its orientation is not known, so that it cannot be turned to {codes}; save it as NIfTI"
        )
    orientations = optional_import("nibabel.orientations", "volumes")
    change = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(codes)))
    return tuple((int(axis), int(flip)) for axis, flip in change)


def _applied(values: Values, turn: Turn) -> Values:
    """``values`` (D, H, W, …), a view: stored axis x (array axis 2) goes where ``turn[0]`` says, and so on."""
    flipped = values[tuple(slice(None, None, turn[axis][1]) for axis in (2, 1, 0))]
    place = {2 - becomes: 2 - axis for axis, (becomes, _) in enumerate(turn)}
    return flipped.transpose(place[0], place[1], place[2], *range(3, values.ndim))


def _moved(affine: Affine, turn: Turn, shape: tuple[int, int, int]) -> Affine:
    """The affine of the turned volume: its index, taken back to the stored one, and on from there."""
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for axis, (becomes, flip) in enumerate(turn):
        back[axis, becomes] = flip
        back[axis, 3] = 0 if flip == 1 else shape[2 - axis] - 1
    return np.asarray(affine @ back, np.float64)


def _turned_file(stored: VolumeFile, turn: Turn) -> VolumeFile:
    shape = [0, 0, 0]
    for axis, (becomes, _) in enumerate(turn):
        shape[2 - becomes] = stored.shape[2 - axis]
    notes = list(stored.notes)
    source: _TurnedSlices | _LoadedSlices
    if turn[2][0] == 2:
        source = _TurnedSlices(stored, turn)
    else:
        source = _LoadedSlices(stored, turn)
        notes.append(f"turned to other slices, for which the whole volume is loaded ({stored.nbytes / 2**20:.0f} MiB)")
    return replace(
        stored,
        shape=(shape[0], shape[1], shape[2]),
        affine=_moved(stored.affine, turn, stored.shape),
        source=source,
        notes=tuple(notes),
        stored=stored,
        turn=turn,
    )


class _TurnedSlices:
    """Slices that stay slices: each is read, then turned; in reverse order where z is flipped."""

    def __init__(self, stored: VolumeFile, turn: Turn) -> None:
        self._stored, self._turn = stored, turn

    def read(self, k: int) -> Values:
        reverse = self._turn[2][1] == -1
        return self._turned(self._stored.read(len(self._stored) - 1 - k if reverse else k))

    def slices(self) -> Iterator[Values]:
        if self._turn[2][1] == -1:
            yield from (self.read(k) for k in range(len(self._stored)))
        else:
            yield from (self._turned(plane) for plane in self._stored.slices())

    def _turned(self, plane: Values) -> Values:
        return np.ascontiguousarray(_applied(plane[None], self._turn)[0])


class _LoadedSlices:
    """Other slices than the file's: the volume is loaded when the first is asked for."""

    def __init__(self, stored: VolumeFile, turn: Turn) -> None:
        self._stored, self._turn = stored, turn

    def __getstate__(self) -> dict[str, Any]:
        return {"_stored": self._stored, "_turn": self._turn}

    @cached_property
    def _values(self) -> Values:
        return _applied(self._stored.load().values, self._turn)

    def read(self, k: int) -> Values:
        return np.ascontiguousarray(self._values[k])

    def slices(self) -> Iterator[Values]:
        yield from (self.read(k) for k in range(len(self._values)))
