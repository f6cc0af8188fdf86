"""Plain folders of volumes: ``images/x.nii.gz`` with ``masks/x.nii.gz``; and what every layout of volumes shares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glocal.data._names import foreground_names, group_rule, patient_folder
from glocal.data._pairs import pair_by_folder, pair_by_suffix
from glocal.data._table import find_table
from glocal.data._tree import VOLUME_SUFFIXES, File, Part, list_files
from glocal.data._volume_layout import volume_files
from glocal.data.cases import Problem, Progress
from glocal.data.distributed._files import Tree, missing
from glocal.data.distributed._geometry import agreement, turned_onto
from glocal.data.distributed.distribution import Array, Content, Distribution, Item, Step
from glocal.data.encoding import Declared, Encoding, infer_encoding, read_classes
from glocal.data.readers import Mask
from glocal.data.slices import label_facts
from glocal.data.volumes import LabelVolume, Volume, VolumeFile, open_volume, read_labels
from glocal.data.volumes._guards import suspicion
from glocal.errors import UserError, counted, optional_import
from glocal.files import require_regular_file

__all__ = ["VolumePair", "known_names", "pairs_of", "read_pair", "recognise", "volume_content"]


@dataclass(frozen=True)
class VolumePair:
    """A volume and its mask."""

    id: str
    image: Path
    mask: Path
    group: str | None = None
    split: Part | None = None
    channel: int | None = None
    """Of a 4-D image."""


def recognise(tree: Tree) -> Distribution | None:
    """Recognise folders of volumes and of their masks."""
    if not any(path.name.lower().endswith((*VOLUME_SUFFIXES, ".dcm")) for path in tree.files):
        return None
    pairs, problems, layout = pairs_of(tree.root)
    if not pairs:
        return None
    found = (f"{counted(len(pairs), 'volume')} with masks", layout)

    def content(progress: Progress | None) -> Content:
        declared = read_classes(tree.root)
        return volume_content(pairs, problems, declared, progress)

    return Distribution("volumes", "a folder of volumes", tree.root, "segmentation", "volumes", True, found, content)


def pairs_of(root: Path) -> tuple[list[VolumePair], tuple[Problem, ...], str]:
    """Volumes of ``images/`` with their masks of ``masks/`` (and synonyms), those that lack one, where they are."""
    files, _ = volume_files(list_files(root))
    if not files:
        return [], (), ""
    common = Path(os.path.commonpath([file.path.parent for file in files]))
    depth = len(common.relative_to(root).parts)
    inner = [File(file.path, file.folders[depth:], file.stem) for file in files]
    cines = [file for file in inner if file.stem.endswith("_4d")]  # ACDC: all phases of a patient in one file
    inner = [file for file in inner if file not in cines]
    pairing = pair_by_folder(inner, keep=False, required=False) or pair_by_suffix(inner, keep=False)
    if pairing is None:
        return [], (), ""
    layout = pairing.layout + (f"; {counted(len(cines), '4-D file')} left out" if cines else "")
    table, _ = find_table(root, common, labels=False)
    plain = len({pair.image.stem for pair in pairing.pairs}) == len(pairing.pairs)
    pairs: list[VolumePair] = []
    problems = list(pairing.problems)
    for pair in pairing.pairs:
        path, stem = pair.image.path, pair.image.stem
        if len(pair.masks) > 1:
            names = ", ".join(mask.path.name for mask in pair.masks[:4])
            what = f"it has {len(pair.masks)} masks ({names})"
            problems.append(missing("several masks", path, what, "unite them in one file with a value for each class"))
            continue
        row = table.find(path, (stem, path.name), None) if table else None
        patient = next((name for folder in pair.place.rest if (name := patient_folder(folder))), None)
        group, split = (row.group, row.split) if row else (None, None)
        id = stem if plain else "/".join((*pair.place.rest, stem))
        pairs.append(VolumePair(id, path, pair.masks[0].path, group or patient, pair.place.split or split))
    return _grouped(pairs), tuple(problems), layout


def _grouped(pairs: list[VolumePair]) -> list[VolumePair]:
    """With groups told from names where nothing else gives any; a split with one part alone is none."""
    if {pair.split for pair in pairs} == {"train"}:
        pairs = [replace(pair, split=None) for pair in pairs]
    if any(pair.group for pair in pairs) or (rule := group_rule([pair.id for pair in pairs])) is None:
        return pairs
    return [replace(pair, group=group) for pair, group in zip(pairs, rule[1], strict=True)]


def volume_content(
    pairs: Sequence[VolumePair],
    problems: tuple[Problem, ...],
    declared: Declared | None,
    progress: Progress | None,
    notes: tuple[str, ...] = (),
    channel: str = "",
) -> Content:
    """The cases of volumes whose masks are all read once, to find which class each value means.

    Args:
        pairs: The volumes.
        problems: What has been left out already.
        declared: The names of the classes, if something gives them.
        progress: Called as the masks are read.
        notes: What is known about the set already.
        channel: Name of the image channel.

    Raises:
        UserError: The values of the masks cannot be labels.
    """
    facts = []
    for done, pair in enumerate(pairs, 1):
        facts.append(label_facts(pair.mask))
        if progress is not None:
            progress(done, len(pairs))
    encoding, said = infer_encoding(facts, declared)
    values = {value for fact in facts for value in fact.counts or ()}
    if any(encoding.mapping.get(value, value) != value for value in values):
        plain = ", ".join(f"{value} -> {index}" for value, index in sorted(encoding.mapping.items()))
        said = [*said, f"mask values become class indices: {plain}"]
    names = known_names(pairs[0], encoding.classes) if declared is None else declared.names
    steps = [_step(pair, encoding) for pair in pairs]
    return Content(steps, len(steps), names, (*notes, *said), problems, channel=channel)


def known_names(pair: VolumePair, number: int) -> tuple[str, ...]:
    """Names of ``number`` classes that the folder of a well-known set implies, or nothing."""
    foreground = foreground_names(pair.image.parent.as_posix(), number - 1)
    return ("background", *foreground) if foreground else ()


def _step(pair: VolumePair, encoding: Encoding) -> Step:
    def read(mend: bool) -> Item:
        return read_pair(pair, encoding, mend)

    return Step(pair.id, (pair.image, pair.mask), read, pair.group, pair.split)


def read_pair(pair: VolumePair, encoding: Encoding, mend: bool) -> Item:
    """A volume and its mask, on one grid.

    Args:
        pair: Their files.
        encoding: Of the masks of the set.
        mend: Turn a mask that is stored along other axes, and take the position that one of the two has lost from the
            other; otherwise such a pair is refused.

    Raises:
        UserError: One cannot be read, or they do not lie on each other.
    """
    opened = _opened(pair, require_geometry=not mend)
    labels = read_labels(pair.mask, require_geometry=False)
    notes = [f"mask: {note}" for note in labels.notes]
    values, affine, mended = _fitted(pair, opened, labels, mend)
    flat = Mask(values.reshape(-1, values.shape[-1]))
    label = encoding.apply(flat, pair.mask).reshape(values.shape)
    if bool((label != values).any()):
        notes.append("mask values made class indices")
    notes += mended
    if isinstance(opened, VolumeFile) and opened.kind == "NIfTI" and affine is opened.affine:
        for _ in opened.slices():  # to the end: a truncated file must not be copied
            pass
        return Item(pair.image, label, affine, tuple(notes))
    if isinstance(opened, VolumeFile) and opened.kind != "NIfTI":
        notes.append(f"{opened.kind} written as NIfTI")
    whole = opened.load() if isinstance(opened, VolumeFile) else opened
    known = affine if opened.has_geometry or affine is not opened.affine else None
    return Item(whole.values, label, known, (*whole.notes, *notes))


def _opened(pair: VolumePair, require_geometry: bool) -> VolumeFile | Volume:
    if pair.channel is not None:
        return _one_channel(pair.image, pair.channel)
    image = open_volume(pair.image, require_geometry=require_geometry)
    if image.channels != 1:
        raise UserError(f"{pair.image}: a volume in colour; save one channel of it as a volume of its own")
    return image


def _one_channel(path: Path, channel: int) -> Volume:
    """One channel of a 4-D NIfTI."""
    nibabel = optional_import("nibabel", "volumes")
    with suspicion(require_regular_file(path), "NIfTI"):
        whole = nibabel.load(path)
        if len(whole.shape) != 4 or channel >= whole.shape[3]:
            raise UserError(f"{path}: has no channel {channel}, which dataset.json promises; correct one of the two")
        values = np.asarray(whole.dataobj[..., channel], dtype=np.float32)
        return Volume(np.ascontiguousarray(values.T), np.asarray(whole.affine, np.float64))


def _fitted(
    pair: VolumePair, image: VolumeFile | Volume, labels: LabelVolume, mend: bool
) -> tuple[Array, Array, list[str]]:
    """Values of the mask along the axes of the image, the affine of both, and what was mended."""
    how = agreement(image, labels)
    if how in ("same", "unknown"):
        if mend and not image.has_geometry and isinstance(image, VolumeFile):
            open_volume(image.path)  # refuses an impossible spacing, which nothing here can replace
        return labels.values, image.affine, []
    if how == "size":
        sizes = " and ".join("x".join(map(str, reversed(shape))) for shape in (labels.shape, image.shape))
        raise UserError(f"{pair.mask}: mask and image have {sizes} voxels; export the mask on the grid of the image")
    if how == "moved":
        raise UserError(
            f"{pair.mask}: mask and image lie in different places in space, which cannot be mended safely; resample "
            "the mask onto the image, or remove both"
        )
    if how == "turned":
        what = f"the mask is stored along {labels.orientation}, its image along {image.orientation}"
        turned = turned_onto(image, labels)
        assert turned is not None
        fitted, done = (turned, image.affine), "turned onto the image, nothing resampled"
    elif how == "mask lost":
        what = "the mask has no position in space, its image has"
        fitted, done = (labels.values, image.affine), "that of the image taken, voxel by voxel"
    else:
        what = "the image has no usable position in space, its mask has"
        fitted, done = (labels.values, labels.affine), "that of the mask taken, voxel by voxel"
    if not mend:
        raise UserError(f"{pair.mask}: {what}; 'glocal data mend' writes a copy with it {done.split(',')[0]}")
    return *fitted, [f"mended: {what}; {done}"]
