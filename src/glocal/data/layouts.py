"""Recognise the data set in a folder: segmentation or classification, in the layouts people and publishers use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from glocal.data._names import IMAGE_CLASSES, group_rule, patient_folder
from glocal.data._pairs import pair_by_folder, pair_by_suffix
from glocal.data._table import Table, read_table
from glocal.data._tree import File, Listing, Part, list_files, natural, place, split_named
from glocal.data.cases import Case, Dataset, Problem, Task
from glocal.data.encoding import Declared, Encoding, read_classes
from glocal.errors import UserError, counted, nearest

__all__ = ["open_dataset"]

_OURS = ("cases.csv", "classes.txt", "splits.json", "phantom.json")
"""Files of ours beside the images, which are not left out."""


@dataclass
class _Draft:
    """A case before its id, group and class are settled."""

    file: File
    rest: tuple[str, ...]
    masks: tuple[Path, ...] = ()
    stratum: str | None = None
    split: Part | None = None
    id: str = ""
    group: str | None = None
    spacing: tuple[float, float] | None = None


@dataclass
class _Found:
    layout: str
    drafts: list[_Draft]
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def open_dataset(
    root: str | Path,
    task: Task | None = None,
    masks: Literal["unite", "keep"] = "unite",
    encoding: Encoding | None = None,
) -> Dataset:
    """Recognise the data set in a folder. Images are not decoded; masks are when their values are first needed.

    Recognised are folders of images and of masks (``images/`` + ``masks/`` and their synonyms; same stem, or with a
    suffix such as ``_mask``), images and masks side by side, one folder per class, and above, below or between them
    ``train``, ``val`` and ``test``. ``cases.csv`` may give group, class, split and pixel size of each case;
    ``classes.txt`` the names of the classes. What was understood is in ``layout`` and ``notes``, what was left
    out in ``problems``.

    Args:
        root: The folder.
        task: Default: segmentation where there are masks, otherwise classification.
        masks: Several masks of one image are united into one case (``"unite"``), or each makes a case of its own in the
            same group, with ids ``x#1``, ``x#2`` … (``"keep"``; masks of second observers, left out otherwise, too).
        encoding: Meaning of mask values as stored with a run; default: found from the masks.

    Raises:
        UserError: The folder cannot be read, holds no 2-D data set, or one that is ambiguous; says which.
    """
    root = Path(root)
    if task not in (None, "segmentation", "classification"):
        raise UserError(f"no task {task!r}.{nearest(str(task), ['segmentation', 'classification'])}")
    if masks not in ("unite", "keep"):
        raise UserError(f"masks={masks!r} is not known; use 'unite' or 'keep'")
    listing = list_files(root)
    if not listing.files:
        raise _nothing(listing)
    files, inner = _without_common(listing.files)
    beside = root.joinpath(*inner)  # where an archive unpacks into a folder of its own
    table, declared = read_table(root) or read_table(beside), read_classes(root) or read_classes(beside)
    found = _segmentation(files, keep=masks == "keep", required=task != "classification")
    if task == "segmentation" and found is None:
        raise UserError(
            f"{root}: no masks were found; put them into masks/ beside images/, with the names of the images"
        )
    is_segmentation = found is not None and task != "classification"
    if found is None:
        found = _classes(root, files, table)
    found.notes += _left_out(listing)
    _apply_table(found, table)
    _name(found)
    _group(found)
    if is_segmentation:
        return _segmentation_set(root, found, masks == "keep", declared, encoding)
    return _classification_set(root, found, declared)


def _nothing(listing: Listing) -> UserError:
    root = listing.root
    if listing.volumes:
        what = ", ".join(f"{count} {suffix}" for suffix, count in sorted(listing.volumes.items()))
        return UserError(f"{root}: volumes or arrays ({what}), not a set of 2-D images; export slices as PNG or TIFF")
    if listing.archives:
        return UserError(f"{root}: no images, but an archive ({listing.archives[0].name}); unpack it first")
    return UserError(
        f"{root}: no images in this folder or below; put PNG, JPEG, TIFF, BMP, GIF, WebP or PNM files there"
    )


def _without_common(files: list[File]) -> tuple[list[File], tuple[str, ...]]:
    """The files without the folders that all of them share, which say nothing; and those folders."""
    common = files[0].folders
    for file in files:
        same = next((i for i, (a, b) in enumerate(zip(common, file.folders, strict=False)) if a != b), None)
        common = common[: min(len(common), len(file.folders)) if same is None else same]
    return [replace(file, folders=file.folders[len(common) :]) for file in files], common


def _left_out(listing: Listing) -> list[str]:
    notes = []
    if listing.hidden:
        notes.append(f"{counted(listing.hidden, 'hidden or system file')} left out")
    for what, number in sorted(listing.volumes.items()):
        notes.append(f"{counted(number, f'{what} file')} left out: not 2-D images")
    other = [path for path in listing.other if path.name not in _OURS]
    if other:
        names = ", ".join(path.relative_to(listing.root).as_posix() for path in other[:3])
        notes.append(f"{counted(len(other), 'other file')} left out ({names}{', …' if len(other) > 3 else ''})")
    if listing.archives:
        notes.append(f"{counted(len(listing.archives), 'archive')} left out ({listing.archives[0].name})")
    notes += [f"{path} left out: a link to a folder that is read already" for path in listing.repeated]
    return notes


def _segmentation(files: list[File], keep: bool, required: bool) -> _Found | None:
    pairing = pair_by_folder(files, keep, required) or pair_by_suffix(files, keep)
    if pairing is None:
        return None
    drafts = [
        _Draft(pair.image, pair.place.rest, tuple(mask.path for mask in pair.masks), split=pair.place.split)
        for pair in pairing.pairs
    ]
    for draft in drafts:
        draft.stratum = next((folder for folder in draft.rest if folder.lower() in IMAGE_CLASSES), None)
        patient = next((name for folder in draft.rest if (name := patient_folder(folder))), None)
        draft.group = f"patient {patient}" if patient else None
    notes = list(pairing.notes)
    strata = sorted({draft.stratum for draft in drafts if draft.stratum})
    if strata:
        notes.append(f"class of each image from its folder: {', '.join(strata)}")
    patients = {draft.group for draft in drafts if draft.group}
    if patients:
        notes.append(f"group = patient, from folder names ({len(patients)})")
    several = sum(len(draft.masks) > 1 for draft in drafts)
    if several:
        what = "each kept as a case of its own" if keep else "united"
        notes.append(f"{counted(several, 'image')} with several masks: {what}")
    return _Found(pairing.layout, drafts, notes, pairing.problems)


def _classes(root: Path, files: list[File], table: Table | None) -> _Found:
    drafts, notes = [], []
    for file in files:
        split = next((part for folder in file.folders if (part := split_named(folder))), None)
        rest = tuple(f for f in file.folders if split_named(f) is None and f.lower() not in ("images", "image", "imgs"))
        drafts.append(_Draft(file, rest, stratum=rest[0] if rest else None, split=split))
    if any(len(draft.rest) > 1 for draft in drafts):
        notes.append(
            "class = first folder; folders below it are no groups (a cases.csv with a column 'group' can say so)"
        )
    loose = [draft for draft in drafts if draft.stratum is None]
    if len({draft.stratum for draft in drafts if draft.stratum}) >= 2 and loose:
        notes.append(
            f"{counted(len(loose), 'image')} outside of the class folders left out ({loose[0].file.path.name}, …)"
        )
        drafts = [draft for draft in drafts if draft.stratum]
    if len({draft.stratum for draft in drafts}) >= 2:
        return _Found("one folder per class", drafts, notes)
    if table is not None and table.has_class:
        return _Found("classes from cases.csv", [replace(draft, stratum=None) for draft in drafts], notes)
    role = place((root.name,)).role
    hint = f"did you mean the folder above, {root.resolve().parent}? Otherwise " if role else ""
    raise UserError(
        f"{root}: {counted(len(files), 'image')}, but no masks and fewer than two folders that could be classes; {hint}"
        "put images into images/ and masks into masks/, or the images of each class into a folder of its own"
    )


def _apply_table(found: _Found, table: Table | None) -> None:
    if table is None:
        return
    missing: list[_Draft] = []
    for draft in found.drafts:
        name = draft.file.path.name
        below = "/".join((*draft.file.folders, name))
        row = table.find((draft.file.stem, name, below, below.removesuffix(draft.file.path.suffix)), draft.stratum)
        if row is None:
            missing.append(draft)
            continue
        draft.group = row.group or draft.group
        draft.stratum = draft.stratum or row.stratum
        draft.split = draft.split or row.split
        draft.spacing = row.spacing
    found.notes += table.notes
    if missing and (table.has_group or table.has_class or table.has_split):
        for draft in missing:
            path = draft.file.path
            text = f"{path}: not in {table.path.name}; it counts as a group of its own: add a row"
            found.problems.append(Problem("case not in cases.csv", path, text))
    if table.unused:
        found.notes.append(f"{counted(table.unused, 'row')} of {table.path.name} without a case that was found")


def _name(found: _Found) -> None:
    """Ids: the stem; where stems repeat, the folders before it too, for all."""
    stems = Counter(draft.file.stem for draft in found.drafts)
    plain = max(stems.values()) == 1
    for draft in found.drafts:
        folders = () if plain else (*((draft.split,) if draft.split else ()), *draft.rest)
        draft.id = "/".join((*folders, draft.file.stem))
    repeated = [id for id, count in Counter(draft.id for draft in found.drafts).items() if count > 1]
    if repeated:
        first, second = [draft.file.path for draft in found.drafts if draft.id == repeated[0]][:2]
        raise UserError(
            f"{second}: another image has the same stem ({first}); it cannot be told which one is meant: "
            "keep one, or give them different names"
        )
    found.drafts.sort(key=lambda draft: natural(draft.id))


def _group(found: _Found) -> None:
    if any(draft.group for draft in found.drafts):
        return
    rule = group_rule([draft.file.stem for draft in found.drafts])
    if rule is None:
        found.notes.append("no groups known: every image is its own (a cases.csv with a column 'group' can give them)")
        return
    meaning, groups = rule
    found.notes.append(f"group = {meaning} ({len(set(groups))})")
    for draft, group in zip(found.drafts, groups, strict=True):
        draft.group = group


def _segmentation_set(
    root: Path, found: _Found, keep: bool, declared: Declared | None, encoding: Encoding | None
) -> Dataset:
    cases = []
    for draft in found.drafts:
        case = Case(
            draft.id,
            draft.file.path,
            draft.masks,
            group=draft.group or draft.id,
            split=draft.split,
            stratum=draft.stratum,
            spacing=draft.spacing,
        )
        if keep and len(draft.masks) > 1:
            cases += [replace(case, id=f"{case.id}#{i}", masks=(mask,)) for i, mask in enumerate(draft.masks, 1)]
        else:
            cases.append(case)
    return Dataset(
        root,
        "segmentation",
        found.layout,
        tuple(cases),
        tuple(found.notes),
        tuple(found.problems),
        declared=declared,
        _given=encoding,
    )


def _classification_set(root: Path, found: _Found, declared: Declared | None) -> Dataset:
    if not any(draft.stratum for draft in found.drafts):
        raise UserError(f"{root}: the class of the images is not known; add a cases.csv with columns 'id' and 'class'")
    unknown = [draft for draft in found.drafts if draft.stratum is None]
    for draft in unknown:
        path = draft.file.path
        text = f"{path}: its class is not known; it is left out: add it to cases.csv"
        found.problems.append(Problem("image without class", path, text))
    drafts = [draft for draft in found.drafts if draft.stratum is not None]
    present = sorted({str(draft.stratum) for draft in drafts}, key=natural)
    if len(present) < 2:
        raise UserError(f"{root}: only one class ({present[0]}) has images; a classifier needs at least two")
    names = tuple(present) if declared is None else declared.names
    strange = [name for name in present if name not in names]
    if strange:
        raise UserError(
            f"{root / 'classes.txt'}: the class {strange[0]!r} of the images is not named there."
            f"{nearest(strange[0], names)} Add it or rename its folder"
        )
    for name in names:
        if name not in present:
            text = f"{root / name}: class {name!r} has no images; add some or take it out of classes.txt"
            found.problems.append(Problem("class without images", root / name, text))
    cases = [
        Case(
            draft.id,
            draft.file.path,
            label=names.index(str(draft.stratum)),
            group=draft.group or draft.id,
            split=draft.split,
            stratum=draft.stratum,
            spacing=draft.spacing,
        )
        for draft in drafts
    ]
    return Dataset(root, "classification", found.layout, tuple(cases), tuple(found.notes), tuple(found.problems), names)
