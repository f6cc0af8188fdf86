"""Mends of a whole set: cases of one patient, or equal images, in several groups or parts of a split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from glocal.errors import counted

__all__ = ["join_groups", "unite_splits"]

_PARTS = ("train", "val", "test")


def join_groups(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give cases with equal images one group, in place.

    Args:
        rows: Cases with ``name``, ``group`` and ``digest`` of the image.

    Returns:
        What was done, a sentence for each set of equal images.
    """
    said = []
    same: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        same[row["digest"]].append(row)
    for twins in same.values():
        groups = list(dict.fromkeys(row["group"] or row["name"] for row in twins))
        if len(groups) < 2:
            continue
        for row in rows:
            if (row["group"] or row["name"]) in groups:
                row["group"] = groups[0]
        names = ", ".join(row["name"] for row in twins[:4])
        said.append(f"{len(twins)} equal images ({names}) given one group, {groups[0]!r}")
    return said


def unite_splits(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Put all cases of a group into one part of the split, in place: the part with most of them.

    Args:
        rows: Cases with ``name``, ``group`` and ``split``.

    Returns:
        What was done, a sentence for each group.
    """
    said = []
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["group"] or row["name"]].append(row)
    for group, members in groups.items():
        counts = Counter(row["split"] for row in members if row["split"])
        if len(counts) < 2:
            continue
        part = max(counts, key=lambda name: (counts[name], -_PARTS.index(name)))
        moved = [row for row in members if row["split"] not in (None, part)]
        for row in moved:
            row["split"] = part
        listed = " and ".join(sorted(counts))
        said.append(f"group {group!r} was in {listed}: {counted(len(moved), 'case')} moved to {part}")
    return said
