"""Images that are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from glocal.data._case_facts import CaseFacts

__all__ = ["MOST_COMPARED", "exact_twins", "near_twins"]

SIMILAR = 0.975
"""Correlation of small grey copies above which two images are taken for nearly the same.

On 2,657 real ultrasound and colonoscopy images no pair above it showed different patients; retinae, which share their
outline, can exceed it.
"""
MOST_COMPARED = 20_000
"""Sets with more images are not searched for near twins: the time grows with the square."""

_BLOCK = 1024


def exact_twins(facts: Sequence[CaseFacts]) -> list[list[CaseFacts]]:
    """Sets of two or more cases whose decoded images are equal, pixel for pixel."""
    found: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        if fact.image is not None:
            found[fact.image.digest].append(fact)
    return [twins for twins in found.values() if len(twins) > 1]


def near_twins(facts: Sequence[CaseFacts]) -> Iterator[tuple[CaseFacts, CaseFacts]]:
    """Pairs of cases that look alike without being equal: brightness and contrast may differ, and small details."""
    readable = [fact for fact in facts if fact.image is not None]
    if not 2 <= len(readable) <= MOST_COMPARED:
        return
    thumbnails = [fact.image.thumbnail.ravel() for fact in readable if fact.image is not None]
    copies = np.stack(thumbnails).astype(np.float32)
    copies -= copies.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(copies, axis=1, keepdims=True)
    copies /= np.where(spread > 1, spread, np.inf)  # a constant image resembles nothing
    for start in range(0, len(copies), _BLOCK):
        alike = copies[start : start + _BLOCK] @ copies[start:].T > SIMILAR
        for first, second in np.argwhere(alike):
            one, other = readable[start + first], readable[start + second]
            if second > first and one.image and other.image and one.image.digest != other.image.digest:
                yield one, other
