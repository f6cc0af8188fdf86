"""What must be equal before numbers may stand side by side; one line says which run differs in what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glocal.comparison.scores import ClassScores, MaskScores, Scores
from glocal.comparison.sources import PARTS, Cell, Sources
from glocal.errors import UserError

__all__ = ["Key", "common_keys", "recipe_notes", "require_comparable"]

Key = tuple[str, int]
"""Fold and repetition."""

_OF_THE_NETWORK = ("model", "name", "train.seed", "data.splits", "data.fold", "data.mean", "data.std")
_MOST = 5
_MANY = 12


def require_comparable(cells: Sequence[Cell], scores: Mapping[Cell, Scores]) -> None:
    """Refuse evaluations of other data, classes, conventions or resolutions.

    Raises:
        UserError: Names the first cell that differs from the first of all, and what differs.
    """
    first = cells[0]
    of_first = scores[first]
    seen: dict[str, tuple[Cell, int]] = {}
    for cell in cells:
        found = scores[cell]
        if type(found) is not type(of_first):
            raise _differs(cell, first, "task", _task(found), _task(of_first))
        if found.classes != of_first.classes:
            raise _differs(cell, first, "classes", ", ".join(found.classes), ", ".join(of_first.classes))
        for name, value in found.conventions.items():
            if value != of_first.conventions[name]:
                cure = "evaluate both alike (glocal evaluate --policy, --tolerance, --unit)"
                raise _differs(cell, first, _CALLED[name], value, of_first.conventions[name], cure)
        known = next((other for other in cells if other.fingerprint is not None), cell)
        if cell.fingerprint not in (None, known.fingerprint):
            raise _differs(cell, known, "data (fingerprint)", cell.fingerprint, known.fingerprint)
        for index, case in enumerate(found.cases):
            other, position = seen.setdefault(case, (cell, index))
            if other is not cell:
                _require_same_case(cell, found, index, other, scores[other], position)


_CALLED = {
    "policy": "policy for empty masks",
    "tolerance": "tolerance of NSD",
    "unit": "unit of distances",
    "labels": "labels a case",
}


def _differs(cell: Cell, other: Cell, what: str, here: Any, there: Any, cure: str = "") -> UserError:
    cure = cure or "compare only runs that share it"
    return UserError(f"{cell.name}: {what} {here}, but {there} for {other.name}; {cure}")


def _task(scores: Scores) -> str:
    return "segmentation" if isinstance(scores, MaskScores) else "classification"


def _require_same_case(cell: Cell, found: Scores, index: int, other: Cell, there: Scores, position: int) -> None:
    case = found.cases[index]
    if found.groups[index] != there.groups[position]:
        what = f"group of case {case!r}"
        raise _differs(cell, other, what, found.groups[index], there.groups[position], "evaluate both on the same data")
    if isinstance(found, ClassScores) and isinstance(there, ClassScores):
        if not np.array_equal(found.sample.truth[index], there.sample.truth[position]):
            raise _other_truth(cell, other, case)
        return
    assert isinstance(found, MaskScores)
    assert isinstance(there, MaskScores)
    if found.pixels[index] != there.pixels[position]:
        here, before = f"{found.pixels[index]} pixels", f"{there.pixels[position]}"
        cure = "evaluate both at one resolution (presets have their own)"
        raise _differs(cell, other, f"resolution for case {case!r}", here, before, cure)
    if not np.array_equal(found.truth[index], there.truth[position]):
        raise _other_truth(cell, other, case)


def _other_truth(cell: Cell, other: Cell, case: str) -> UserError:
    return UserError(
        f"{cell.name}: the truth of case {case!r} is another one than for {other.name}; evaluate both on the same data"
    )


def common_keys(sources: Sources, scores: Mapping[Cell, Scores]) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """Folds and repetitions that every model with a finished cell has, and what is left out for that.

    Raises:
        UserError: There are none, or models were tested on different cases of one fold.
    """
    by_label: dict[str, dict[Key, Cell]] = {}
    for cell in sources.cells:
        by_label.setdefault(cell.label, {})[cell.fold, cell.repetition] = cell
    first, *others = by_label
    keys = tuple(key for key in by_label[first] if all(key in by_label[other] for other in others))
    if not keys:
        if sources.missing:
            raise UserError("no fold and seed is finished for every model; finish the benchmark, or leave models out")
        raise _no_common(by_label)
    for key in keys:
        one = by_label[first][key]
        for other in others:
            _require_same_cases(by_label[other][key], scores[by_label[other][key]], one, scores[one])
    left = {label: [cell for key, cell in cells.items() if key not in keys] for label, cells in by_label.items()}
    if not any(left.values()):
        return keys, ()
    counts = ", ".join(f"{label} {len(cells)} of {len(by_label[label])}" for label, cells in left.items() if cells)
    names = [cell.name for cells in left.values() for cell in cells]
    listed = ", ".join(names[:_MOST]) + (", …" if len(names) > _MOST else "")
    note = f"left out, because not every model has finished that fold and seed: {counts} trainings ({listed})"
    return keys, (note,)


def _no_common(by_label: Mapping[str, Mapping[Key, Cell]]) -> UserError:
    """Say which two runs have nothing in common, and in which part their splits differ."""
    first = next(iter(by_label.values()))
    one = next(iter(first.values()))
    for cells in by_label.values():
        if not {fold for fold, _ in cells} & {fold for fold, _ in first}:
            other = next(iter(cells.values()))
            assert one.parts is not None
            assert other.parts is not None
            part = next(part for part in reversed(PARTS) if one.parts[part] != other.parts[part])
            lone = len(other.parts[part] - one.parts[part])
            return UserError(
                f"{other.name}: its split differs from that of {one.name}: {lone} of its {len(other.parts[part])} "
                f"{part} cases are not {part} cases there; train both on one splits.json (--data.splits)"
            )
    return UserError(f"{one.name}: no fold and repetition is there for every model; name as many runs of each")


def _require_same_cases(cell: Cell, found: Scores, other: Cell, there: Scores) -> None:
    here, before = set(found.cases), set(there.cases)
    if here != before:
        lone = min(here ^ before)
        raise UserError(
            f"{cell.name}: was measured on {len(here)} cases, {other.name} on {len(before)}; case {lone!r} is in one "
            "of them only: evaluate both on the same split"
        )


def recipe_notes(cells: Sequence[Cell]) -> list[str]:
    """Say in which settings, beside the network, trainings differ, and first in which those of one model do."""
    notes = []
    for label in dict.fromkeys(cell.label for cell in cells):
        within = _different([cell for cell in cells if cell.label == label])
        if within:
            notes.append(f"{label}: its trainings are averaged though they differ in {within}")
    between = _different(cells)
    return [*notes, *([f"the trainings differ in more than the network: {between}"] if between else [])]


def _different(cells: Sequence[Cell]) -> str:
    """Names of the settings, beside the network, that are not the same for all cells."""
    recipes = [cell.recipe for cell in cells if cell.recipe]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    found = [
        name
        for name in names
        if not name.startswith(_OF_THE_NETWORK) and any(recipe.get(name) != recipes[0].get(name) for recipe in recipes)
    ]
    return ", ".join(found[:_MANY]) + (f" and {len(found) - _MANY} more" if len(found) > _MANY else "")
