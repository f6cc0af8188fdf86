"""Sets for classification: one folder per class, or a table that says the classes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from glocal.data._class_columns import Classes
from glocal.data._drafts import Draft, Found
from glocal.data._table import Table
from glocal.data._tree import File, natural, place, split_named
from glocal.data.cases import Case, Dataset, Problem
from glocal.data.encoding import Declared
from glocal.errors import UserError, counted, nearest

__all__ = ["classification_set", "drafts_by_folder", "find_classes", "names_classes"]


def drafts_by_folder(files: list[File]) -> list[Draft]:
    """Images with the folders that are neither parts of a split nor mere ``images``; the first may be the class."""
    drafts = []
    for file in files:
        split = next((part for folder in file.folders if (part := split_named(folder))), None)
        rest = tuple(f for f in file.folders if split_named(f) is None and f.lower() not in ("images", "image", "imgs"))
        drafts.append(Draft(file, rest, stratum=rest[0] if rest else None, split=split))
    return drafts


def find_classes(root: Path, drafts: list[Draft], table: Table | None, undecided: list[str]) -> Found:
    """Images whose class the table says, if there is one, or the first folder."""
    notes: list[str] = []
    if table is not None:
        return Found(f"classes from {table.path.name}", drafts, notes)
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
        return Found("one folder per class", drafts, notes)
    if undecided:
        text = "name the one with columns 'image' and 'label' labels.csv"
        raise UserError(f"{root}: the classes are not known, and {_some(undecided)} cannot be used for them; {text}")
    role = place((root.name,)).role
    hint = f"did you mean the folder above, {root.resolve().parent}? Otherwise " if role else ""
    raise UserError(
        f"{root}: {counted(len(drafts), 'image')}, but no masks and fewer than two folders that could be classes; "
        f"{hint}put images into images/ and masks into masks/, or the images of each class into a folder of its own, "
        "or add labels.csv with columns 'image' and 'label'"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def names_classes(found: Found, classes: Classes | None, declared: Declared) -> bool:
    """Whether ``classes.txt`` beside masks speaks of the classes of the images, and not of those of the masks."""
    of_folders = {draft.stratum for draft in found.drafts if draft.stratum}
    of_table = {name for names in classes.by_line.values() for name in names} if classes is not None else of_folders
    return of_table <= set(declared.names)


def classification_set(
    root: Path, found: Found, declared: Declared | None, classes: Classes | None, table: str
) -> Dataset:
    """The data set of what was found, its classes numbered.

    Args:
        root: Its folder.
        found: Its images.
        declared: What ``classes.txt`` says about classes of images.
        classes: What a table says about them.
        table: Name of the table that is there or could be.

    Raises:
        UserError: No class is known, or only one, or one that ``classes.txt`` does not name.
    """
    known = [draft for draft in found.drafts if draft.stratum is not None]
    if not known:
        raise UserError(f"{root}: the class of the images is not known; add a {table} with columns 'id' and 'class'")
    for draft in found.drafts:
        if draft.stratum is None:
            path = draft.file.path
            text = f"{path}: its class is not known; it is left out: add it to {table}"
            found.problems.append(Problem("image without class", path, text))
    multi_label = classes is not None and classes.multi_label
    numbers = _numbers(declared) if classes is not None else {}
    labels = {id(draft): _labels(draft, numbers) for draft in known}
    present = {name for draft in known for name in labels[id(draft)]}
    if len(present) < 2 and not (multi_label and present):
        one = f" ({min(present)})" if present else ""
        raise UserError(f"{root}: only one class{one} has images; a classifier needs at least two")
    names = _class_names(root, sorted(present, key=natural), declared, classes)
    _require_printable(root if classes is None else root / table, names)
    alike = next(((a, b) for a, b in combinations(names, 2) if a.casefold() == b.casefold()), None)
    if alike is not None:
        found.notes.append(f"classes {alike[0]!r} and {alike[1]!r} differ in case alone; are they one?")
    for name in names:
        if name not in present:
            where = root / (name if classes is None else table)
            declaring = table if declared is None else declared.path.name
            text = f"{where}: class {name!r} has no images; add some or take it out of {declaring}"
            found.problems.append(Problem("class without images", where, text))
    cases = []
    for draft in known:
        indices = tuple(sorted(names.index(name) for name in labels[id(draft)]))
        cases.append(
            Case(
                draft.id,
                draft.file.path,
                label=indices if multi_label else indices[0],
                group=draft.group or draft.id,
                split=draft.split,
                stratum=draft.stratum,
                spacing=draft.spacing,
            )
        )
    return Dataset(
        root,
        "classification",
        found.layout,
        tuple(cases),
        tuple(found.notes),
        tuple(found.problems),
        names,
        multi_label,
    )


def _require_printable(where: Path, names: tuple[str, ...]) -> None:
    """Refuse names that would break lines, or steer the terminal they are printed on."""
    for name in names:
        if not name.isprintable():
            raise UserError(f"{where}: the class {name!r} holds characters that cannot be printed; rename it")


def _labels(draft: Draft, numbers: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the classes of a case."""
    given = (str(draft.stratum),) if draft.labels is None else draft.labels
    return tuple(numbers.get(name, name) for name in given)


def _numbers(declared: Declared | None) -> dict[str, str]:
    """Numbers that stand for the classes of ``classes.txt`` in a table: the values given there, or 0, 1, …"""
    if declared is None or declared.coloured:
        return {}
    values = declared.values if declared.values is not None else range(len(declared.names))
    return {
        str(value): name for value, name in zip(values, declared.names, strict=True) if str(value) not in declared.names
    }


def _class_names(root: Path, present: list[str], declared: Declared | None, classes: Classes | None) -> tuple[str, ...]:
    """Names of the classes in order: of ``classes.txt``, of the columns of a table, or sorted."""
    if declared is None:
        return classes.order if classes is not None and classes.order else tuple(present)
    strange = [name for name in present if name not in declared.names]
    if strange:
        cure = "rename its folder" if classes is None else "correct the table"
        raise UserError(
            f"{declared.path}: the class {strange[0]!r} of the images is not named there."
            f"{nearest(strange[0], declared.names)} Add it or {cure}"
        )
    return declared.names
