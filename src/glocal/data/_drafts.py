"""Cases on their way out of a folder: what names and tables say of each, before ids and classes are settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from glocal.data._class_columns import Classes
from glocal.data._table import Row, Table
from glocal.data._tree import File, Part, natural
from glocal.data.cases import Problem
from glocal.errors import UserError, counted

__all__ = ["Draft", "Found", "apply_table"]


@dataclass
class Draft:
    """A case before its id, group and class are settled."""

    file: File
    rest: tuple[str, ...]
    masks: tuple[Path, ...] = ()
    stratum: str | None = None
    labels: tuple[str, ...] | None = None
    split: Part | None = None
    id: str = ""
    group: str | None = None
    spacing: tuple[float, float] | None = None


@dataclass
class Found:
    """The drafts of a folder, and what is to be told of it."""

    layout: str
    drafts: list[Draft]
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = False
    """A table says which images there are: each of its rows must have one."""


def apply_table(found: Found, table: Table | None, classes: Classes | None) -> None:
    """Add what a table says: group, split, pixel size, and the class of each image.

    Args:
        found: What was found in the folder; changed.
        table: The table, if there is one.
        classes: The classes in it, where they are wanted; they go before those of folders.

    Raises:
        UserError: A row contradicts another or a folder, names no image or several.
    """
    if table is None:
        return
    missing: list[Draft] = []
    folders = {draft.stratum for draft in found.drafts if draft.stratum}
    named = set() if classes is None else {name for names in classes.by_line.values() for name in names}
    for draft in found.drafts:
        path, folder = draft.file.path, draft.stratum
        below = "/".join((*draft.file.folders, path.name))
        row = table.find(path, (draft.file.stem, path.name, below, below.removesuffix(path.suffix)), draft.stratum)
        if classes is not None:
            draft.stratum = None
        if row is None:
            missing.append(draft)
            continue
        draft.group = row.group or draft.group
        draft.split = draft.split or row.split
        draft.spacing = row.spacing
        if classes is None:
            draft.stratum = draft.stratum or row.stratum
            continue
        draft.labels = classes.by_line[row.line]
        draft.stratum = "|".join(sorted(draft.labels, key=natural)) or ("none" if classes.multi_label else None)
        if folder is not None and folder not in draft.labels and (folders <= named or named <= folders):
            raise UserError(
                f"{table.path}: line {row.line} says {draft.stratum} about {below}, which lies in the folder {folder}; "
                "correct the table or move the image"
            )
    found.notes += table.notes
    if classes is not None:
        found.notes.append(f"{table.path.name}: {classes.note}")
        _one_image_a_row(table)
    elif missing and (table.group or table.stratum or table.has_split):
        for draft in missing:
            path = draft.file.path
            text = f"{path}: not in {table.path.name}, so its group is its name's or its own: add a row"
            found.problems.append(Problem("case not in cases.csv", path, text))
    if table.unused and found.complete:
        first, more = table.unused[0], len(table.unused) - 1
        others = f" (and {more} more)" if more else ""
        raise UserError(
            f"{table.path}: line {first.line}: no image {first.key!r} in {table.path.parent}{others}; write paths "
            "relative to the table, or remove the row"
        )
    if table.unused:
        found.notes.append(f"{counted(len(table.unused), 'row')} of {table.path.name} without a case that was found")


def _one_image_a_row(table: Table) -> None:
    """Refuse a name of the table that several images have."""
    rows: dict[int, Row] = {row.line: row for row in table.rows}
    for line, images in table.used.items():
        if len(images) > 1:
            first, second = (path.relative_to(table.path.parent) for path in images[:2])
            raise UserError(
                f"{table.path}: line {line}: {rows[line].key!r} is the name of several images ({first.as_posix()}, "
                f"{second.as_posix()}); write paths relative to the table"
            )
