"""HC18: fetal heads in ultrasound, whose annotations are thin outlines that have to be filled."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from glocal.data._names import group_rule
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, missing
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
from glocal.data.distributed.picture import picture_item
from glocal.data.readers import read_image, read_mask
from glocal.errors import UserError, counted
from glocal.files import read_text

__all__ = ["recognise"]

_ANNOTATION = "_Annotation.png"


def recognise(tree: Tree) -> Distribution | None:
    """Recognise ``000_HC.png`` beside ``000_HC_Annotation.png``."""
    drawn = [path for path in tree.files if path.name.endswith(f"HC{_ANNOTATION}")]
    if not drawn:
        return None
    tables = [path.name for path in tree.files if path.suffix == ".csv"]
    found = (f"{counted(len(drawn), 'image')} with outlines", *(f"pixel sizes in {name}" for name in tables[:1]))

    def content(progress: Progress | None) -> Content:
        return _content(tree)

    title = "HC18: fetal heads in ultrasound, as outlines"
    return Distribution("hc18", title, tree.root, "segmentation", "pictures", False, found, content)


def _content(tree: Tree) -> Content:
    images = {path.with_suffix(""): tree.root / path for path in tree.files if path.name.endswith("HC.png")}
    outlines = {
        path.with_name(path.name.removesuffix(_ANNOTATION)): tree.root / path
        for path in tree.files
        if path.name.endswith(_ANNOTATION)
    }
    sizes = _pixel_sizes(tree)
    problems: list[Problem] = []
    bare = [key for key in images if key not in outlines and "test" in key.parent.name.lower()]
    notes = [f"{counted(len(bare), 'image')} of the test set without outlines left out"] * bool(bare)
    for key, path in images.items():
        if key not in outlines and key not in bare:
            problems.append(missing("image without mask", path, "no outline beside it", "add the outline"))
    for key, path in outlines.items():
        if key not in images:
            problems.append(missing("mask without image", path, "no image beside it", "add the image"))
    keys = [key for key in images if key in outlines]
    rule = group_rule([key.name for key in keys])
    groups = dict(zip(keys, rule[1], strict=True)) if rule else {}
    notes += ["groups from names: images of one pregnancy"] * bool(groups)
    steps = [_step(key.name, images[key], outlines[key], groups.get(key), sizes.get(key.name)) for key in keys]
    return Content(steps, len(steps), ("background", "head"), tuple(notes), tuple(problems))


def _step(stem: str, image: Path, outline: Path, group: str | None, pixel_size: float | None) -> Step:
    def read(mend: bool) -> Item:
        picture = read_image(image)
        label = _filled(outline)
        if label.shape != picture.size:
            raise UserError(f"{outline}: the outline has another size than its image; restore both from their source")
        return picture_item(image, picture, label, ("outline filled, the line itself included",))

    return Step(stem, (image, outline), read, f"pregnancy {group}" if group else None, pixel_size=pixel_size)


def _filled(path: Path) -> Array:
    """The head: the drawn line and what it encloses; a line that runs out of the image is closed along its border."""
    from scipy import ndimage

    values = read_mask(path).values
    line = values.max(axis=2) > 0 if values.ndim == 3 else values > 0
    if not bool(line.any()):
        raise UserError(f"{path}: no outline is drawn there; restore it from its source")
    head = ndimage.binary_fill_holes(line)
    if head.sum() < 2 * line.sum():
        head = _closed_at_border(line)
    if head.sum() < 2 * line.sum():
        raise UserError(f"{path}: the outline is not closed, so that it cannot be filled; draw it to its end")
    return np.asarray(head, np.uint8)


def _closed_at_border(line: Array) -> Array:
    """Fill an outline that the border of the image cuts: everything but the largest part that it leaves."""
    from scipy import ndimage

    parts, number = ndimage.label(~line)
    if number < 2:
        return line
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return np.asarray(parts != largest)


def _pixel_sizes(tree: Tree) -> dict[str, float]:
    """Stem -> mm, from ``*pixel_size*.csv``."""
    sizes: dict[str, float] = {}
    for path in tree.files:
        if path.suffix != ".csv" or "pixel_size" not in path.name or path.name.startswith("test"):
            continue
        for row in csv.reader(io.StringIO(read_text(tree.root / path))):
            try:
                size = float(row[1])
            except (IndexError, ValueError):
                continue
            if math.isfinite(size) and size > 0:
                sizes[row[0].strip().removesuffix(".png")] = size
    return sizes
