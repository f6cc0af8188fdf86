"""Recognise the data set in a folder: segmentation or classification, in the layouts people and publishers use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

from glocal.data._class_columns import classes_of
from glocal.data._classification import classification_set, drafts_by_folder, find_classes, names_classes
from glocal.data._drafts import Draft, Found, apply_table
from glocal.data._names import IMAGE_CLASSES, group_rule, patient_folder
from glocal.data._pairs import pair_by_folder, pair_by_suffix
from glocal.data._table import CASES, LABELS, Table, find_table
from glocal.data._tree import VOLUME_SUFFIXES, File, Listing, list_files, natural, place
from glocal.data._volume_layout import DATASET, nnunet_declared, volume_files, volume_set
from glocal.data.cases import Case, Dataset, Task
from glocal.data.encoding import Declared, Encoding, read_classes
from glocal.errors import UserError, counted, nearest

__all__ = ["open_dataset"]

_OURS = ("cases.csv", "classes.txt", "splits.json", "phantom.json", DATASET)
"""Files of ours beside the images, which are not left out."""


def open_dataset(
    root: str | Path,
    task: Task | None = None,
    masks: Literal["unite", "keep"] = "unite",
    encoding: Encoding | None = None,
    orientation: str | None = None,
) -> Dataset:
    """Recognise the data set in a folder. Images are not decoded; masks are when their values are first needed.

    Recognised are folders of images and of masks (``images/`` + ``masks/`` and their synonyms; same stem, or with a
    suffix such as ``_mask``), images and masks side by side, one folder per class, and above, below or between them
    ``train``, ``val`` and ``test``. ``cases.csv`` may give group, class, split and pixel size of each case;
    ``classes.txt`` the names of the classes. For classification ``labels.csv``, or the only CSV file there is, does as
    well, and a table with classes goes before folders: see :func:`~glocal.data._class_columns.classes_of`. What was
    understood is in ``layout`` and ``notes``, what was left out in ``problems``.

    Volumes (NIfTI, MetaImage, NRRD, folders with a DICOM series) lie in the same folders as images do, or as nnU-Net
    has them (``imagesTr``, ``labelsTr``, ``dataset.json``). Each slice is a case; ``cases.csv`` names volumes.

    Args:
        root: The folder.
        task: Default: segmentation where there are masks, otherwise classification.
        masks: Several masks of one image are united into one case (``"unite"``), or each makes a case of its own in the
            same group, with ids ``x#1``, ``x#2`` … (``"keep"``; masks of second observers, left out otherwise, too).
        encoding: Meaning of mask values as stored with a run; default: found from the masks.
        orientation: Volumes: what they are turned to, such as ``"RAS"``; default: how most of them are stored.

    Raises:
        UserError: The folder cannot be read, holds no data set, one that is ambiguous (says which), or one as its
            makers distribute it (names the command that converts it).
    """
    root = Path(root)
    if task not in (None, "segmentation", "classification"):
        raise UserError(f"no task {task!r}.{nearest(str(task), ['segmentation', 'classification'])}")
    if masks not in ("unite", "keep"):
        raise UserError(f"masks={masks!r} is not known; use 'unite' or 'keep'")
    from glocal.data.distributed import refuse_unprepared  # which reads plain folders with this module's own helpers

    listing = list_files(root)
    refuse_unprepared(root)
    if task != "classification" and (volumes := _volumes(listing, masks == "keep", encoding, orientation)) is not None:
        return volumes
    if not listing.files:
        raise _nothing(listing)
    files, inner = _without_common(listing.files)
    beside = root.joinpath(*inner)  # where an archive unpacks into a folder of its own
    declared = read_classes(root) or read_classes(beside)
    found = _segmentation(files, keep=masks == "keep", required=task != "classification")
    if task == "segmentation" and found is None:
        raise UserError(
            f"{root}: no masks were found; put them into masks/ beside images/, with the names of the images"
        )
    is_segmentation = found is not None and task != "classification"
    table, undecided = find_table(root, beside, labels=not is_segmentation)
    drafts = drafts_by_folder(files) if found is None else found.drafts
    by_folder = len({draft.stratum for draft in drafts if draft.stratum}) >= 2
    classes = None
    if table is not None and not is_segmentation:  # beside class folders columns of 0 and 1 may be anything
        classes = classes_of(table, columns=table.path.name == LABELS or not by_folder)
    if found is not None and task == "classification":
        declared = declared if declared is not None and names_classes(found, classes, declared) else None
    if found is None:
        if table is not None and not table.rows:
            raise UserError(f"{table.path}: the table has no rows; give one row an image")
        half = any(place(file.folders).role is not None for file in listing.volume_files)
        if half and not by_folder and classes is None:
            raise _half_volumes(listing)
        found = find_classes(root, drafts, table if classes is not None else None, undecided)
        if classes is not None and table is not None and table.path.name != CASES:
            found.complete = table.path.name == LABELS or not by_folder
    found.notes += _left_out(listing, table)
    apply_table(found, table, classes)
    _name(found)
    _group(found)
    if is_segmentation:
        return _segmentation_set(root, found, masks == "keep", declared, encoding)
    return classification_set(root, found, declared, classes, CASES if table is None else table.path.name)


def _nothing(listing: Listing) -> UserError:
    root = listing.root
    if listing.volumes:
        what = ", ".join(f"{count} {suffix}" for suffix, count in sorted(listing.volumes.items()))
        if arrays := [suffix for suffix in listing.volumes if suffix not in (*VOLUME_SUFFIXES, ".nhdr")]:
            return UserError(
                f"{root}: arrays ({', '.join(sorted(arrays))}) are not read in a data set, but for those that "
                "`glocal data prepare` knows; save images and masks as NIfTI or as pictures, in images/ and masks/"
            )
        return UserError(
            f"{root}: volumes or arrays ({what}), but not in folders of images and masks; put volumes into images/ and "
            "their masks, with the same names, into masks/"
        )
    if listing.archives:
        return UserError(f"{root}: no images, but an archive ({listing.archives[0].name}); unpack it first")
    return UserError(
        f"{root}: no images in this folder or below; put PNG, JPEG, TIFF, BMP, GIF, WebP or PNM files there"
    )


def _half_volumes(listing: Listing) -> UserError:
    pictures, volumes = listing.files[0].path, listing.volume_files[0].path
    return UserError(
        f"{listing.root}: pictures ({pictures.name}, …) and volumes ({volumes.name}, …), which do not pair: images and "
        "masks have to be both pictures or both volumes; a DICOM file of many frames is a volume in a folder of its "
        "own below images/"
    )


def _volumes(listing: Listing, keep: bool, encoding: Encoding | None, orientation: str | None) -> Dataset | None:
    """The set of volumes in a folder; ``None`` where there is none, or one of pictures."""
    files, said = volume_files(listing)
    if not files or (listing.files and _segmentation(_without_common(listing.files)[0], keep, required=False)):
        return None
    files, inner = _without_common(files)
    found = _segmentation(files, keep=False, required=False)
    if found is None:
        return None
    root, beside = listing.root, listing.root.joinpath(*inner)
    if keep:
        raise UserError(f"{root}: masks 'keep' is for pictures, and these are volumes; use 'unite' (--data.masks)")
    declared, modality = nnunet_declared((root, beside))
    table, _ = find_table(root, beside, labels=False)
    pictures = [f"{counted(len(listing.files), 'picture')} left out beside the volumes"] if listing.files else []
    found.notes += [*said, *pictures, *_left_out(listing, table, volumes=True)]
    if {draft.split for draft in found.drafts} == {"train"}:
        for draft in found.drafts:  # of imagesTr alone, which is all there is
            draft.split = None
    apply_table(found, table, None)
    _name(found)
    _group(found, "volume")
    declared = read_classes(root) or read_classes(beside) or declared
    return volume_set(root, found, declared, encoding, modality, orientation)


def _without_common(files: list[File]) -> tuple[list[File], tuple[str, ...]]:
    """The files without the folders that all of them share, which say nothing; and those folders."""
    common = files[0].folders
    for file in files:
        same = next((i for i, (a, b) in enumerate(zip(common, file.folders, strict=False)) if a != b), None)
        common = common[: min(len(common), len(file.folders)) if same is None else same]
    return [replace(file, folders=file.folders[len(common) :]) for file in files], common


def _left_out(listing: Listing, table: Table | None, *, volumes: bool = False) -> list[str]:
    notes = []
    if listing.hidden:
        notes.append(f"{counted(listing.hidden, 'hidden or system file')} left out")
    for what, number in () if volumes else sorted(listing.volumes.items()):
        notes.append(f"{counted(number, f'{what} file')} left out: not 2-D images")
    other = [path for path in listing.other if path.name not in _OURS and (table is None or path != table.path)]
    if other:
        names = ", ".join(path.relative_to(listing.root).as_posix() for path in other[:3])
        notes.append(f"{counted(len(other), 'other file')} left out ({names}{', …' if len(other) > 3 else ''})")
    if listing.archives:
        notes.append(f"{counted(len(listing.archives), 'archive')} left out ({listing.archives[0].name})")
    notes += [f"{path} left out: a link to a folder that is read already" for path in listing.repeated]
    return notes


def _segmentation(files: list[File], keep: bool, required: bool) -> Found | None:
    pairing = pair_by_folder(files, keep, required) or pair_by_suffix(files, keep)
    if pairing is None:
        return None
    drafts = [
        Draft(pair.image, pair.place.rest, tuple(mask.path for mask in pair.masks), split=pair.place.split)
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
    return Found(pairing.layout, drafts, notes, pairing.problems)


def _name(found: Found) -> None:
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


def _group(found: Found, what: str = "image") -> None:
    """Groups by names where all follow a convention; what a table or folders say goes before, and names join it."""
    unknown = sum(not draft.group for draft in found.drafts)
    rule = group_rule([draft.file.stem for draft in found.drafts]) if unknown else None
    if rule is None:
        if unknown == len(found.drafts):
            found.notes.append(
                f"no groups known: every {what} is its own (a cases.csv with a column 'group' can give them)"
            )
        return
    meaning, groups = rule
    of_others = counted(unknown, what) + " without one: " if unknown < len(found.drafts) else ""
    found.notes.append(f"{of_others}group = {meaning} ({len(set(groups))})")
    known = {name: draft.group for draft, name in zip(found.drafts, groups, strict=True) if draft.group}
    for draft, name in zip(found.drafts, groups, strict=True):
        draft.group = draft.group or known.get(name) or name


def _segmentation_set(
    root: Path, found: Found, keep: bool, declared: Declared | None, encoding: Encoding | None
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
