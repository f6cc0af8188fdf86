"""Which mask belongs to which image, told from folders and names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data._tree import File, Part, Place, place, words
from glocal.data.cases import Problem
from glocal.errors import UserError, counted

__all__ = ["Pairing", "pair_by_folder", "pair_by_suffix"]

_WORD = r"masks?|segmentations?|seg|lesion|gt|labels?|annotations?|anno|ground_?truth|manual"
_MASK_SUFFIX = re.compile(
    rf"(?P<stem>.+?)[ _.-]+(?:{_WORD}|1stHO|2ndHO)(?:[ _-]*\(?(?P<number>\d+)\)?)?", re.IGNORECASE
)
_MASK_PREFIX = re.compile(rf"(?:{_WORD})[ _.-]*(?P<stem>.+)", re.IGNORECASE)
_IMAGE_AFFIX = re.compile(
    r"(?:(?:images?|img|im|input)[ _.-]*(?P<tail>.+)|(?P<head>.+?)[ _.-]+(?:image|img|training|test|input|0000))",
    re.IGNORECASE,
)
_SECOND_OBSERVER = re.compile(r"(?i)manual[ _-]*2$|2ndHO$")


@dataclass(frozen=True)
class Pair:
    """An image and its masks, in natural order."""

    image: File
    masks: tuple[File, ...]
    place: Place


@dataclass
class Pairing:
    """What was paired, and what was not."""

    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layout: str = ""
    """In words: where images and masks are."""


def _mask_stems(stem: str) -> Iterator[str]:
    """The stems an image may have that a mask of this stem belongs to, the likeliest first."""
    yield stem
    for pattern in (_MASK_SUFFIX, _MASK_PREFIX):
        if match := pattern.fullmatch(stem):
            yield match["stem"]


def _bare(stem: str) -> str:
    match = _IMAGE_AFFIX.fullmatch(stem)
    return (match["tail"] or match["head"]) if match else stem


def _by_stem(files: Iterable[File], what: str) -> dict[str, File]:
    found: dict[str, File] = {}
    for file in files:
        other = found.setdefault(file.stem, file)
        if other is not file:
            raise UserError(
                f"{file.path}: another {what} has the same stem ({other.path.name}); it cannot be told which one is "
                "meant: keep one, or give them different names"
            )
    return found


def _match(images: list[File], masks: list[File], places: dict[File, Place]) -> tuple[list[Pair], list[File]]:
    """Pairs of one folder, images without a mask included, and the masks that belong to no image."""
    by_stem = _by_stem(images, "image")
    _by_stem(masks, "mask")
    bare: dict[str, list[File]] = defaultdict(list)
    for image in images:
        bare[_bare(image.stem)].append(image)
    found: dict[str, list[File]] = defaultdict(list)
    left: list[File] = []
    for mask in masks:
        stems = list(_mask_stems(mask.stem))
        owners = [by_stem[stem] for stem in stems if stem in by_stem]
        owners = owners or [file for stem in stems if len(bare[stem]) == 1 for file in bare[stem]]
        if owners:
            found[owners[0].stem].append(mask)
        else:
            left.append(mask)
    if len(images) == 1 and masks and not found and places[masks[0]].rest == places[images[0]].rest != ():
        found[images[0].stem], left = masks, []  # a folder for each image, its masks named at will
    return [Pair(image, tuple(found[image.stem]), places[image]) for image in images], left


def pair_by_folder(files: list[File], keep: bool, required: bool) -> Pairing | None:
    """Pair the images and masks of ``images/`` + ``masks/`` or folders with such names; None if there are none.

    Args:
        files: All image files; folders common to all are left out of ``File.folders``.
        keep: Keep the masks of second observers too.
        required: Where no name agrees and no folder is one of images by its name, refuse rather than return None.

    Raises:
        UserError: Two images or masks have the same stem, two folders hold masks of the same images, or no name agrees.
    """
    places = {file: place(file.folders) for file in files}
    if not any(where.role == "mask" for where in places.values()):
        return None
    named = any(where.role == "image" for where in places.values())
    images: dict[tuple[Part | None, tuple[str, ...]], list[File]] = defaultdict(list)
    masks: dict[tuple[Part | None, tuple[str, ...]], list[File]] = defaultdict(list)
    outside: list[File] = []
    known = {folder for where in places.values() if where.role == "mask" for folder in where.rest}
    for file, where in places.items():
        if where.role == "mask":
            masks[where.split, where.rest].append(file)
        elif where.role == "image":
            images[where.split, where.rest].append(file)
        elif not named:  # photos/ + masks/: a folder that the masks do not have too is the one of the images
            images[where.split, tuple(folder for folder in where.rest if folder in known)].append(file)
        else:
            outside.append(file)
    if not images:
        return None
    used = {role: sorted({w.role_folder for w in places.values() if w.role == role}) for role in ("image", "mask")}
    pairing = Pairing(layout=f"{_folders(used['image']) or 'images'} + {_folders(used['mask'])}")
    if outside:
        pairing.notes.append(
            f"{counted(len(outside), 'image')} outside of the image and mask folders left out ({_some(outside)})"
        )
    orphans: list[File] = []
    for key in images:
        chosen = _choose_folder(masks.pop(key, []), places, keep, pairing.notes)
        pairs, left = _match(images[key], chosen, places)
        pairing.pairs += pairs
        orphans += left
    orphans += [file for left in masks.values() for file in left]
    _finish(pairing, orphans)
    if pairing.pairs:
        return pairing
    if not named and not required:
        return None
    image, mask = next(iter(images.values()))[0], (orphans or [*places])[0]
    raise UserError(
        f"{image.path}: no image has a mask (the first mask is {_some([mask])}); give each mask the stem of its image, "
        "with or without _mask, in the same sub-folders"
    )


def _choose_folder(masks: list[File], places: dict[File, Place], keep: bool, notes: list[str]) -> list[File]:
    """The masks of one image folder where several folders offer some: the first observer's, not fields of view."""
    folders = sorted({places[mask].role_folder for mask in masks})
    drawn = [folder for folder in folders if "manual" in words(folder)]
    if drawn and len(folders) > len(drawn):
        others = ", ".join(folder for folder in folders if folder not in drawn)
        _note_once(notes, f"folder {others} left out: fields of view beside the drawn masks of {', '.join(drawn)}")
        masks = [mask for mask in masks if places[mask].role_folder in drawn]
        folders = drawn
    if keep:
        return masks
    if len(folders) > 1 and drawn:
        _note_once(notes, f"folder {', '.join(folders[1:])} left out: a further observer (masks='keep' keeps it)")
        return [mask for mask in masks if places[mask].role_folder == folders[0]]
    if len(folders) > 1:
        raise UserError(
            f"{masks[0].path.parent}: folders {' and '.join(folders)} both hold masks; move all but one elsewhere"
        )
    return masks


