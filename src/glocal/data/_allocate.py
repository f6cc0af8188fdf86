"""Whole groups shared out so that every part has its share of every stratum."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["allocate"]


def allocate(
    groups: Mapping[str, Counter[str]],
    shares: Sequence[float],
    seed: int,
    sizes: Mapping[str, int] | None = None,
) -> list[list[str]]:
    """Share out groups among parts, stratified, never splitting one.

    The largest groups come first, each to the part where it lowers the squared deviation from the wanted numbers most:
    of cases, and of cases of each stratum relative to how many there are of it. Groups of equal size come in an order
    drawn by ``seed``. The result depends on the names and sizes of the groups and the seed alone, not on the order of
    the mapping or on the platform.

    Args:
        groups: Name -> number of cases in each stratum.
        shares: Wanted share of all cases for each part; the sum is 1. A part with a share of 0 stays empty.
        seed: Any whole number.
        sizes: Cases in each group, where a case may be in several strata. Default: the sum of its numbers.

    Returns:
        The names in each part, sorted. Every part with a share has at least one.

    Raises:
        ValueError: There are fewer groups than parts with a share.
    """
    wanted = [part for part, share in enumerate(shares) if share > 0]
    if len(groups) < len(wanted):
        raise ValueError(f"{len(groups)} groups for {len(wanted)} parts")
    sizes = {name: counts.total() for name, counts in groups.items()} if sizes is None else sizes
    total = Counter[str]()
    for counts in groups.values():
        total.update(counts)
    number = sum(sizes.values())
    order = sorted(groups, key=lambda name: (-sizes[name], _draw(seed, name), name))
    placed: list[Counter[str]] = [Counter() for _ in shares]
    filled = [0] * len(shares)
    parts: list[list[str]] = [[] for _ in shares]

    def cost(part: int, name: str) -> float:
        size = sizes[name]
        value = size * (2 * (filled[part] - shares[part] * number) + size) / number
        for stratum, count in groups[name].items():
            missing = shares[part] * total[stratum] - placed[part][stratum]
            value += count * (count - 2 * missing) / total[stratum]
        return round(value, 9)  # so that equal costs stay equal whatever the order of the sum

    for left, name in zip(range(len(order), 0, -1), order, strict=True):
        empty = [part for part in wanted if not parts[part]]
        part = min(empty if len(empty) >= left else wanted, key=lambda part: (cost(part, name), -shares[part], part))
        parts[part].append(name)
        placed[part].update(groups[name])
        filled[part] += sizes[name]
    return [sorted(part) for part in parts]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
