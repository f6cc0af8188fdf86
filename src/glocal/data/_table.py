"""``cases.csv`` beside the images: class, group, split and pixel size of each case."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data._tree import Part, split_named
from glocal.errors import UserError, counted
from glocal.files import read_text

__all__ = ["Row", "Table", "read_table"]

_IDS = ("id", "file", "case", "case_id", "filename", "file_name", "image", "image_id", "name")
_GROUPS = ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "sequence", "sequence_id")
_CLASSES = ("class", "label", "diagnosis", "grade", "finding", "category")


@dataclass(frozen=True)
class Row:
    """What ``cases.csv`` says about one case."""

    line: int
    group: str | None
    stratum: str | None
    split: Part | None
    spacing: tuple[float, float] | None


@dataclass
class Table:
    """A ``cases.csv``; the columns it was understood by are told in ``notes``."""

    path: Path
    rows: dict[str, list[Row]]
    has_group: bool
    has_class: bool
    has_split: bool
    notes: list[str]
    used: set[int] = field(default_factory=set)

    def find(self, names: tuple[str, ...], stratum: str | None) -> Row | None:
        """The row whose id is one of ``names``; of several, the one of this class.

        Raises:
            UserError: Several rows differ.
        """
        rows = [row for name in names for row in self.rows.get(name, ())]
        if len({row.line for row in rows}) > 1 and stratum is not None:
            rows = [row for row in rows if row.stratum == stratum] or rows
        self.used.update(row.line for row in rows)
        if len({(row.group, row.stratum, row.split, row.spacing) for row in rows}) > 1:
            lines = " and ".join(str(row.line) for row in rows[:2])
            raise UserError(f"{self.path}: lines {lines} say different things about {names[0]!r}; keep one")
        return rows[0] if rows else None

    @property
    def unused(self) -> int:
        """How many rows were found by nobody."""
        return len({row.line for rows in self.rows.values() for row in rows} - self.used)


def read_table(root: Path) -> Table | None:
    """Read ``cases.csv`` of a data set, if there is one.

    Columns (any case): an id (``id``, ``file``, …); ``group`` or ``patient``, ``subject``, ``sequence``; ``class`` or
    ``label``, ``diagnosis``, ``grade``, ``finding``; ``split`` (train, val, test); ``pixel_size_mm``; others are
    not read.

    Raises:
        UserError: The file cannot be read, has no id column, or holds a split or pixel size that is none.
    """
    path = root / "cases.csv"
    if not path.exists() and not path.is_symlink():
        return None
    text = read_text(path)
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; save it again as CSV") from None
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    columns = {name: header.index(name) for name in header}
    key, group, stratum = (next((n for n in names if n in columns), None) for names in (_IDS, _GROUPS, _CLASSES))
    if key is None:
        raise UserError(f"{path}: no column names the cases (one of {', '.join(_IDS[:4])}); add a column 'id'")

    def cell(row: list[str], column: str | None) -> str:
        position = columns.get(column or "", len(row))
        return row[position].strip() if position < len(row) else ""

    table = Table(path, {}, group is not None, stratum is not None, "split" in columns, [])
    for line, row in lines[1:]:
        if any(cell.strip() for cell in row[len(header) :]):
            text = f"{len(row)} values under {counted(len(header), 'column')}"
            raise UserError(f"{path}: line {line}: {text}; put quotes around a value that holds a comma")
        named = cell(row, group)
        entry = Row(
            line,
            f"{group} {named}" if named else None,
            cell(row, stratum) or None,
            _split(path, line, cell(row, "split")),
            _spacing(path, line, cell(row, "pixel_size_mm")),
        )
        table.rows.setdefault(cell(row, key), []).append(entry)
    meanings = {"group": group, "class": stratum, "split": "split" if "split" in columns else None}
    said = [f"{what} from column {name!r}" for what, name in meanings.items() if name]
    table.notes.append("cases.csv: " + (", ".join(said) or "no column for group, class or split"))
    unused = [name for name in header if "split" in name and name != "split"]
    if unused:
        table.notes.append(f"cases.csv: column {unused[0]!r} is not used; name it 'split' to train on that split")
    return table


def _split(path: Path, line: int, text: str) -> Part | None:
    part = split_named(text)
    if text and part is None:
        raise UserError(f"{path}: line {line}: split {text!r} is none of train, val, test; correct it")
    return part


def _spacing(path: Path, line: int, text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{path}: line {line}: pixel_size_mm {text!r} is no positive number; correct or empty the cell")
    return value, value
