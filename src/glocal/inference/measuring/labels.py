"""Which values of masks mean symphysis and head: one answer for all masks of a set, and never a guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.data import read_mask
from glocal.errors import UserError

__all__ = ["Labels", "find_labels"]

_SETS = ((0, 1, 2), (0, 7, 8))
"""Values of background, symphysis and head: PSFHS and ours; IUGC 2024 and JNU-IFM."""


@dataclass(frozen=True)
class Labels:
    """The values of background, symphysis and head, and the masks that could not be read: path and page → one line."""

    values: tuple[int, int, int]
    unreadable: Mapping[tuple[Path, int], str] = field(default_factory=dict)

    def read(self, path: Path, page: int = 0) -> NDArray[np.uint8]:
        """A mask as class indices ``(H, W)``: 0 background, 1 symphysis, 2 head.

        Raises:
            UserError: It cannot be read.
        """
        raw = _values(path, page)
        mask = np.zeros(raw.shape, np.uint8)
        for index in (1, 2):
            mask[raw == self.values[index]] = index
        return mask


def find_labels(
    files: Sequence[tuple[Path, int]],
    declared: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Labels:
    """Read every mask once and find the meaning of values from all of them together.

    Args:
        files: Path and page of each mask.
        declared: Values of background, symphysis and head; default: 0, 1, 2 or 0, 7, 8, whichever is there.
        progress: Called with (done, all).

    Raises:
        UserError: The values are neither set, or not those declared; no mask holds a structure; the symphysis would be
            the larger structure; or no mask can be read. The message names a mask.
    """
    total: Counter[int] = Counter()
    first: dict[int, Path] = {}
    unreadable: dict[tuple[Path, int], str] = {}
    for done, (path, page) in enumerate(files, 1):
        try:
            counts = np.bincount(_values(path, page).ravel())
        except UserError as error:
            unreadable[path, page] = str(error)
            continue
        finally:
            if progress is not None:
                progress(done, len(files))
        for value in np.flatnonzero(counts).tolist():
            total[value] += int(counts[value])
            first.setdefault(value, path)
    if not total:
        raise UserError(next(iter(unreadable.values()), "there is no mask to measure"))
    values = _declared(declared) if declared is not None else _known(total)
    strange = sorted(set(total) - set(values))
    if strange:
        raise UserError(_unknown(strange, first, declared))
    if not set(total) & set(values[1:]):
        raise UserError(
            f"{files[0][0]}: {'this mask holds' if len(files) == 1 else f'all {len(files)} masks hold'} only the value "
            f"{values[0]}, no symphysis and no head; name masks of both"
        )
    if total[values[1]] > total[values[2]]:
        raise UserError(
            f"{first[values[1]]}: the value {values[1]} (symphysis) covers more pixels than {values[2]} (head) in all "
            f"masks together, but a symphysis is smaller; say what the values mean: --labels {values[0]} {values[2]} "
            f"{values[1]}"
        )
    return Labels(values, unreadable)


def _known(total: Mapping[int, int]) -> tuple[int, int, int]:
    """The set to which the values belong; the first where none does."""
    return next((values for values in _SETS if set(total) <= set(values)), _SETS[0])


def _declared(values: Sequence[int]) -> tuple[int, int, int]:
    if len(values) != 3 or len(set(values)) < 3:
        raise UserError(
            f"--labels {' '.join(map(str, values))}: give three different values: background, symphysis, head"
        )
    return values[0], values[1], values[2]


def _unknown(strange: Sequence[int], first: Mapping[int, Path], declared: Sequence[int] | None) -> str:
    found = ", ".join(map(str, sorted(first)[:8])) + (" …" if len(first) > 8 else "")
    if declared is not None:
        known = ", ".join(map(str, declared))
        return f"{first[strange[0]]}: holds the value {strange[0]}, which is not among --labels {known}; correct either"
    example = "0 127 255" if set(first) <= {0, 127, 255} else "0 1 2"
    return (
        f"{first[strange[0]]}: the masks hold the values {found}, and only 0, 1, 2 and 0, 7, 8 are known (background, "
        f"symphysis, head); say what they mean, such as --labels {example}"
    )


def _values(path: Path, page: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    mask = read_mask(path, page=page)
    if mask.values.ndim != 2:
        raise UserError(f"{path}: a colour picture, not labels (mask_enhance of IUGC 2024 is for viewing); name masks")
    if mask.lossy:
        raise UserError(f"{path}: JPEG changes label values; export the mask again as PNG")
    return mask.values
