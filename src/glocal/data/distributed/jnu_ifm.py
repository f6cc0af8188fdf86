"""JNU-IFM: frames of intrapartum ultrasound videos with masks of the values 0, 7 and 8."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from glocal.data._tree import place
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, missing
from glocal.data.distributed._intrapartum import CLASSES, Meaning, grey_mask, label_indices, meaning_of, values_of
from glocal.data.distributed.distribution import Array, Content, Distribution, Step
from glocal.data.distributed.picture import picture_step
from glocal.data.readers import Mask
from glocal.errors import counted

__all__ = ["recognise"]

_IMAGES = ("image", "images", "frame", "frames")
_MASKS = ("mask", "masks")
_VIEWS = ("mask_enhance", "mask_enhanced", "enhance")
_TAIL = re.compile(r"(?P<stem>.+?)(?:_mask)?(?:_\d)?")


def recognise(tree: Tree) -> Distribution | None:
    """Recognise folders of frames and of masks, with coloured copies in ``mask_enhance`` or a root named JNU-IFM."""
    named = any("jnu" in name.lower() for name in (tree.root.name, *(part for f in tree.by_folder for part in f.parts)))
    views = tree.folders_named(*_VIEWS)
    folders = [
        folder
        for folder in tree.folders_named(*_MASKS)
        if _beside(tree, folder) is not None and (named or any(view.parent == folder.parent for view in views))
    ]
    if not folders:
        return None
    masks = sum(len(tree.within(folder, ".png")) for folder in folders)
    found = (f"{counted(masks, 'mask')} of frames in {counted(len(folders), 'folder')}",)

    def content(progress: Progress | None) -> Content:
        return _content(tree, folders, progress)

    title = "JNU-IFM: frames of intrapartum ultrasound videos"
    return Distribution("jnu-ifm", title, tree.root, "segmentation", "pictures", False, found, content)


def _beside(tree: Tree, folder: PurePath) -> PurePath | None:
    """The folder of frames beside a folder of masks."""
    return next((folder.parent / name for name in _IMAGES if folder.parent / name in tree.by_folder), None)


def _content(tree: Tree, folders: list[PurePath], progress: Progress | None) -> Content:
    pairs: list[tuple[Path, Path, PurePath]] = []
    problems: list[Problem] = []
    for folder in folders:
        frames = _beside(tree, folder)
        assert frames is not None
        masks = {path.stem: path for path in tree.within(folder, ".png")}
        short = {_short(stem): path for stem, path in masks.items()}
        used = set()
        for image in tree.within(frames, ".png", ".jpg", ".bmp"):
            mask = masks.get(image.stem) or masks.get(f"{image.stem}_mask") or short.get(image.stem)
            if mask is None:
                problems.append(missing("image without mask", image, "no mask has its name", "add the mask"))
            else:
                used.add(mask)
                pairs.append((image, mask, folder.parent))
        for mask in masks.values():
            if mask not in used:
                problems.append(missing("mask without image", mask, "no frame has its name", "add the frame"))
    meaning, notes = meaning_of(values_of([mask for _, mask, _ in pairs], grey_mask, progress))
    if tree.folders_named(*_VIEWS):
        notes.append("mask_enhance left out: coloured for viewing, no labels")
    several = len(folders) > 1
    steps = [_step(*pair, meaning, several) for pair in pairs]
    return Content(steps, len(steps), CLASSES, tuple(notes), tuple(problems))


def _short(stem: str) -> str:
    match = _TAIL.fullmatch(stem)
    assert match is not None
    return match["stem"]


def _step(image: Path, mask: Path, folder: PurePath, meaning: Meaning, several: bool) -> Step:
    def apply(drawn: Mask, path: Path) -> Array:
        return label_indices(path, grey_mask(path), meaning)

    video = folder.name if several else image.stem.rpartition("_")[0]
    id = image.stem if not several or image.stem.startswith(folder.name) else f"{folder.name}/{image.stem}"
    group = f"video {video}" if video else None
    return picture_step(id, image, mask, apply, group=group, split=place(folder.parts).split)
