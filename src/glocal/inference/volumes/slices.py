"""The slices of a volume as a network takes them: turned, brought to [0, 1], with their neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from glocal.data.intensity import Intensity
from glocal.data.readers import Picture
from glocal.data.resize import image_at
from glocal.data.slices import slice_picture
from glocal.data.volumes import VolumeFile, reorient
from glocal.errors import UserError
from glocal.inference.base import Prepared
from glocal.models.weights import Preprocessing

__all__ = ["Viewing", "choose_viewing"]

_DISPLAYED = "LPS"
"""How axial slices are displayed, and so how pictures of them look: the patient's right on the left, front on top."""


@dataclass(frozen=True)
class Viewing:
    """How a volume is shown to a network."""

    file: VolumeFile
    """Turned as in training."""
    limits: tuple[float, float]
    """Values that become 0 and 1."""
    notes: tuple[str, ...]
    """What was done to get here, one phrase each."""

    def pictures(self) -> Iterator[Picture]:
        """Its slices in order, one at a time."""
        for plane in self.file.slices():
            yield slice_picture(plane, self.limits)

    def prepared(self, steps: Preprocessing, windows: bool) -> Iterator[Prepared]:
        """Its slices in order, as the network takes them; a few are held at a time.

        The neighbours of a slice are its channels; beyond the first and the last slice these are repeated.

        Args:
            steps: Of the model.
            windows: Leave slices at their size, to be seen in windows.
        """
        size = self.file.shape[1:] if windows else steps.size
        channels = 1 if steps.neighbours > 1 else steps.channels
        for around in _neighbourhoods(self.pictures(), steps.neighbours):
            planes = [image_at(picture, size, channels) for picture in around]
            pixels = np.concatenate(planes).astype(np.float32) / np.float32(np.iinfo(planes[0].dtype).max)
            yield Prepared(around[len(around) // 2], torch.from_numpy(pixels), windows, (), is_slice=True)


def choose_viewing(file: VolumeFile, steps: Preprocessing, window: tuple[float, float] | None = None) -> Viewing:
    """Decide from what the model says of its training how a volume is turned and brought to [0, 1].

    Args:
        file: As it is stored.
        steps: Of the model.
        window: For a model of pictures, which knows no units: the values that become black and white.

    Raises:
        UserError: The volume has units that the model does not know and no ``window`` is given, or one is given that
            contradicts the model; its orientation is not known; or it cannot be read (the limits of some volumes need
            all of its values).
    """
    turned, notes = _turned(file, steps)
    if steps.intensity is not None:
        if window is not None:
            raise UserError(
                f"a window of {window[0]:g} to {window[1]:g} is asked for, but the model brings its own: "
                f"{Intensity.from_json(steps.intensity)}; leave it out"
            )
        intensity = Intensity.from_json(steps.intensity)
        limits = intensity.limits(file)
        low, high = limits
        fixed = intensity.kind == "window"
        notes.append(f"{intensity} becomes 0 to 1" if fixed else f"{intensity}: {low:g} and {high:g} become 0 and 1")
    elif window is not None:
        if not window[0] < window[1]:
            raise UserError(f"a window from {window[0]:g} to {window[1]:g} is empty; give the smaller value first")
        limits = window
        notes.append(f"the model was trained on pictures: {window[0]:g} and {window[1]:g} taken for black and white")
    elif file.dtype == np.uint8:
        limits = (0.0, 255.0)
        notes.append("the model was trained on pictures: 0 and 255 taken for black and white")
    else:
        raise UserError(
            f"{file.path}: its values have units ({file.dtype}{_of(file)}), but the model was trained on pictures and "
            "knows none; say which become black and white, such as --window -160 240, or train on volumes"
        )
    if steps.neighbours > 1:
        notes.append(f"each slice seen with its {steps.neighbours - 1} neighbours")
    return Viewing(turned, limits, (*turned.notes, *notes))


def _of(file: VolumeFile) -> str:
    return f", {file.modality}" if file.modality else ""


def _turned(file: VolumeFile, steps: Preprocessing) -> tuple[VolumeFile, list[str]]:
    wanted, found = steps.orientation, file.orientation
    if wanted is not None:
        turned = reorient(file, wanted)
        return turned, [] if turned is file else [f"turned from {found} to {wanted}, as in training"]
    if found is None:
        return file, ["its orientation is not known: slices taken as they are stored"]
    if steps.intensity is not None or found[2] not in "IS":
        return file, [f"slices taken as they are stored ({found}): the model knows no orientation"]
    shown = _DISPLAYED[:2] + found[2]
    turned = reorient(file, shown)
    return turned, [f"the model was trained on pictures: slices shown to it as they are displayed ({shown})"]


def _neighbourhoods(pictures: Iterator[Picture], count: int) -> Iterator[list[Picture]]:
    """Each picture amid its neighbours, ``count`` in all; the ends are repeated."""
    side = count // 2
    ring: deque[Picture] = deque(maxlen=count)
    last = -1
    for last, picture in enumerate(pictures):
        ring.extend([picture] * (1 if last else side + 1))
        if last >= side:
            yield list(ring)
    for beyond in range(1, side + 1):
        ring.append(ring[-1])
        if last + beyond >= side:
            yield list(ring)
