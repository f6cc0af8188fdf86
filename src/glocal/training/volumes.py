"""What training needs to know of volumes: how their values come to [0, 1], found on the training part alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.data import Dataset, Splits
from glocal.data.intensity import Intensity, percentiles
from glocal.data.slices import UNUSABLE, VolumeSet
from glocal.errors import UserError
from glocal.training.recipe import DataConfig

__all__ = ["choose_intensity", "require_usable_volumes", "seen_volumes", "volume_facts"]

log = logging.getLogger("glocal")

_AIR = -500.0
"""Hounsfield units: every CT volume has lower values, where there is air, and no other kind of image is known to."""
_SHARE = (0.5, 99.5)
"""Percentiles of the values inside the training masks of CT that become 0 and 1."""


def require_usable_volumes(dataset: Dataset) -> None:
    """Refuse to train on what is left of a set of volumes: one that is off its mask is a mistake to be mended.

    Raises:
        UserError: A volume or a mask cannot be read, or they do not lie on each other.
    """
    bad = [problem for problem in dataset.problems if problem.kind in UNUSABLE]
    if bad:
        more = f" ({len(bad) - 1} more; glocal data inspect lists them)" if len(bad) > 1 else ""
        raise UserError(bad[0].message + more)


def seen_volumes(dataset: Dataset, splits: Splits, config: DataConfig, intensity: Intensity | None) -> Dataset:
    """The data set with its volumes seen as the recipe says; one of pictures as it is.

    Args:
        dataset: Whose cases may be slices.
        splits: Of it; only the training part is looked at.
        config: What is asked for.
        intensity: What was found before, in a run that is resumed.

    Raises:
        UserError: The settings are for volumes and these are pictures, or a volume cannot be read.
    """
    if dataset.volumes is None:
        if config.neighbours > 1 or config.intensity.kind != "auto":
            name = "data.neighbours" if config.neighbours > 1 else "data.intensity"
            raise UserError(f"{name} is for volumes, and {dataset.root} holds pictures; leave it out")
        return dataset
    volumes = dataset.volumes
    coloured = [volume for volume in volumes.volumes.values() if volume.channels == 3]
    if coloured and config.neighbours > 1:
        raise UserError(f"{coloured[0].image}: a volume in colour, of which neighbouring slices cannot be channels")
    if intensity is None:
        intensity = choose_intensity(dataset, splits.train, config)
    log.info("intensity: %s", intensity)
    if config.neighbours > 1:
        log.info("each slice is seen with its %d neighbours, as channels", config.neighbours - 1)
    return replace(dataset, volumes=volumes.seen(intensity, config.neighbours))


def choose_intensity(dataset: Dataset, ids: Sequence[str], config: DataConfig) -> Intensity:
    """The intensity that a recipe asks for; ``auto`` is settled by the volumes that ``ids`` are slices of.

    * Volumes of 8 bits: their full range.
    * CT (the files or ``dataset.json`` say so, or all have values below -500, as air has): a window from the 0.5th to
      the 99.5th percentile of the values inside all masks together, as nnU-Net takes it (Isensee et al., Nature
      Methods 18:203, 2021).
    * Others: the 0.5th and the 99.5th percentile of each volume.

    Raises:
        UserError: A volume or a mask cannot be read.
    """
    asked = config.intensity
    if asked.kind != "auto":
        return Intensity(asked.kind, asked.low, asked.high)
    volumes = dataset.volumes
    assert volumes is not None
    trained = list(dict.fromkeys(case.volume for case in dataset.select(ids) if case.volume is not None))
    if all(volumes.file(id).dtype == np.uint8 for id in trained):
        return Intensity("full")
    if not all(_is_ct(volumes, id) for id in trained):
        return Intensity("percentiles", *_SHARE)
    inside = next(_inside(dataset, trained), None) is not None
    low, high = percentiles(lambda: _inside(dataset, trained) if inside else _all(volumes, trained), _SHARE)
    log.info("data.intensity auto: CT, values %s", "inside the training masks" if inside else "of the training volumes")
    return Intensity("window", float(math.floor(low)), float(max(math.ceil(high), math.floor(low) + 1)))


def _is_ct(volumes: VolumeSet, id: str) -> bool:
    modality, file = volumes.volumes[id].modality, volumes.file(id)
    if modality is not None or file.dtype.kind == "u" or file.channels == 3:
        return modality == "CT"
    return any(float(plane.min()) < _AIR for plane in file.slices())


def _inside(dataset: Dataset, ids: Sequence[str]) -> Iterator[NDArray[Any]]:
    """The values inside the masks, slice by slice where there are any."""
    volumes, encoding = dataset.volumes, dataset.encoding
    assert volumes is not None
    assert encoding is not None
    for id in ids:
        for plane, label in zip(volumes.file(id).slices(), volumes.labels(id, encoding), strict=True):
            if label.any():
                yield plane[label > 0]


def _all(volumes: VolumeSet, ids: Sequence[str]) -> Iterator[NDArray[Any]]:
    for id in ids:
        yield from volumes.file(id).slices()


def volume_facts(dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """What the manifest of a run says about its volumes: how many, and how they are seen."""
    assert dataset.volumes is not None
    count = {
        part: len({case.volume for case in dataset.select(splits.part(part))}) for part in ("train", "val", "test")
    }
    return {"count": count, **dataset.volumes.facts()}
