"""What a table says about the classes of its images: one column of names, or one column of 0 and 1 for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from glocal.data._table import CASES, Table
from glocal.errors import UserError

__all__ = ["Classes", "classes_of"]

_SEPARATORS = "|;"
_PRESENT = {"0": False, "0.0": False, "1": True, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Classes:
    """Names of the classes of each row."""

    by_line: Mapping[int, tuple[str, ...]]
    """Line -> names; where ``multi_label`` is False exactly one, or none where a ``cases.csv`` leaves it open."""
    multi_label: bool
    order: tuple[str, ...]
    """Of the columns; empty where the names come from one column."""
    note: str


def classes_of(table: Table, columns: bool = True) -> Classes | None:
    """The classes a table gives, or None if it gives none.

    * One column (``label``, ``class``, …) with a name or number: one class an image. Names separated by ``|`` or ``;``
      in any cell: several, and an empty cell is an image without any.
    * Without it, columns of 0 and 1: a class each. Where every row has exactly one 1: one class an image.

    Args:
        table: The table.
        columns: Whether columns of 0 and 1 count.

    Raises:
        UserError: An empty or wrong cell, or a single column of 0 and 1; names its line.
    """
    if table.stratum is not None:
        return _one_column(table)
    return _columns_of_ones(table) if columns else None


def _one_column(table: Table) -> Classes | None:
    cells = {row.line: row.stratum or "" for row in table.rows}
    several = any(mark in cell for cell in cells.values() for mark in _SEPARATORS)
    if not any(cells.values()):
        return None
    if not several:
        empty = next((line for line, cell in cells.items() if not cell), None)
        if empty is not None and table.path.name != CASES:
            raise UserError(f"{table.path}: line {empty}: the {table.stratum} is empty; give one or remove the row")
        return Classes({line: (cell,) if cell else () for line, cell in cells.items()}, False, (), "one class an image")
    by_line = {line: _names(cell) for line, cell in cells.items()}
    note = f"several classes an image (multi-label): column {table.stratum!r} separates them by | or ;"
    return Classes(by_line, True, (), note)


def _names(cell: str) -> tuple[str, ...]:
    parts = cell.replace(";", "|").split("|")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _columns_of_ones(table: Table) -> Classes | None:
    known = {table.key, table.group, "split", "pixel_size_mm", ""}  # a column without a title numbers the rows
    names: list[str] = []
    shown: list[list[bool]] = []
    left_out: list[str] = []
    for index, (name, title) in enumerate(zip(table.header, table.titles, strict=True)):
        if name in known:
            continue
        cells = [(row.line, row.cells[index]) for row in table.rows]
        wrong = [(line, cell) for line, cell in cells if cell.lower() not in _PRESENT]
        if len(wrong) > len(cells) / 2 or not cells:
            left_out.append(title)
        elif wrong:
            line, cell = wrong[0]
            what = f"{cell!r}, neither 0 nor 1" if cell else "empty"
            raise UserError(f"{table.path}: line {line}: column {title!r} is {what}; correct the cell")
        else:
            names.append(title)
            shown.append([_PRESENT[cell.lower()] for _, cell in cells])
    if not names:
        return None
    if len(names) == 1:
        raise UserError(
            f"{table.path}: {names[0]!r} is the only column of 0 and 1; name it 'label' if its 0 and 1 are two classes"
        )
    rows = list(zip(*shown, strict=True))
    by_line = {
        row.line: tuple(name for name, there in zip(names, present, strict=True) if there)
        for row, present in zip(table.rows, rows, strict=True)
    }
    single = all(sum(present) == 1 for present in rows)
    how = "one 1 in every row: one class an image" if single else "several classes an image (multi-label)"
    unread = f"; columns not read: {', '.join(left_out)}" if left_out else ""
    return Classes(by_line, not single, tuple(names), f"{len(names)} columns of 0 and 1, {how}{unread}")
