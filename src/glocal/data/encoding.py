"""From the raw values of masks to class indices: found from all masks of a data set, or declared in ``classes.txt``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glocal.data.readers import Mask, read_mask
from glocal.errors import UserError
from glocal.files import read_text

__all__ = ["Declared", "Encoding", "MaskFacts", "infer_encoding", "mask_facts", "read_classes"]

SUSPICIOUS_CLASSES = 64
"""More distinct values than this are taken for instances or intensities unless ``classes.txt`` names them."""
MOST_CLASSES = 256
"""Class indices are 8-bit."""

_MOST_VALUES = 4096  # of one mask that are counted
_WHITE = 0xFFFFFF


@dataclass(frozen=True)
class MaskFacts:
    """What one mask file holds. Colours are written as numbers, ``0xRRGGBB``."""

    path: Path
    size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    counts: Mapping[int, int] | None = None
    """Raw value -> pixels; None if the file cannot be read."""
    coloured: bool = False
    """The values are colours."""
    palette: Mapping[int, int] | None = None
    """Colour of each value that occurs, if the file has a coloured palette."""
    lossy: bool = False
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why the file cannot be read."""


@dataclass(frozen=True)
class Declared:
    """Classes a ``classes.txt`` names, in order, and their raw values where it gives them."""

    path: Path
    names: tuple[str, ...]
    values: tuple[int, ...] | None
    coloured: bool


