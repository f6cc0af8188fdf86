"""Tables beside the images (``cases.csv``, ``labels.csv``): class, group, split and pixel size of each case."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data._tree import Part, split_named
from glocal.errors import UserError, counted
from glocal.files import read_text

__all__ = ["CASES", "LABELS", "Row", "Table", "find_table", "read_table"]

CASES = "cases.csv"
LABELS = "labels.csv"

_IDS = (
    *("id", "file", "case", "case_id", "filename", "file_name", "image", "image_id", "name"),
    *("path", "filepath", "file_path", "image_path", "image_name", "image_file", "image index"),
)
_GROUPS = (
    "group",
    "group_id",
    "patient",
    "patient_id",
    "patient id",
    "subject",
    "subject_id",
    "sequence",
    "sequence_id",
)
_CLASSES = (
    *("class", "label", "diagnosis", "grade", "finding", "category"),
    *("labels", "classes", "findings", "finding labels", "target"),
)


@dataclass(frozen=True)
class Row:
    """What a table says about one case."""

    line: int
    key: str
    """What names the image."""
    group: str | None
    stratum: str | None
    """What the column of classes says, if there is one."""
    split: Part | None
    spacing: tuple[float, float] | None
    cells: tuple[str, ...]
    """All of it, as many as there are columns."""


@dataclass
class Table:
    """A table; the columns it was understood by are told in ``notes``."""

    path: Path
    header: tuple[str, ...]
    """Names of the columns in lower case."""
    titles: tuple[str, ...]
    """Names of the columns as written."""
    rows: list[Row]
    key: str
    group: str | None
    stratum: str | None
    """Names of the columns for the image, the group and the class."""
    notes: list[str]
    used: dict[int, list[Path]] = field(default_factory=dict)
    """Line -> images that found it."""

    def __post_init__(self) -> None:
        self._by_key: dict[str, list[Row]] = {}
        for row in self.rows:
            self._by_key.setdefault(row.key, []).append(row)

    @property
    def has_split(self) -> bool:
        """Whether there is a column for the split."""
        return "split" in self.header

    def find(self, image: Path, names: tuple[str, ...], stratum: str | None) -> Row | None:
        """The row whose key is one of ``names``, or the path of ``image`` from here; of several, the one of this class.

        Raises:
            UserError: Several rows differ.
        """
        names = (*names, *self._paths(image))
        rows = {row.line: row for name in names for row in self._by_key.get(name, ())}
        found = list(rows.values())
        if len(found) > 1 and stratum is not None:
            found = [row for row in found if row.stratum == stratum] or found
        for row in found:
            self.used.setdefault(row.line, []).append(image)
        if len({(row.group, row.stratum, row.split, row.spacing) for row in found}) > 1:
            lines = " and ".join(str(row.line) for row in found[:2])
            raise UserError(f"{self.path}: lines {lines} say different things about {names[0]!r}; keep one")
        return found[0] if found else None

    def _paths(self, image: Path) -> tuple[str, ...]:
        if not image.is_relative_to(self.path.parent):
            return ()
        path = image.relative_to(self.path.parent)
        return path.as_posix(), path.with_suffix("").as_posix()

    @property
    def unused(self) -> list[Row]:
        """The rows that no image found."""
        return [row for row in self.rows if row.line not in self.used]


def find_table(root: Path, beside: Path, *, labels: bool) -> tuple[Table | None, list[str]]:
    """The table of a data set: ``cases.csv``; for classification also ``labels.csv``, or the only CSV file there is.

    Args:
        root: Folder of the data set.
        beside: Folder inside of it that holds everything.
        labels: Whether tables of other names than ``cases.csv`` count.

    Returns:
        The table; or the names of the CSV files of which none could be chosen: several, or one without images.

    Raises:
        UserError: As :func:`read_table`.
    """
    folders = dict.fromkeys((root, beside))
    for name in (CASES, LABELS) if labels else (CASES,):
        for folder in folders:
            if (folder / name).exists() or (folder / name).is_symlink():
                return read_table(folder / name), []
    if labels:
        for folder in folders:
            found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
            if len(found) == 1 and _names_images(found[0]):
                return read_table(found[0]), []
            if found:
                return None, [path.name for path in found]
    return None, []


def _names_images(path: Path) -> bool:
    """Whether a file of any name is a table of images at all."""
    lines = _lines(path)
    return bool(lines) and any(cell.strip().lower() in _IDS for cell in lines[0][1])


def read_table(path: Path) -> Table:
    """Read a table.

    Columns (any case): the image (``id``, ``file``, ``image``, …); ``group`` or ``patient``, ``subject``, ``sequence``;
    ``class`` or ``label``, ``diagnosis``, ``grade``, ``finding``; ``split`` (train, val, test); ``pixel_size_mm``;
    others are not read here.

    Raises:
        UserError: The file cannot be read, a column comes twice or none names the images, a row has more cells than
            there are columns, or holds a split or pixel size that is none.
    """
    lines = _lines(path)
    titles = tuple(cell.strip() for cell in lines[0][1]) if lines else ()
    header = tuple(title.lower() for title in titles)
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} comes twice; remove or rename one")
    key, group, stratum = (next((n for n in names if n in header), None) for names in (_IDS, _GROUPS, _CLASSES))
    if key is None:
        there = f"; its columns: {', '.join(titles[:6])}" if titles else ""
        raise UserError(f"{path}: no column names the cases (one of {', '.join(_IDS[:4])}); add a column 'id'{there}")
    rows = []
    for line, row in lines[1:]:
        if any(cell.strip() for cell in row[len(header) :]):
            text = f"{len(row)} values under {counted(len(header), 'column')}"
            raise UserError(f"{path}: line {line}: {text}; put quotes around a value that holds a comma")
        cells = tuple(cell.strip() for cell in (*row, *[""] * len(header))[: len(header)])
        by_name = dict(zip(header, cells, strict=True))
        named = by_name[group] if group else ""
        rows.append(
            Row(
                line,
                by_name[key].replace("\\", "/").removeprefix("./"),
                f"{group} {named}" if named else None,
                (by_name[stratum] or None) if stratum else None,
                _split(path, line, by_name.get("split", "")),
                _spacing(path, line, by_name.get("pixel_size_mm", "")),
                cells,
            )
        )
    meanings = {"group": group, "class": stratum, "split": "split" if "split" in header else None}
    said = [f"{what} from column {name!r}" for what, name in meanings.items() if name]
    notes = [f"{path.name}: " + (", ".join(said) or "no column for group, class or split")]
    unused = [name for name in header if "split" in name and name != "split"]
    if unused:
        notes.append(f"{path.name}: column {unused[0]!r} is not used; name it 'split' to train on that split")
    return Table(path, header, titles, rows, key, group, stratum, notes)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Rows that hold anything, with the number of their (last) line."""
    text = read_text(path)
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; save it again as CSV") from None


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
