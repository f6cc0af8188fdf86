"""Train, validation and test parts: by group, stratified, seeded, kept in ``splits.json`` and never remade silently."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data._allocate import allocate
from glocal.data._tree import Part, natural
from glocal.data.cases import Case, Dataset
from glocal.errors import UserError, counted
from glocal.files import read_json, write_json

__all__ = ["DEFAULT_FRACTIONS", "Fold", "Splits", "make_splits", "open_splits", "read_splits"]

DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)
"""Shares of train, validation and test."""

_UNGROUPED = "cases of one group may be in different parts of this split: scores come out too high"
_PARTS: tuple[Part, ...] = ("train", "val", "test")
_log = logging.getLogger("glocal")


@dataclass(frozen=True)
class Fold:
    """Ids of one fold of a cross-validation."""

    train: tuple[str, ...]
    val: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """Which case is in which part. In a cross-validation ``train`` and ``val`` are empty and ``folds`` says it."""

    seed: int
    fractions: tuple[float, float, float]
    """Wanted shares of train, val and test."""
    fingerprint: str
    """Of the data set (:attr:`~glocal.data.cases.Dataset.fingerprint`)."""
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    folds: tuple[Fold, ...] = ()
    ready_made: bool = False
    """The data set came with its split."""
    grouped: bool = True
    """False if cases of one group may be in different parts, as in splits of publications: scores come out too high."""
    notes: tuple[str, ...] = ()

    def fold(self, number: int) -> Splits:
        """The plain split of one fold, counted from 0.

        Raises:
            UserError: There is no such fold.
        """
        if not 0 <= number < len(self.folds):
            raise UserError(f"no fold {number}: the splits have {len(self.folds)} folds, counted from 0")
        fold = self.folds[number]
        return replace(self, train=fold.train, val=fold.val, folds=())

    def part(self, name: str) -> tuple[str, ...]:
        """Ids in ``"train"``, ``"val"`` or ``"test"``.

        Raises:
            UserError: There is no such part, or the splits are a cross-validation of which a fold must be chosen.
        """
        if name not in _PARTS:
            raise UserError(f"no split {name!r}; there are: {', '.join(_PARTS)}")
        if self.folds and name != "test":
            raise UserError(f"these splits have {len(self.folds)} folds; choose one of them for {name!r}")
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def to_json(self) -> dict[str, Any]:
        """The content of ``splits.json``."""
        head = {
            "format": 1,
            "seed": self.seed,
            "fractions": list(self.fractions),
            "fingerprint": self.fingerprint,
            "ready_made": self.ready_made,
            **({} if self.grouped else {"grouped": False}),
        }
        if self.folds:
            folds = [{"train": list(fold.train), "val": list(fold.val)} for fold in self.folds]
            return {**head, "folds": folds, "test": list(self.test)}
        return {**head, "splits": {name: list(self.part(name)) for name in _PARTS}}

    def write(self, path: str | Path) -> None:
        """Write ``splits.json``, whole or not at all.

        Raises:
            UserError: It cannot be written.
        """
        write_json(path, self.to_json())


def make_splits(
    dataset: Dataset,
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int | None = None,
    grouped: bool = True,
) -> Splits:
    """Divide a data set by group, stratified by class or by how much of the image is foreground.

    In a multi-label set every class, and the images without any, keep their proportions, as far as groups allow.

    A split the data set came with is kept; a part it lacks (val, test) is taken out of its train part, and said so.
    The result depends on the cases, their groups and the seed, not on the file system or the platform.

    Args:
        dataset: Of :func:`~glocal.data.layouts.open_dataset`.
        seed: Any whole number.
        fractions: Shares of train, val and test; their sum is 1. Val or test may be 0.
        folds: For cross-validation: how many folds; the test share is held out first, the rest divided in folds.
        grouped: False divides case by case, as publications did whose figures are to be reproduced; volumes stay whole.

    Raises:
        UserError: Fractions or folds that cannot be, too few groups, an unreadable mask, or a ready-made split that has
            a group in two parts.
    """
    shares = _checked(fractions)
    if folds is not None and folds < 2:
        raise UserError(f"{folds} folds cannot be; use at least 2")
    strata = _strata(dataset)
    notes: list[str] = [] if grouped else [_UNGROUPED]
    given: dict[Part, list[str]] = {part: [c.id for c in dataset.cases if c.split == part] for part in _PARTS}
    ready_made = any(given.values())
    free = [case.id for case in dataset.cases if case.split is None]
    needed = shares if folds is None else (shares[0] + shares[1], 0.0, shares[2])
    if ready_made:
        parts = _complete(dataset, given, free, needed, seed, strata, notes, grouped)
    else:
        parts = dict(zip(_PARTS, _share_out(dataset, free, needed, seed, strata, grouped), strict=True))
    test = _sorted(parts["test"])
    common = Splits(seed, shares, dataset.fingerprint, (), (), test, (), ready_made, grouped, tuple(notes))
    if folds is None:
        return replace(common, train=_sorted(parts["train"]), val=_sorted(parts["val"]))
    rest = [*parts["train"], *parts["val"]]
    chunks = _share_out(dataset, rest, (1 / folds,) * folds, seed, strata, grouped)
    made = [Fold(_sorted(set(rest) - set(chunk)), _sorted(chunk)) for chunk in chunks]
    return replace(common, folds=tuple(made))


def _checked(fractions: Sequence[float]) -> tuple[float, float, float]:
    fits = len(fractions) == 3 and min(fractions) >= 0 and fractions[0] > 0 and abs(sum(fractions) - 1) <= 1e-6
    if not fits:
        raise UserError(f"fractions {list(fractions)} cannot be; give shares of train, val and test whose sum is 1")
    return float(fractions[0]), float(fractions[1]), float(fractions[2])


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=natural))


def _strata(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """What to keep the proportions of: the class of the image if known, otherwise four levels of foreground."""
    if dataset.multi_label:
        return {case.id: tuple(map(str, case.labels)) or ("none",) for case in dataset.cases}
    if dataset.task == "classification" or all(case.stratum for case in dataset.cases):
        return {case.id: (str(case.stratum),) for case in dataset.cases}
    share = {case.id: dataset.foreground(case) for case in dataset.cases}
    filled = np.array(sorted(value for value in share.values() if value > 0))
    levels = np.quantile(filled, (1 / 3, 2 / 3)) if len(filled) else np.zeros(2)
    return {id: (str(int(np.searchsorted(levels, value))) if value > 0 else "empty",) for id, value in share.items()}


def _share_out(
    dataset: Dataset,
    ids: Iterable[str],
    shares: Sequence[float],
    seed: int,
    strata: Mapping[str, tuple[str, ...]],
    grouped: bool,
) -> list[list[str]]:
    members: dict[str, list[str]] = defaultdict(list)
    for case in dataset.select(ids):
        members[case.group if grouped else case.volume or case.id].append(case.id)
    groups = {group: Counter(name for id in inside for name in strata[id]) for group, inside in members.items()}
    try:
        parts = allocate(groups, shares, seed, {group: len(inside) for group, inside in members.items()})
    except ValueError:
        needed = sum(share > 0 for share in shares)
        raise UserError(
            f"{dataset.root}: {len(groups)} groups ({sum(map(len, members.values()))} cases) cannot fill {needed} "
            "parts, since a group is never split; add cases, or ask for fewer folds or a fraction of 0"
        ) from None
    return [[id for group in part for id in members[group]] for part in parts]


def _complete(
    dataset: Dataset,
    given: Mapping[Part, list[str]],
    free: Sequence[str],
    shares: tuple[float, float, float],
    seed: int,
    strata: Mapping[str, tuple[str, ...]],
    notes: list[str],
    grouped: bool,
) -> dict[Part, list[str]]:
    """A ready-made split with the parts it lacks."""
    parts = {part: list(given[part]) for part in _PARTS}
    counts = ", ".join(f"{part} {len(parts[part])}" for part in _PARTS)
    notes.append(f"the split of the data set is kept ({counts})")
    if free:
        raise UserError(
            f"{dataset.root}: {counted(len(free), 'case')} ({free[0]}, …) in no part of the data set's own split; "
            "complete the column 'split' of the table, or move the images into one of its folders"
        )
    lacking = [part for part, share in zip(_PARTS, shares, strict=True) if share > 0 and not parts[part]]
    if not parts["train"]:
        raise UserError(f"{dataset.root}: the data set's own split has no train part; add one or remove the split")
    if lacking:
        wanted = {part: shares[_PARTS.index(part)] for part in ("train", *lacking)}
        portions = [share / sum(wanted.values()) for share in wanted.values()]
        chunks = _share_out(dataset, parts["train"], portions, seed, strata, grouped)
        parts.update(zip(wanted, chunks, strict=True))
        notes.append(f"it has no {' and no '.join(lacking)} part: taken out of its train part by group")
    if grouped:
        _no_group_twice(dataset.root, dataset, parts)
    return parts


def _no_group_twice(where: Path, dataset: Dataset, parts: Mapping[Part, Sequence[str]]) -> None:
    seen: dict[str, tuple[Part, Case]] = {}
    for part, ids in parts.items():
        for case in dataset.select(ids):
            other, first = seen.setdefault(case.group, (part, case))
            if other != part:
                raise UserError(
                    f"{where}: group {case.group!r} is in {other} ({first.id}) and in {part} ({case.id}), so scores "
                    "would be too high; put it in one part, or let the splits be made by group"
                )


def read_splits(path: str | Path, dataset: Dataset) -> Splits:
    """Read ``splits.json`` and check it against the data.

    Raises:
        UserError: The file is no splits file, or does not fit: cases added, removed or changed since, an id twice, or a
            group in two parts.
    """
    path = Path(path)
    splits = _parsed(path, read_json(path))
    cure = "make new splits in another file (--data.splits new.json) or restore the data"
    for name, parts in _sides(splits):
        ids = [id for part in parts.values() for id in part]
        twice = [id for id, count in Counter(ids).items() if count > 1]
        if twice:
            raise UserError(f"{path}: {twice[0]!r} comes twice{name}; every case is in one part only: correct the file")
        there = {case.id for case in dataset.cases}
        gone, new = sorted(set(ids) - there, key=natural), sorted(there - set(ids), key=natural)
        if gone:
            raise UserError(f"{path}: {counted(len(gone), 'case')} ({gone[0]}, …) not in {dataset.root}; {cure}")
        if new:
            raise UserError(f"{path}: {counted(len(new), 'case')} of {dataset.root} ({new[0]}, …) in no part; {cure}")
        if splits.grouped:
            _no_group_twice(path, dataset, parts)
    if splits.fingerprint != dataset.fingerprint:
        raise UserError(f"{path}: made for other content of {dataset.root} (fingerprint differs); {cure}")
    return splits


def _sides(splits: Splits) -> list[tuple[str, dict[Part, tuple[str, ...]]]]:
    if splits.folds:
        return [
            (f" in fold {i}", {"train": fold.train, "val": fold.val, "test": splits.test})
            for i, fold in enumerate(splits.folds)
        ]
    return [("", {"train": splits.train, "val": splits.val, "test": splits.test})]


def _parsed(path: Path, plain: Any) -> Splits:
    try:
        if plain["format"] != 1:
            raise ValueError(f"format {plain['format']!r}")
        fractions = tuple(float(value) for value in plain["fractions"])
        folds = tuple(Fold(_ids(fold["train"]), _ids(fold["val"])) for fold in plain.get("folds", ()))
        parts = {"test": plain["test"], "train": [], "val": []} if folds else plain["splits"]
        return Splits(
            int(plain["seed"]),
            _checked(fractions),
            str(plain["fingerprint"]),
            _ids(parts["train"]),
            _ids(parts["val"]),
            _ids(parts["test"]),
            folds,
            bool(plain.get("ready_made", False)),
            bool(plain.get("grouped", True)),
            () if plain.get("grouped", True) else (_UNGROUPED,),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path}: not a splits file of Glocal (version 1): {error}; name another file") from None


def _ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(id, str) for id in value):
        raise TypeError("ids must be a list of text")
    return tuple(value)


def open_splits(
    path: str | Path,
    dataset: Dataset,
    seed: int | None = None,
    fractions: Sequence[float] | None = None,
    folds: int | None = None,
    remake: bool = False,
) -> Splits:
    """The splits in ``path``, if it exists; otherwise splits are made and written there.

    Args:
        path: ``splits.json``.
        dataset: What is split.
        seed: As :func:`make_splits`; an existing file must agree with what is given. None: whatever it has, or 0.
        fractions: Likewise; default 0.8, 0.1, 0.1.
        folds: Likewise; default: no cross-validation.
        remake: Make them anew even if the file exists.

    Raises:
        UserError: An existing file does not fit the data or what is asked for; or as :func:`make_splits`.
    """
    path = Path(path)
    if remake or not (path.exists() or path.is_symlink()):
        splits = make_splits(dataset, seed or 0, fractions or DEFAULT_FRACTIONS, folds)
        splits.write(path)
        _log.info("splits written to %s", path)
        return splits
    splits = read_splits(path, dataset)
    asked = {
        "seed": (seed, splits.seed),
        "fractions": (None if fractions is None else _checked(fractions), splits.fractions),
        "folds": (folds, len(splits.folds)),
    }
    for what, (wanted, there) in asked.items():
        drawn = not splits.ready_made or what == "folds"
        if wanted is not None and wanted != there and drawn:
            raise UserError(
                f"{path}: made with {what} {there}, not {wanted}; make new splits in another file "
                "(--data.splits new.json), or leave the option out to use these"
            )
    return splits
