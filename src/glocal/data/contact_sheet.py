"""A contact sheet: images of a data set with their masks drawn in, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import minimum_filter

from glocal.data.cases import Case, Dataset
from glocal.data.readers import Picture
from glocal.errors import UserError
from glocal.files import atomic

__all__ = ["CLASS_COLOURS", "overlay", "spread", "write_contact_sheet"]

CLASS_COLOURS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167), (160, 160, 160)),
)
"""RGB of the classes from 1 on, repeated after the eighth: told apart by colour-blind readers (Okabe and Ito, 2008)."""

TILE = 224
"""Side of a tile in pixels."""
CAPTION = 18
OPACITY = 0.3
FORMATS = (".png", ".jpg", ".jpeg", ".webp")


def colour_of(index: int) -> tuple[int, int, int]:
    """RGB of class ``index``, from 1."""
    return CLASS_COLOURS[(index - 1) % len(CLASS_COLOURS)]


def overlay(picture: Picture, label: NDArray[np.uint8], longest: int = TILE) -> NDArray[np.uint8]:
    """An image with the areas of its classes tinted and outlined.

    Args:
        picture: The image.
        label: ``(H, W)`` class indices; 0 is left as it is.
        longest: Length of the longer side of the result, in pixels; the aspect ratio is kept.

    Returns:
        ``(h, w, 3)`` uint8.
    """
    height, width = picture.size
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    eight_bit = Image.fromarray(np.rint(picture.unit(3) * 255).astype(np.uint8))
    pixels = np.asarray(eight_bit.resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
    classes = np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))
    for index in np.unique(classes[classes > 0]):
        area = classes == index
        edge = area & ~minimum_filter(area, 3, mode="constant", cval=1)
        colour = np.array(colour_of(int(index)), np.float32)
        pixels[area] += OPACITY * (colour - pixels[area])
        pixels[edge] = colour
    return np.rint(pixels).astype(np.uint8)


def spread(cases: Sequence[Case], most: int) -> list[Case]:
    """At most ``most`` cases, evenly from the first to the last."""
    positions = np.linspace(0, len(cases) - 1, min(most, len(cases)))
    return [cases[round(position)] for position in positions]


def write_contact_sheet(dataset: Dataset, path: str | Path, most: int = 24) -> tuple[int, list[str]]:
    """Write a contact sheet of cases spread over the data set, with file names and a legend of the classes.

    Args:
        dataset: The data set.
        path: An image file (``.png``, ``.jpg``, ``.webp``).
        most: Most cases to show.

    Returns:
        How many cases are on it; and for each that could not be read, why. Such a tile shows a cross.

    Raises:
        UserError: The ending of ``path`` is none of these, ``most`` is below 1, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: a contact sheet is an image; let the name end in {', '.join(FORMATS)}")
    if most < 1:
        raise UserError(f"{most} cases on a contact sheet asked for; ask for 1 or more")
    cases = spread(dataset.cases, most)
    problems: list[str] = []
    tiles = [_tile(dataset, case, problems) for case in cases]
    sheet = _paste(tiles, [_caption(dataset, case) for case in cases], _legend(dataset))
    with atomic(path) as temporary:
        sheet.save(temporary)
    return len(cases), problems


def _tile(dataset: Dataset, case: Case, problems: list[str]) -> Image.Image:
    try:
        picture = dataset.read_image(case)
        label = np.zeros(picture.size, np.uint8) if dataset.task == "classification" else dataset.read_label(case)
        return Image.fromarray(overlay(picture, label))
    except UserError as error:
        problems.append(str(error))
        tile = Image.new("RGB", (TILE, TILE), (40, 40, 40))
        draw = ImageDraw.Draw(tile)
        draw.line((0, 0, TILE, TILE), (200, 60, 60), 3)
        draw.line((0, TILE, TILE, 0), (200, 60, 60), 3)
        return tile


def _caption(dataset: Dataset, case: Case) -> str:
    return case.id if case.label is None else f"{case.id}: {dataset.label_name(case)}"


def _legend(dataset: Dataset) -> list[tuple[str, tuple[int, int, int]]]:
    if dataset.task == "classification":
        return []
    try:
        return [(name, colour_of(index)) for index, name in enumerate(dataset.classes) if index]
    except UserError:  # the values of the masks have no meaning; each tile says so
        return []


def _paste(tiles: list[Image.Image], names: list[str], legend: list[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    columns = min(6, len(tiles))
    rows = -(-len(tiles) // columns)
    gap, font = 6, ImageFont.load_default(12)
    cell_width, cell_height = TILE + gap, TILE + CAPTION + gap
    sheet = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap + 24), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for position, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        left = gap + position % columns * cell_width
        top = gap + position // columns * cell_height
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        draw.text((left, top + TILE + 2), _shortened(name, font), (220, 220, 220), font)
    left, top = gap, rows * cell_height + gap
    for name, colour in legend:
        draw.rectangle((left, top + 2, left + 12, top + 14), colour)
        draw.text((left + 18, top), name, (220, 220, 220), font)
        left += 34 + round(draw.textlength(name, font))
    return sheet


def _shortened(name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The end of a name that is too long for a tile: names of one set differ there."""
    if font.getlength(name) <= TILE:
        return name
    while font.getlength(f"…{name}") > TILE:
        name = name[1:]
    return f"…{name}"
