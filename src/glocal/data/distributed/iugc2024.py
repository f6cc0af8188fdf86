"""IUGC 2024: videos of intrapartum ultrasound, with masks of some frames beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from glocal.data._tree import place
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, missing
from glocal.data.distributed._intrapartum import CLASSES, Meaning, grey_mask, label_indices, meaning_of, values_of
from glocal.data.distributed._video import frame_of
from glocal.data.distributed.distribution import Content, Distribution, Item, Step
from glocal.data.distributed.picture import picture_item
from glocal.data.readers import read_image
from glocal.errors import UserError, counted

__all__ = ["recognise"]

_MASK = re.compile(r"(?P<video>.+)_(?P<frame>\d+)_(?P<part>\d+)")
_FRAME_FOLDERS = ("frame", "frames", "image", "images", "img", "imgs")


def recognise(tree: Tree) -> Distribution | None:
    """Recognise ``pos/<video>/mask`` beside the video, or beside a folder of its frames."""
    above = tree.root.resolve().name
    folders = [
        folder
        for folder in tree.folders_named("mask")
        if len(folder.parts) > 1 and "pos" in [name.lower() for name in (above, *folder.parts[:-2])]
    ]
    if not folders:
        return None
    masks = sum(len(tree.within(folder, ".png")) for folder in folders)
    videos = [path for path in tree.files if path.suffix.lower() == ".avi"]
    found = [
        f"{counted(masks, 'mask')} of frames of {counted(len(folders), 'video')}",
        counted(len(videos), "AVI file"),
    ]

    def content(progress: Progress | None) -> Content:
        return _content(tree, folders, progress)

    title = "IUGC 2024: intrapartum ultrasound videos"
    return Distribution("iugc2024", title, tree.root, "segmentation", "pictures", False, tuple(found), content)


@dataclass(frozen=True)
class _Frame:
    """A frame with a mask; its picture is a file, or frame ``number`` of ``video``."""

    id: str
    mask: Path
    picture: Path | None
    video: Path | None
    number: int
    wanted: tuple[int, ...]
    folder: PurePath


def _content(tree: Tree, folders: list[PurePath], progress: Progress | None) -> Content:
    frames: list[_Frame] = []
    problems: list[Problem] = []
    for folder in folders:
        found, lost = _frames(tree, folder)
        frames += found
        problems += lost
    meaning, notes = meaning_of(values_of([frame.mask for frame in frames], grey_mask, progress))
    bare = sum(path.suffix.lower() == ".avi" and "neg" in [p.lower() for p in path.parts] for path in tree.files)
    if bare:
        notes.append(f"{counted(bare, 'video')} without the standard plane (neg) left out: they have no masks")
    if any("mask_enhance" in path.parts for path in tree.files):
        notes.append("mask_enhance left out: coloured for viewing, no labels")
    steps = [_step(frame, meaning) for frame in frames]
    return Content(steps, len(steps), CLASSES, tuple(notes), tuple(problems))


def _frames(tree: Tree, folder: PurePath) -> tuple[list[_Frame], list[Problem]]:
    video = folder.parent
    movie = next(iter(tree.within(video, ".avi")), None)
    pictures: dict[int, Path] = {}
    for name in _FRAME_FOLDERS:
        for path in tree.within(video / name, ".png", ".bmp", ".jpg", ".tif"):
            numbers = re.findall(r"\d+", path.stem.removeprefix(video.name))
            if numbers:
                pictures[int(numbers[0])] = path
    masks: dict[int, Path] = {}
    problems: list[Problem] = []
    for path in tree.within(folder, ".png"):
        match = _MASK.fullmatch(path.stem)
        if match is None:
            what, cure = "its name is not VIDEO_FRAME_PART.png", "rename it"
            problems.append(missing("name of a mask", path, what, cure))
        elif int(match["frame"]) in masks:
            what = f"frame {int(match['frame'])} has another mask ({masks[int(match['frame'])].name})"
            problems.append(missing("second mask of a frame", path, what, "keep the one that is right"))
        elif movie is None and int(match["frame"]) not in pictures:
            what = f"neither a video nor a picture of frame {int(match['frame'])} is beside it"
            problems.append(missing("mask without image", path, what, f"add {video.name}.avi or frames/"))
        else:
            masks[int(match["frame"])] = path
    wanted = tuple(sorted(number for number in masks if number not in pictures))
    frames = [
        _Frame(f"{video.name}_{number:05d}", mask, pictures.get(number), movie, number, wanted, folder)
        for number, mask in sorted(masks.items())
    ]
    return frames, problems


def _step(frame: _Frame, meaning: Meaning) -> Step:
    def read(mend: bool) -> Item:
        label = label_indices(frame.mask, grey_mask(frame.mask), meaning)
        if frame.picture is not None:
            item = picture_item(frame.picture, read_image(frame.picture), label)
            size = read_image(frame.picture).size
        else:
            assert frame.video is not None
            pixels = frame_of(frame.video, frame.number, frame.wanted)
            item, size = Item(pixels, label, notes=(f"frame {frame.number} of the video",)), pixels.shape[:2]
        if label.shape != size:
            raise UserError(f"{frame.mask}: the mask has another size than its frame; restore both from their source")
        return item

    source = frame.picture or frame.video
    assert source is not None
    group = f"video {frame.folder.parent.name}"
    return Step(frame.id, (source, frame.mask), read, group, place(frame.folder.parts[:-1]).split)