@dataclass(frozen=True)
class Encoding:
    """Which class each raw mask value means."""

    classes: int
    """Number of classes, background included."""
    mapping: Mapping[int, int]
    """Raw value (or colour ``0xRRGGBB``) -> class index."""
    coloured: bool = False
    nearest: bool = False
    """A value between the known ones means the nearest of them (masks kept as JPEG, or with soft edges)."""

    def apply(self, mask: Mask, path: str | Path) -> npt.NDArray[np.uint8]:
        """Class indices of a mask: ``uint8 (H, W)``.

        Args:
            mask: As :func:`~glocal.data.readers.read_mask` gives it.
            path: Its file, for the error.

        Raises:
            UserError: The mask holds values this encoding does not know.
        """
        if mask.values.ndim == 3 and not self.coloured:
            raise self._surprised_by_colour(path)
        return self._classes_of(_packed(mask) if self.coloured else mask.values, path)

    def _surprised_by_colour(self, path: str | Path) -> UserError:
        return UserError(
            f"{path}: a colour mask, where the other masks hold the values {_listed(self.mapping, False)}; "
            "save it in the same way, or name the colours in classes.txt"
        )

    def _classes_of(self, raw: npt.NDArray[Any], path: str | Path) -> npt.NDArray[np.uint8]:
        known = np.array(sorted(self.mapping), np.int64)
        meaning = np.array([self.mapping[int(value)] for value in known], np.uint8)
        if self.nearest:
            middles = (known[:-1] + known[1:] + 1) // 2
            label: npt.NDArray[np.uint8] = meaning[np.searchsorted(middles, raw, side="right")]
            return label
        found, inverse = _unique(raw)
        position = np.searchsorted(known, found).clip(max=len(known) - 1)
        strange = found[known[position] != found]
        if len(strange):
            raise UserError(
                f"{path}: unknown mask values {_listed(strange.tolist(), self.coloured)}; known are "
                f"{_listed(self.mapping, self.coloured)}: correct the mask, or name all values in classes.txt"
            )
        label = meaning[position][inverse]
        return label

    def class_counts(self, fact: MaskFacts) -> npt.NDArray[np.int64]:
        """Pixels of each class in a mask, ``(classes,)``, from what is known of it.

        Raises:
            UserError: The mask is unreadable, or holds values this encoding does not know.
        """
        if fact.counts is None:
            raise UserError(fact.error or f"{fact.path}: unreadable")
        if fact.coloured and not self.coloured:
            raise self._surprised_by_colour(fact.path)
        raw = np.array(_as_colours(fact) if self.coloured else list(fact.counts), np.int64)
        number = np.zeros(self.classes, np.int64)
        np.add.at(number, self._classes_of(raw, fact.path), list(fact.counts.values()))
        return number

    def to_json(self) -> dict[str, Any]:
        """A plain form for JSON; :meth:`from_json` reads it."""
        mapping = {str(value): index for value, index in sorted(self.mapping.items())}
        return {"classes": self.classes, "mapping": mapping, "coloured": self.coloured, "nearest": self.nearest}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Encoding:
        """The encoding that :meth:`to_json` wrote.

        Raises:
            UserError: Not such a record.
        """
        try:
            mapping = {int(value): int(index) for value, index in plain["mapping"].items()}
            return cls(int(plain["classes"]), mapping, bool(plain["coloured"]), bool(plain["nearest"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError("the stored mask encoding is damaged; prepare the data again") from None


def _packed(mask: Mask) -> npt.NDArray[np.int64]:
    """``(H, W)`` colours as ``0xRRGGBB``; grey values are shades, indices take the colour of their palette."""
    values = mask.values
    if mask.palette is not None:
        colours = np.zeros((MOST_CLASSES, 3), np.uint8)
        colours[: len(mask.palette)] = mask.palette
        values = colours[values]
    if values.ndim == 2:
        return values.astype(np.int64) * 0x010101
    red, green, blue = (values[..., i].astype(np.int64) for i in range(3))
    return (red << 16) | (green << 8) | blue


def _unique(raw: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct values, sorted, and the position of each pixel's value among them, ``(H, W)``."""
    if raw.dtype == np.int64:
        found, inverse = np.unique(raw, return_inverse=True)
        return found, inverse.reshape(raw.shape)
    present = np.bincount(raw.ravel(), minlength=1) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[raw]


def _listed(values: Any, coloured: bool) -> str:
    ordered = sorted(values)
    words = [f"#{value:06x}" if coloured else str(value) for value in ordered[:8]]
    return ", ".join(words) + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")


def mask_facts(path: Path) -> MaskFacts:
    """Read one mask and count its values; a file that cannot be read gives ``error``, not an exception."""
    try:
        mask = read_mask(path)
    except UserError as error:
        return MaskFacts(path, error=str(error))
    coloured = mask.values.ndim == 3
    raw = _packed(mask) if coloured else mask.values
    if coloured:
        found, number = np.unique(raw, return_counts=True)
    else:
        every = np.bincount(raw.ravel())
        found = np.flatnonzero(every)
        number = every[found]
    if len(found) > _MOST_VALUES:
        what = "colours" if coloured else "values"
        text = f"{path}: {len(found)} {what}: a picture, an overlay or a mask kept as JPEG, not labels; "
        return MaskFacts(path, mask.size, error=text + f"export it again as PNG with one {what[:-1]} a class")
    counts = dict(zip(found.tolist(), number.tolist(), strict=True))
    palette = None
    if mask.palette is not None:
        rows = mask.palette.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        palette = {value: int(rows[value]) if value < len(rows) else 0 for value in counts}
    return MaskFacts(path, mask.size, counts, coloured, palette, mask.lossy, mask.notes)


def read_classes(root: Path) -> Declared | None:
    """Read ``classes.txt`` of a data set, if there is one: one class a line, background first.

    A line is a name, or ``name: value`` with a whole number or a colour ``#rrggbb`` as value. Empty lines and lines
    that begin with ``# `` are skipped.

    Raises:
        UserError: The file cannot be read, or a line is wrong, or a name or value comes twice.
    """
    path = root / "classes.txt"
    if not path.exists() and not path.is_symlink():
        return None
    names: list[str] = []
    values: list[int] = []
    colours = 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text == "#" or text.startswith("# "):
            continue
        name, colon, value = (part.strip() for part in text.rpartition(":")) if ":" in text else (text, "", "")
        if colon and not re.fullmatch(r"#[0-9a-fA-F]{6}|\d{1,5}", value):
            raise UserError(
                f"{path}: line {number}: {value!r} is no value; write 'name', 'name: 255' or 'name: #ff0000'"
            )
        names.append(name)
        if colon:
            colours += value.startswith("#")
            values.append(int(value[1:], 16) if value.startswith("#") else int(value))
    if not names or any(not name for name in names) or len(set(names)) < len(names) or len(set(values)) < len(values):
        raise UserError(f"{path}: names and values must be there and differ; write one class a line")
    if len(values) not in (0, len(names)) or colours not in (0, len(names)):
        raise UserError(f"{path}: give every class a value (all numbers or all colours), or none")
    if len(names) > MOST_CLASSES:
        raise UserError(f"{path}: {len(names)} classes; at most {MOST_CLASSES} are possible")
    return Declared(path, tuple(names), tuple(values) or None, colours > 0)


def infer_encoding(facts: Sequence[MaskFacts], declared: Declared | None = None) -> tuple[Encoding, list[str]]:
    """Find which class each raw value means, from what all masks of a data set hold.

    * 0 and 255 (or 0 and 1, or some masks each): background and foreground.
    * 0 … K-1: the class indices themselves. Other whole numbers: in rising order.
    * Values crowded at both ends of 0 … 255 (JPEG, soft edges), with at most a tenth between: split at half.
    * Colours: black is class 0, the others in the order of their RGB numbers. Palette masks whose indices have
      different colours in different files count as colours.

    Args:
        facts: Of every mask; unreadable ones are passed over.
        declared: What ``classes.txt`` says; it decides where it gives values.

    Returns:
        The encoding, and notes that say which rule was used where it was not the obvious one.

    Raises:
        UserError: No mask is readable, or the values cannot be labels, or do not agree with ``declared``.
    """
    readable = [fact for fact in facts if fact.counts is not None]
    if not readable:
        raise UserError(facts[0].error or f"{facts[0].path}: unreadable" if facts else "there are no masks")
    if declared is not None and declared.values is not None:
        lossy = any(fact.lossy for fact in readable) and not declared.coloured
        mapping = {value: index for index, value in enumerate(declared.values)}
        return Encoding(len(mapping), mapping, declared.coloured, lossy), [f"classes from {declared.path.name}"]
    if any(fact.coloured for fact in readable) or _palettes_disagree(readable):
        encoding, notes = _from_colours(readable)
    else:
        encoding, notes = _from_values(readable, declared)
    if declared is not None and len(declared.names) != encoding.classes:
        raise UserError(_disagreement(readable, encoding, declared))
    return encoding, notes


def _disagreement(facts: Sequence[MaskFacts], encoding: Encoding, declared: Declared) -> str:
    """The line for a number of values that is not that of the named classes; of too many, a mask with the rarest."""
    text = (
        f"{len(declared.names)} classes are named, but the masks hold {encoding.classes} "
        f"({_listed(encoding.mapping, encoding.coloured)}); "
    )
    if encoding.classes < len(declared.names):
        return f"{declared.path}: {text}name each, or give values: 'name: value'"
    held = [(fact.path, set(_as_colours(fact) if encoding.coloured else fact.counts or ())) for fact in facts]
    rarest = min(encoding.mapping, key=lambda value: sum(value in values for _, values in held))
    path = next(path for path, values in held if rarest in values)
    what = _listed([rarest], encoding.coloured)
    return f"{path}: holds the value {what}; in {declared.path} {text}correct the mask, or name every class"


def _palettes_disagree(facts: Sequence[MaskFacts]) -> bool:
    colour: dict[int, int] = {}
    return any(
        colour.setdefault(value, shade) != shade for fact in facts for value, shade in (fact.palette or {}).items()
    )


def _as_colours(fact: MaskFacts) -> list[int]:
    values = fact.counts or {}
    if fact.coloured:
        return list(values)
    return [fact.palette[value] if fact.palette else value * 0x010101 for value in values]


def _from_colours(facts: Sequence[MaskFacts]) -> tuple[Encoding, list[str]]:
    colours: dict[int, Path] = {}
    for fact in facts:
        found = _as_colours(fact)
        if fact.lossy and len(found) > SUSPICIOUS_CLASSES:
            raise UserError(
                f"{fact.path}: a colour mask kept as JPEG, whose {len(found)} colours are no longer labels; "
                "export the masks again as PNG"
            )
        colours.update(dict.fromkeys(found, fact.path))
        if len(colours) > SUSPICIOUS_CLASSES:
            raise UserError(
                f"{fact.path}: the masks hold more than {SUSPICIOUS_CLASSES} colours; these are pictures or overlays, "
                "not labels: export them with one colour a class, or name the colours in classes.txt"
            )
    if max(colours) > _WHITE:
        raise UserError(f"{colours[max(colours)]}: a 16-bit mask among colour masks; save all masks in the same way")
    ordered = sorted(colours)  # black is 0
    note = f"colour-coded masks: {', '.join(f'#{colour:06x} = {index}' for index, colour in enumerate(ordered))}"
    return Encoding(len(ordered), {colour: i for i, colour in enumerate(ordered)}, coloured=True), [note]


def _from_values(facts: Sequence[MaskFacts], declared: Declared | None) -> tuple[Encoding, list[str]]:
    total: dict[int, int] = {}
    for fact in facts:
        for value, count in (fact.counts or {}).items():
            total[value] = total.get(value, 0) + count
    values = sorted(total)
    if declared is not None and values[-1] < len(declared.names):
        return Encoding(len(declared.names), {i: i for i in range(len(declared.names))}), []
    if set(values) <= {0, 1}:
        empty = ["no mask has any foreground"] if values == [0] else []
        return Encoding(2, {0: 0, 1: 1} if 1 in total else {0: 0, 1: 1, 255: 1}), empty
    if set(values) <= {0, 255}:
        return Encoding(2, {0: 0, 255: 1}), []
    if set(values) <= {0, 1, 255} and not any({1, 255} <= set(fact.counts or {}) for fact in facts):
        return Encoding(2, {0: 0, 1: 1, 255: 1}), ["some masks are 0 and 1, others 0 and 255; both read as binary"]
    if _soft_binary(facts, total):
        return Encoding(2, {0: 0, 255: 1}, nearest=True), [
            f"masks hold {len(values)} values crowded at 0 and 255 (compression or soft edges); split at half"
        ]
    _refuse_no_labels(facts, values, declared)
    if values == list(range(len(values))):
        return Encoding(len(values), {value: value for value in values}), []
    note = "mask values in rising order: " + ", ".join(f"{value} = {index}" for index, value in enumerate(values))
    if values[-1] == 255 and values[:-1] == list(range(len(values) - 1)):
        note += " (if 255 means 'ignore', replace it; it counts as a class here)"
    return Encoding(len(values), {value: index for index, value in enumerate(values)}), [note]


def _soft_binary(facts: Sequence[MaskFacts], total: Mapping[int, int]) -> bool:
    """Whether the values are two levels blurred by compression or interpolation, with no third level between."""
    if max(total) > 255 or max(total) < 224:
        return False
    tops = [value for value in total if value >= 224]
    if not any(fact.lossy for fact in facts) and len(total) <= 16 and tops == [255]:
        return False
    between = np.array([total.get(value, 0) for value in range(32, 224)], np.int64)
    share = between.sum() / sum(total.values())
    densest = int(np.convolve(between, np.ones(17, np.int64)).max())  # a true level would crowd within ±8
    return bool(share <= 0.1 and (share <= 0.002 or densest <= 0.5 * between.sum()))


def _refuse_no_labels(facts: Sequence[MaskFacts], values: Sequence[int], declared: Declared | None) -> None:
    limit = SUSPICIOUS_CLASSES if declared is None else MOST_CLASSES
    worst = max(facts, key=lambda fact: len(fact.counts or {}))
    if any(fact.lossy for fact in facts) and len(values) > 16:
        raise UserError(
            f"{worst.path}: masks kept as JPEG hold {len(values)} values that are not two clear levels; export them "
            "again as PNG, or give the values of the classes in classes.txt ('name: value')"
        )
    if len(values) > limit:
        raise UserError(
            f"{worst.path}: the masks hold {len(values)} different values (up to {values[-1]}), more than {limit}: "
            "instances or intensities rather than classes; save one value a class, or name the classes in classes.txt"
        )