def pair_by_suffix(files: list[File], keep: bool) -> Pairing | None:
    """Pair images and masks that lie in the same folder, masks marked by a suffix (``x.png``, ``x_mask.png``).

    Raises:
        UserError: Two images have the same stem.
    """
    folders: dict[tuple[str, ...], list[File]] = defaultdict(list)
    for file in files:
        folders[file.folders].append(file)
    pairing = Pairing()
    orphans: list[File] = []
    seconds = 0
    for inside in folders.values():
        stems = {file.stem for file in inside}
        base = {file: match["stem"] for file in inside if (match := _MASK_SUFFIX.fullmatch(file.stem))}
        marked = [file for file in inside if base.get(file) in stems]
        shown = {base[file] for file in marked}
        lost = {file for file in base if base[file] not in stems and file.stem not in shown}
        chosen = [file for file in marked if keep or not _SECOND_OBSERVER.search(file.stem)]
        seconds += len(marked) - len(chosen)
        images = [file for file in inside if file not in lost and base.get(file) not in stems]
        pairs, left = _match(images, chosen, {file: place(file.folders) for file in images})
        pairing.pairs += pairs
        orphans += [*left, *(file for file in inside if file in lost)]
        if chosen and not pairing.layout:
            suffix = chosen[0].stem.removeprefix(base[chosen[0]])
            pairing.layout = f"images and masks side by side, masks named *{suffix}"
    if not pairing.layout:
        return None
    if seconds:
        pairing.notes.append(f"{counted(seconds, 'mask')} of a second observer left out (masks='keep' keeps them)")
    _finish(pairing, orphans)
    return pairing


def _finish(pairing: Pairing, orphans: list[File]) -> None:
    for pair in pairing.pairs:
        if not pair.masks:
            path = pair.image.path
            text = f"{path}: no mask has the name of this image; it is left out: add the mask or remove the image"
            pairing.problems.append(Problem("image without mask", path, text))
    for mask in orphans:
        text = f"{mask.path}: no image has the name of this mask; it is left out: add the image or remove the mask"
        pairing.problems.append(Problem("mask without image", mask.path, text))
    pairing.pairs = [pair for pair in pairing.pairs if pair.masks]


def _folders(names: list[str]) -> str:
    return ", ".join(f"{name}/" for name in names[:3]) + (", …" if len(names) > 3 else "")


def _note_once(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _some(files: list[File]) -> str:
    names = ", ".join(Path(*file.folders, file.path.name).as_posix() for file in files[:3])
    return names + (", …" if len(files) > 3 else "")
