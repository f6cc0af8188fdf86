"""Folders of volumes with their masks, as cases: one a slice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.data._drafts import Draft, Found
from glocal.data._tree import File, Listing
from glocal.data.cases import Case, Dataset, Problem
from glocal.data.encoding import Declared, Encoding
from glocal.data.slices import UNUSABLE, StoredVolume, VolumeSet, grid_problem
from glocal.errors import UserError, counted
from glocal.files import read_json

if TYPE_CHECKING:
    from glocal.data.volumes import VolumeFile

__all__ = ["DATASET", "nnunet_declared", "volume_files", "volume_set"]

DATASET = "dataset.json"
"""Where nnU-Net names classes and channels."""

_CHANNEL = re.compile(r"(?P<stem>.+)_(?P<channel>\d{4})")


def volume_files(listing: Listing) -> tuple[list[File], list[str]]:
    """The volumes of a folder; of nnU-Net's ``x_0000``, ``x_0001`` … the first, called ``x``; and what was left out."""
    files: list[File] = []
    others: Counter[str] = Counter()
    labelled = {file.folders for file in listing.volume_files}
    for file in listing.volume_files:
        folder = file.folders[-1].lower() if file.folders else ""
        if folder == "imagests" and not any(folders and folders[-1].lower() == "labelsts" for folders in labelled):
            others["of imagesTs, which have no labels"] += 1
        elif folder in ("imagestr", "imagests") and (match := _CHANNEL.fullmatch(file.stem)):
            if match["channel"] == "0000":
                files.append(replace(file, stem=match["stem"]))
            else:
                others["of further channels: the first (_0000) is used"] += 1
        else:
            files.append(file)
    return files, [f"{counted(count, 'volume')} left out {why}" for why, count in others.items()]


def nnunet_declared(folders: Iterable[Path]) -> tuple[Declared | None, str | None]:
    """Classes and modality that the ``dataset.json`` of nnU-Net gives, version 1 or 2; ``None`` where it does not.

    Raises:
        UserError: It is there and cannot be read.
    """
    path = next((folder / DATASET for folder in folders if (folder / DATASET).is_file()), None)
    plain = None if path is None else read_json(path)
    if path is None or not isinstance(plain, dict):
        return None, None
    channels = plain.get("channel_names", plain.get("modality"))
    channel = str(channels.get("0", "")) if isinstance(channels, dict) else ""
    modality = {"ct": "CT", "mri": "MR", "mr": "MR"}.get(channel.lower())
    return _declared(path, plain.get("labels")), modality


def _declared(path: Path, labels: Any) -> Declared | None:
    """``{"background": 0, …}`` or ``{"0": "background", …}``; regions of several values are not classes."""
    if not isinstance(labels, dict):
        return None
    pairs: list[tuple[int, str]] = []
    for key, value in labels.items():
        name, number = (value, key) if isinstance(value, str) else (key, value)
        if not str(number).isdecimal():
            return None
        pairs.append((int(number), name))
    pairs = [(value, name) for value, name in sorted(pairs) if name != "ignore"]
    names = tuple(name for _, name in pairs)
    if len(set(names)) < len(names) or not names or pairs[0][0] != 0:
        return None
    return Declared(path, names, tuple(value for value, _ in pairs), False)


def volume_set(
    root: Path,
    found: Found,
    declared: Declared | None,
    encoding: Encoding | None,
    modality: str | None,
    orientation: str | None,
) -> Dataset:
    """A data set with one case for every slice of every volume that can be read and lies on its masks.

    Args:
        root: The folder.
        found: Volumes with masks, named and grouped.
        declared: Names of the classes.
        encoding: Meaning of mask values, if it is known already.
        modality: Of all volumes, where the files do not say.
        orientation: What they are turned to; default: how most of them are stored.

    Raises:
        UserError: There is no volume that can be used, or one cannot be turned.
    """
    files, problems = _opened(found.drafts)
    if not files:
        raise UserError(problems[0].message)
    codes = [file.orientation for file in files.values()]
    common, said = _common_axes(codes, orientation)
    cases: list[Case] = []
    volumes: dict[str, StoredVolume] = {}
    for draft in found.drafts:
        if draft.id in files:
            stored = _stored(draft, files[draft.id], common, modality)
            volumes[draft.id] = stored
            cases += _slices(draft, stored)
    colours = sum(file.channels == 3 for file in files.values())
    notes = [*found.notes, f"{counted(len(volumes), 'volume')}: each slice is a case", *said]
    notes += [f"{counted(colours, 'volume')} in colour"] if colours else []
    told = Counter(note for file in files.values() for note in file.notes)
    notes += [f"{counted(count, 'volume')}: {note}" for note, count in told.most_common()]
    return Dataset(
        root,
        "segmentation",
        f"volumes: {found.layout}",
        tuple(cases),
        tuple(notes),
        (*found.problems, *problems),
        declared=declared,
        volumes=VolumeSet(volumes, common),
        _given=encoding,
    )


def _opened(drafts: Sequence[Draft]) -> tuple[dict[str, VolumeFile], list[Problem]]:
    """The headers of all volumes by id; and what is wrong with those that are left out."""
    from glocal.data.volumes import open_volume

    files: dict[str, VolumeFile] = {}
    problems: list[Problem] = []
    for draft in drafts:
        path = draft.file.path
        try:
            image = open_volume(path)
            masks = []
            for path in draft.masks:
                masks.append(open_volume(path))
        except UserError as error:
            problems.append(Problem(UNUSABLE[0], path, str(error)))
            continue
        wrong = next((problem for mask in masks if (problem := grid_problem(image, mask))), None)
        if wrong is None:
            files[draft.id] = image
        else:
            problems.append(Problem(UNUSABLE[1], draft.masks[0], wrong))
    return files, problems


def _common_axes(codes: Sequence[str | None], wanted: str | None) -> tuple[str | None, list[str]]:
    """What all volumes are turned to, and what is said of it."""
    known = Counter(code for code in codes if code is not None)
    unknown = len(codes) - known.total()
    if unknown:
        if wanted is not None or len(known) > 1:
            kinds = ", ".join(known)
            raise UserError(
                f"{counted(unknown, 'volume')} of {len(codes)} do not say how they are oriented, others do ({kinds}): "
                "they cannot be brought to common axes; save all as NIfTI with their orientation"
            )
        return None, ["orientation of volumes not known: slices are taken as they are stored"]
    common = wanted or known.most_common(1)[0][0]
    others = {code: count for code, count in known.items() if code != common}
    if not others:
        return common, [f"axes of all volumes: {common}"]
    turned = ", ".join(f"{count} from {code}" for code, count in sorted(others.items()))
    return common, [f"axes of the volumes: {common}; {turned} are turned to it (flipped or transposed, not resampled)"]


def _stored(draft: Draft, file: VolumeFile, common: str | None, modality: str | None) -> StoredVolume:
    from glocal.data.volumes import reorient

    turned = file if common is None else reorient(file, common)
    return StoredVolume(
        draft.id,
        draft.file.path,
        draft.masks,
        turned.shape,
        turned.spacing,
        file.channels,
        file.modality or modality,
    )


def _slices(draft: Draft, stored: StoredVolume) -> Iterable[Case]:
    for index in range(stored.shape[0]):
        yield Case(
            f"{draft.id}#{index:03d}",
            stored.image,
            stored.masks,
            group=draft.group or draft.id,
            split=draft.split,
            stratum=draft.stratum,
            spacing=None if stored.spacing is None else stored.spacing[1:],
            volume=draft.id,
            slice=index,
        )
