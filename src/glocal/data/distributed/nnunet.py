"""nnU-Net's raw format, version 2 and version 1 (that of the Medical Segmentation Decathlon)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from glocal.data._tree import VOLUME_SUFFIXES, Part
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, by_stem, missing, stem_of
from glocal.data.distributed.distribution import Content, Distribution, Kind, Step
from glocal.data.distributed.picture import picture_step
from glocal.data.distributed.volumes import VolumePair, volume_content
from glocal.data.encoding import Declared, infer_encoding, mask_facts
from glocal.data.readers import IMAGE_SUFFIXES
from glocal.errors import UserError, counted, nearest
from glocal.files import read_json

__all__ = ["recognise"]

_FOLDERS: tuple[tuple[Part, str, str], ...] = (("train", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs"))
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def recognise(tree: Tree, channel: str | None = None) -> Distribution | None:
    """Recognise ``dataset.json`` beside ``imagesTr`` and ``labelsTr``.

    Args:
        tree: The files.
        channel: Name or number of the one to take where images have several.

    Raises:
        UserError: There are several such sets, or ``dataset.json`` cannot be used.
    """
    sets = [
        path.parent for path in tree.files if path.name == "dataset.json" and path.parent / "imagesTr" in tree.by_folder
    ]
    if not sets:
        return None
    if len(sets) > 1:
        names = ", ".join(folder.as_posix() for folder in sets[:4])
        raise UserError(f"{tree.root}: {len(sets)} nnU-Net data sets ({names}); name the folder of one")
    return _Raw(tree, sets[0], channel).distribution()


class _Raw:
    """One data set in nnU-Net's raw format."""

    def __init__(self, tree: Tree, folder: PurePath, channel: str | None) -> None:
        self.tree, self.folder, self.path = tree, folder, tree.root / folder / "dataset.json"
        record = read_json(self.path)
        if not isinstance(record, dict) or not isinstance(record.get("labels"), dict):
            raise UserError(f"{self.path}: no object with 'labels'; restore the file")
        self.version = 2 if "channel_names" in record else 1
        channels = record.get("channel_names", record.get("modality", {"0": "image"}))
        if not isinstance(channels, dict):
            raise UserError(f"{self.path}: 'channel_names' is no object of number and name; restore the file")
        self.channels = {str(number): str(name) for number, name in channels.items()}
        self.declared = _declared(self.path, record["labels"])
        self.images = self._files("imagesTr")
        self.pictures = bool(self.images) and self.images[0].suffix.lower() in IMAGE_SUFFIXES
        self.single = self.pictures and len({_parted(path)[1] for path in self.images}) <= 1
        self.chosen = self._chosen(channel)

    def _files(self, name: str) -> list[Path]:
        return self.tree.within(self.folder / name, *VOLUME_SUFFIXES, *IMAGE_SUFFIXES)

    def _chosen(self, asked: str | None) -> int | None:
        """The channel to take; None while it is left open."""
        if len(self.channels) == 1 or self.single:
            return 0
        if asked is None:
            return None
        for number, name in self.channels.items():
            if asked in (number, name):
                return int(number)
        listed = ", ".join(f"{number} ({name})" for number, name in self.channels.items())
        raise UserError(
            f"{self.path}: no channel {asked!r}.{nearest(asked, self.channels.values())} There are {listed}"
        )

    def distribution(self) -> Distribution:
        """What was recognised."""
        labels = self._files("labelsTr")
        found = [
            f"{counted(len(labels), 'labelled case')}",
            f"{counted(len(self.channels), 'channel')}: {', '.join(self.channels.values())}",
        ]
        if bare := self.tree.by_folder.get(self.folder / "imagesTs"):
            found.append(f"{counted(len(bare), 'test image')} in imagesTs")
        title = f"nnU-Net raw, version {self.version}{' (Medical Segmentation Decathlon)' * (self.version == 1)}"
        readable = not self.pictures  # of several channels the first is read
        kind: Kind = "pictures" if self.pictures else "volumes"
        root = self.tree.root
        return Distribution("nnunet", title, root, "segmentation", kind, readable, tuple(found), self._content)

    def _content(self, progress: Progress | None) -> Content:
        if self.chosen is None:
            listed = ", ".join(f"{number} ({name})" for number, name in self.channels.items())
            raise UserError(
                f"{self.path}: images of {len(self.channels)} channels, of which one can be converted; choose it with "
                f"--channel: {listed}"
            )
        pairs: list[VolumePair] = []
        problems: list[Problem] = []
        notes = [f"channel {self.chosen} ({self.channels[str(self.chosen)]}) taken"] * (len(self.channels) > 1)
        for part, images, labels in _FOLDERS:
            if part == "test" and self.folder / labels not in self.tree.by_folder:
                if bare := self._files(images):
                    notes.append(f"{counted(len(bare), 'image')} of {images} without labels left out")
                continue
            found, lost = self._pairs(images, labels, part)
            pairs, problems = pairs + found, problems + lost
        if not any(pair.split == "test" for pair in pairs):
            pairs = [VolumePair(p.id, p.image, p.mask, channel=p.channel) for p in pairs]
        if self.pictures:
            return self._pictures(pairs, tuple(problems), notes)
        name = self.channels[str(self.chosen)]
        return volume_content(pairs, tuple(problems), self.declared, progress, tuple(notes), name)

    def _pairs(self, images: str, labels: str, part: Part) -> tuple[list[VolumePair], list[Problem]]:
        channels: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in self._files(images):
            case, number = _parted(path)
            channels[case][number if number is not None else -1] = path
        masks = by_stem(self._files(labels))
        pairs, problems = [], []
        for case, files in channels.items():
            source = files.get(-1) or files.get(self.chosen or 0)
            many = len(self.channels) > 1 and -1 in files and not self.pictures
            if source is None:
                first = next(iter(files.values()))
                problems.append(missing("channel missing", first, f"channel {self.chosen} is not there", "restore it"))
            elif case not in masks:
                problems.append(missing("image without mask", source, f"{labels} holds no mask of it", "add the mask"))
            else:
                pairs.append(VolumePair(case, source, masks.pop(case), None, part, self.chosen if many else None))
        for case, mask in masks.items():
            if case not in channels:
                problems.append(missing("mask without image", mask, f"{images} holds no image of it", "add the image"))
        return pairs, problems

    def _pictures(self, pairs: list[VolumePair], problems: tuple[Problem, ...], notes: list[str]) -> Content:
        encoding, said = infer_encoding([mask_facts(pair.mask) for pair in pairs], self.declared)
        steps: list[Step] = [
            picture_step(pair.id, pair.image, pair.mask, encoding.apply, split=pair.split) for pair in pairs
        ]
        return Content(steps, len(steps), self.declared.names, (*notes, *said), problems)


def _parted(path: Path) -> tuple[str, int | None]:
    """Case and channel of a file: ``x_0000.nii.gz`` -> ``("x", 0)``; without a channel ``(stem, None)``."""
    match = _CHANNEL.fullmatch(stem_of(path))
    return (match["case"], int(match["channel"])) if match else (stem_of(path), None)


def _declared(path: Path, labels: Mapping[str, Any]) -> Declared:
    """Names and values of the classes: version 2 writes name -> value, version 1 value -> name.

    Raises:
        UserError: Regions (lists of values), or something else.
    """
    plain: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, (list, tuple)):
            raise UserError(
                f"{path}: label {key!r} is a region of several values, which overlap; write one value for each class"
            )
        number, name = (key, value) if isinstance(value, str) else (value, key)
        try:
            plain[int(number)] = str(name)
        except (TypeError, ValueError):
            raise UserError(f"{path}: label {key!r}: {value!r} is no name with a number; correct it") from None
    values = sorted(plain)
    if len(plain) < 2 or len(plain) < len(labels) or len(set(plain.values())) < len(plain) or values[0] != 0:
        raise UserError(f"{path}: labels need different names and numbers, with the background as 0; correct them")
    return Declared(path, tuple(plain[value] for value in values), tuple(values), False)
