"""Which frames are measured: files, folders, data sets, and the pages of multi-page files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glocal.data import open_dataset, read_image
from glocal.errors import UserError
from glocal.inference.files import find_images

__all__ = ["Frame", "find_frames"]

_SINGLE = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".pnm"))
"""Endings of files that hold one frame; any other may hold several."""


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        id: In tables, and of its picture: the file's place in its folder without the ending, and ``#012`` for a page.
        path: The mask; with a network, the image.
        page: Which page of the file, or slice of a volume.
        image: What the picture is drawn on; ``None`` where a mask has no image.
        image_page: Which page of that file.
        spacing: Millimetres between rows and columns, where a table gives them.
    """

    id: str
    path: Path
    page: int = 0
    image: Path | None = None
    image_page: int = 0
    spacing: tuple[float, float] | None = None


def find_frames(
    inputs: Sequence[str | Path], output: Path, *, images: str | Path | None = None, masks: bool = True
) -> tuple[list[Frame], bool]:
    """The frames of files and folders, in natural order.

    A folder with a ``masks`` folder in it is a data set: its cases are the frames, with the images and the pixel size
    of its ``cases.csv``. A file with several pages, or slices of a volume, gives a frame
    for each.

    Args:
        inputs: Files and folders of masks, or of images.
        output: A folder that is left out where it lies inside.
        images: Folder of the images of the masks, found by the same names; or one file for one mask.
        masks: The inputs are masks, not images.

    Returns:
        The frames, and whether they are the pages of a single file.

    Raises:
        UserError: A folder is empty, a mask has no image, or two frames would have one name.
    """
    frames: list[Frame] = []
    for given in map(Path, inputs):
        if given.is_dir() and (given / "masks").is_dir():
            if images is not None:
                raise UserError(f"{given}: a data set has its own images; leave --images out, or name its masks folder")
            frames += _of_dataset(given, masks)
        else:
            found = [(path, relative.with_suffix("")) for path, relative in find_images([given], output)]
            for path, name in sorted(found, key=lambda pair: _natural(pair[1].as_posix())):
                frames += _pages(path, name.as_posix())
    if images is not None:
        frames = _with_images(frames, Path(images), output)
    elif not masks:
        frames = [Frame(f.id, f.path, f.page, f.path, f.page, f.spacing) for f in frames]
    seen: dict[str, Path] = {}
    for frame in frames:
        other = seen.setdefault(frame.id, frame.path)
        if other != frame.path:
            raise UserError(f"{other} and {frame.path}: both would be called {frame.id!r}; measure them one by one")
    unique = list({(frame.id, frame.path): frame for frame in frames}.values())
    return unique, len(unique) > 1 and len({frame.path for frame in unique}) == 1


def _of_dataset(folder: Path, masks: bool) -> Iterator[Frame]:
    dataset = open_dataset(folder, task="segmentation")
    if dataset.volumes is not None:
        raise UserError(f"{folder}: volumes, and biometry measures frames; name a folder of pictures")
    for case in dataset.cases:
        if masks and len(case.masks) != 1:
            raise UserError(f"{case.image}: has {len(case.masks)} masks; give one with both structures in it")
        yield Frame(case.id, case.masks[0] if masks else case.image, 0, case.image, 0, case.spacing)


def _pages(path: Path, name: str) -> Iterator[Frame]:
    count = 1
    if path.suffix.lower() not in _SINGLE:
        try:
            count = read_image(path).pages
        except UserError:  # said when the frame is measured
            count = 1
    for page in range(count):
        yield Frame(name if count == 1 else f"{name}#{page:03d}", path, page)


def _with_images(frames: Sequence[Frame], images: Path, output: Path) -> list[Frame]:
    """The frames with the images of their names; a folder, or one file for the pages of one file."""
    if images.is_dir():
        named = {relative.with_suffix("").as_posix(): path for path, relative in find_images([images], output)}
        by_stem = {Path(name).name: path for name, path in named.items()}
    elif len({frame.path for frame in frames}) == 1:
        named = by_stem = {frame.id.partition("#")[0]: images for frame in frames}
    else:
        raise UserError(f"{images}: one image, but several masks; name the folder of the images")
    found, missing = [], []
    for frame in frames:
        name = frame.id.partition("#")[0]
        image = named.get(name, by_stem.get(Path(name).name))
        if image is None:
            missing.append(frame)
        else:
            found.append(Frame(frame.id, frame.path, frame.page, image, frame.page, frame.spacing))
    if missing:
        raise UserError(
            f"{images}: no image named like {missing[0].path.name} ({len(missing)} of {len(frames)} masks have none); "
            "give images and masks the same names"
        )
    return found


def _natural(text: str) -> list[tuple[int, str]]:
    """Key that sorts x2 before x10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", text.lower())]
