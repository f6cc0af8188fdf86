"""Frames put in order along their normal; a stack that is not a volume is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glocal.data.volumes._guards import usable_affine
from glocal.data.volumes.dicom_header import Frame
from glocal.data.volumes.volume import Affine
from glocal.errors import UserError

__all__ = ["Stack", "stack"]

_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3  # of the spacing
_SAME_PLACE_MM = 1e-3
_EVEN = 0.1  # of the distance of slices
_STRAIGHT = 0.02  # of the distance of slices
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Frames in the order of the volume, and where they are."""

    frames: tuple[Frame, ...]
    affine: Affine
    has_geometry: bool
    notes: tuple[str, ...]


def stack(path: Path, frames: Sequence[Frame], require: bool = True) -> Stack:
    """Sort ``frames`` by position along the normal of their plane.

    Frames of which none has a position keep the order of their instance numbers, and the geometry is unknown.

    Args:
        path: The file or folder, for messages.
        frames: At least one.
        require: Refuse impossible spacing; otherwise the geometry is left out and noted.

    Raises:
        UserError: Orientations or spacings differ; some frames lack a position; two are at one place; one is missing
            between others; distances differ; or the spacing is impossible.
    """
    placed = [frame for frame in frames if frame.position is not None and frame.axes is not None]
    if not placed:
        ordered = tuple(sorted(frames, key=lambda frame: (frame.instance, frame.path.name, frame.index)))
        _require_one_spacing(path, frames)
        return Stack(ordered, np.eye(4), False, ())
    if len(placed) < len(frames):
        without = next(frame for frame in frames if frame.position is None or frame.axes is None)
        raise UserError(f"{path}: {_name(without)} has no position or orientation though others have; remove it")
    right, down = _directions(path, placed)
    _require_one_spacing(path, frames)
    normal = np.cross(right, down)
    heights = np.array([np.dot(normal, frame.position) for frame in placed if frame.position is not None])
    order = np.argsort(heights, kind="stable")
    ordered = tuple(placed[index] for index in order)
    _require_even(path, ordered, heights[order])
    notes: list[str] = []
    affine = _affine(ordered, right, down, normal, notes)
    usable, has_geometry = usable_affine(path, affine, require, notes)
    return Stack(ordered, usable, has_geometry, tuple(notes))


def _name(frame: Frame) -> str:
    return f"{frame.path.name} (frame {frame.index})" if frame.index else frame.path.name


def _directions(path: Path, frames: Sequence[Frame]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    all_axes = np.array([frame.axes for frame in frames], np.float64)
    if not bool(np.isfinite(all_axes).all()):
        raise UserError(f"{path}: the orientation of slices is not finite; restore the files from their source")
    kinds = Counter(tuple(map(float, row)) for row in np.round(all_axes.reshape(len(frames), 6), 2))
    if float(np.abs(all_axes - all_axes[0]).max()) > _SAME_DIRECTION and len(kinds) > 1:
        counts = ", ".join(str(count) for count in sorted(kinds.values(), reverse=True))
        raise UserError(
            f"{path}: mixed orientations ({counts} slices each; a localiser among them?); "
            "keep the slices of one orientation in a folder of their own"
        )
    right, down = all_axes[0]
    if not np.allclose([right @ right, down @ down, right @ down], [1, 1, 0], atol=1e-2):
        raise UserError(f"{path}: the axes of its slices are not at right angles; restore the files from their source")
    return right, down


def _require_one_spacing(path: Path, frames: Sequence[Frame]) -> None:
    first = frames[0].spacing
    for frame in frames:
        if (frame.spacing is None) != (first is None) or (
            first and frame.spacing and not np.allclose(first, frame.spacing, rtol=_SAME_SPACING)
        ):
            raise UserError(
                f"{path}: the pixel spacing of {_name(frame)} differs from that of {_name(frames[0])}; "
                "keep slices of one spacing in a folder of their own"
            )


def _require_even(path: Path, ordered: Sequence[Frame], heights: npt.NDArray[np.float64]) -> None:
    if len(ordered) < 2:
        return
    steps = np.diff(heights)
    same = np.flatnonzero(steps < _SAME_PLACE_MM)
    if len(same):
        places = len(ordered) - len(same)
        repeated = f"{_name(ordered[same[0]])} and {_name(ordered[same[0] + 1])}"
        if len(ordered) % places == 0 and len(ordered) > places:
            what = f"{len(ordered) // places} slices at each of {places} places (a copy, time points, or echoes)"
        else:
            what = f"a duplicated slice: {repeated} are at the same place"
        raise UserError(f"{path}: {what}; keep one slice of each place in a folder of its own")
    usual = float(np.median(steps))
    odd = int(np.argmax(np.abs(steps - usual)))
    step = float(steps[odd])
    if abs(step - usual) > _EVEN * usual:
        between = f"between {_name(ordered[odd])} and {_name(ordered[odd + 1])}"
        if step > 1.5 * usual:
            lost = max(1, round(step / usual) - 1)
            raise UserError(
                f"{path}: {lost} missing {'slice' if lost == 1 else 'slices'} {between} ({step:g} mm where others are "
                f"{usual:g} mm apart); copy the series again"
            )
        raise UserError(
            f"{path}: slices are unevenly spaced: {step:g} mm {between}, {usual:g} mm elsewhere; "
            "resample the series, or keep its even part"
        )


def _affine(
    ordered: Sequence[Frame],
    right: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
    notes: list[str],
) -> Affine:
    """Columns: one pixel along a row, one down a column, one slice up (PS3.3 C.7.6.2.1.1), turned to RAS."""
    places = np.array([frame.position for frame in ordered], np.float64)
    y, x = ordered[0].spacing or (0.0, 0.0)
    if len(ordered) > 1:
        step = (places[-1] - places[0]) / (len(ordered) - 1)
    else:
        step = normal * (ordered[0].thickness or 1.0)
        if ordered[0].thickness is None:
            notes.append("one slice without a thickness: 1 mm taken")
    along = float(step @ normal)
    aside = float(np.linalg.norm(step - along * normal))
    if aside > _STRAIGHT * abs(along):
        notes.append(
            f"gantry tilt of {np.degrees(np.arctan2(aside, abs(along))):.1f}°: the axes are not at right angles "
            "and the distance of slices is along the table"
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = right * x, down * y, step, places[0]
    return np.asarray(_LPS_TO_RAS @ affine, np.float64)
