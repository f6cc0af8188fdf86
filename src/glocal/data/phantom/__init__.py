"""Intrapartum transperineal-ultrasound phantoms: fetal head and pubic symphysis with exactly known geometry.

A phantom looks roughly like a frame of a curved probe on the perineum: a fan on black, speckle, depth attenuation,
shadows behind bone, a bright skull over a dark head. Its mask and its angle of progression are exact, because both
come from two ellipses. Lengths are drawn in millimetres and put on the pixel grid last, so that the same case shows
the same anatomy at every size. Case ``i`` of a seed is a function of ``(seed, i)`` alone; every
:data:`FRAMES_PER_GROUP` consecutive cases are frames of one simulated patient and share a ``group``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glocal.data._staging import require_free, staged_folder
from glocal.data.phantom.anatomy import draw_frame, draw_patient
from glocal.data.phantom.geometry import Ellipse, Fan, Progression, progression
from glocal.data.phantom.image import draw_image
from glocal.errors import UserError
from glocal.files import write_json, write_text, writing

__all__ = [
    "CLASSES",
    "FRAMES_PER_GROUP",
    "STATIONS",
    "Ellipse",
    "Fan",
    "Phantom",
    "Progression",
    "generate_case",
    "progression",
    "write_phantoms",
]

CLASSES = ("background", "pubic symphysis", "fetal head")
"""Class names; the mask holds their indices."""

FRAMES_PER_GROUP = 4
"""Consecutive cases that are frames of one simulated patient."""

STATIONS = ("high station", "low station")
"""Classes of a whole image: whether the head has come down so far that the angle of progression is 120° or more."""

SIZES = (32, 2048)
"""Smallest and largest side of a phantom in pixels."""


@dataclass(frozen=True)
class Phantom:
    """One frame.

    Attributes:
        id: File stem, ``phantom_00007``.
        group: Simulated patient; frames of one must not be split between train and test.
        image: ``(H, W)`` uint8, 0 outside the fan.
        mask: ``(H, W)`` uint8 indices into :data:`CLASSES`: a pixel belongs to an ellipse if its centre lies in it.
        symphysis: Its ellipse; the first axis is the long one and points to the inferior end.
        head: Its ellipse; the first axis is the long one.
        progression: Angle of progression, from the ellipses in closed form.
        fan: Field of view.
        spacing: Millimetres per pixel, equal in both directions.
    """

    id: str
    group: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    symphysis: Ellipse
    head: Ellipse
    progression: Progression
    fan: Fan
    spacing: float


def generate_case(index: int, seed: int = 0, size: int | tuple[int, int] = 256) -> Phantom:
    """Draw case ``index`` of a seed: the same whatever else is drawn.

    Args:
        index: Number of the case, from 0.
        seed: Seed of the whole set, from 0.
        size: Side of the image, or ``(height, width)``, in pixels.

    Raises:
        UserError: A negative index or seed, or a side outside :data:`SIZES`.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if index < 0 or seed < 0:
        raise UserError(f"phantom index {index}, seed {seed}: neither may be negative; use whole numbers from 0")
    if not all(SIZES[0] <= side <= SIZES[1] for side in (height, width)):
        raise UserError(f"phantom size {height}x{width}: each side must be {SIZES[0]} to {SIZES[1]} pixels; change it")
    group = index // FRAMES_PER_GROUP
    frame_rng = np.random.default_rng([seed, 1, index])
    patient = draw_patient(np.random.default_rng([seed, 0, group]))
    anatomy, spacing = draw_frame(patient, frame_rng).on_grid(height, width)
    fan, symphysis, head = anatomy.fan, anatomy.symphysis, anatomy.head
    measured = progression(symphysis, head)
    assert measured is not None
    y, x = np.mgrid[:height, :width].astype(np.float64)
    mask = np.zeros((height, width), np.uint8)
    mask[symphysis.radius(x, y) <= 1] = 1
    mask[head.radius(x, y) <= 1] = 2
    image = draw_image(anatomy, spacing, (height, width), frame_rng)
    name = f"phantom_{index:05d}"
    return Phantom(name, f"patient_{group:04d}", image, mask, symphysis, head, measured, fan, spacing)


def write_phantoms(
    folder: str | Path,
    count: int = 200,
    seed: int = 0,
    size: int | tuple[int, int] = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write phantoms as a data set: ``images/``, ``masks/``, ``classes.txt``, ``cases.csv`` (geometry, in
    pixels, and one of :data:`STATIONS` as class) and ``phantom.json`` (how it was made).

    The folder appears whole or not at all.

    Args:
        folder: Must not exist, or be empty.
        count: How many cases, at least 1.
        seed: Seed of the set.
        size: Side of the images, or ``(height, width)``, in pixels.
        progress: Called with (done, all) after each case.

    Returns:
        The folder.

    Raises:
        UserError: The folder holds files, cannot be written, or an argument is out of range.
    """
    if count < 1:
        raise UserError(f"{count} phantoms asked for; give --count 1 or more")
    folder = require_free(folder)
    with writing(folder), staged_folder(folder) as staging:
        for name in ("images", "masks"):
            (staging / name).mkdir()
        rows = []
        for index in range(count):
            case = generate_case(index, seed, size)
            Image.fromarray(case.image).save(staging / "images" / f"{case.id}.png")
            Image.fromarray(case.mask).save(staging / "masks" / f"{case.id}.png")
            rows.append(_row(case))
            if progress is not None:
                progress(index + 1, count)
        with (staging / "cases.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        write_text(staging / "classes.txt", "\n".join(CLASSES) + "\n")
        record = {"format": 1, "seed": seed, "count": count, "size": list(case.image.shape)}
        write_json(staging / "phantom.json", record)
    return folder


def _row(case: Phantom) -> dict[str, str | float]:
    """One line of ``cases.csv``: angles in degrees, ``pixel_size_mm`` in mm, everything else in pixels."""
    station = STATIONS[case.progression.aop >= 120]
    row: dict[str, str | float] = {"id": case.id, "group": case.group, "class": station, "aop": case.progression.aop}
    row["pixel_size_mm"] = case.spacing
    for name, ellipse in (("symphysis", case.symphysis), ("head", case.head)):
        for field in ("x", "y", "a", "b", "angle"):
            row[f"{name}_{field}"] = float(getattr(ellipse, field))
    for name in ("superior", "inferior", "tangent"):
        row[f"{name}_x"], row[f"{name}_y"] = getattr(case.progression, name)
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
