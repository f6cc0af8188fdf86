"""What the data doctor knows of each volume after reading it and its mask once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from glocal.data.distributed._geometry import Agreement, agreement
from glocal.data.distributed.volumes import VolumePair
from glocal.data.volumes import LabelVolume, VolumeFile, open_volume, read_labels
from glocal.errors import UserError

__all__ = ["VolumeFacts", "volume_facts"]


@dataclass(frozen=True)
class VolumeFacts:
    """One volume with its mask; what could not be read is None."""

    pair: VolumePair
    shape: tuple[int, int, int] | None = None
    """Slices, rows, columns (D, H, W)."""
    spacing: tuple[float, float, float] | None = None
    """Along z, y, x in mm."""
    orientation: str | None = None
    modality: str | None = None
    kind: str = ""
    """Kind of file and type of its values."""
    low: float = 0.0
    mean: float = 0.0
    high: float = 0.0
    digest: str = ""
    """Of the values of all voxels."""
    notes: tuple[str, ...] = ()
    geometry_error: str | None = None
    """Why the position in the header of the image cannot be right."""
    labels: Mapping[int, int] | None = None
    """Raw value of the mask -> voxels."""
    label_notes: tuple[str, ...] = ()
    agreement: Agreement | None = None
    mask_orientation: str | None = None
    errors: tuple[str, ...] = ()
    """Why the image or the mask cannot be read."""


def volume_facts(pair: VolumePair) -> VolumeFacts:
    """Read a volume slice by slice and its mask; a file that cannot be read gives ``errors``, not an exception."""
    errors: list[str] = []
    image, labels = _image(pair, errors), _labels(pair, errors)
    facts = VolumeFacts(pair, errors=tuple(errors))
    if labels is not None:
        every = np.bincount(labels.values.ravel())
        found = np.flatnonzero(every)
        counts = dict(zip(found.tolist(), every[found].tolist(), strict=True))
        facts = VolumeFacts(
            pair, labels=counts, label_notes=labels.notes, mask_orientation=labels.orientation, errors=tuple(errors)
        )
    if image is None:
        return facts
    try:
        open_volume(pair.image)
        impossible = None
    except UserError as error:
        impossible = str(error)
    try:
        low, mean, high, digest = _values(image)
    except UserError as error:
        return VolumeFacts(pair, labels=facts.labels, errors=(*errors, str(error)))
    return VolumeFacts(
        pair,
        image.shape,
        image.spacing,
        image.orientation,
        image.modality,
        f"{image.kind}, {image.dtype}",
        low,
        mean,
        high,
        digest,
        image.notes,
        impossible,
        facts.labels,
        facts.label_notes,
        None if labels is None else agreement(image, labels),
        facts.mask_orientation,
        tuple(errors),
    )


def _image(pair: VolumePair, errors: list[str]) -> VolumeFile | None:
    try:
        return open_volume(pair.image, require_geometry=False)
    except UserError as error:
        errors.append(str(error))
        return None


def _labels(pair: VolumePair, errors: list[str]) -> LabelVolume | None:
    try:
        return read_labels(pair.mask, require_geometry=False)
    except UserError as error:
        errors.append(str(error))
        return None


def _values(image: VolumeFile) -> tuple[float, float, float, str]:
    """Lowest, mean and highest value, and a digest of all, in one pass."""
    digest = hashlib.blake2b(repr((image.shape, image.dtype.str)).encode(), digest_size=16)
    low, total, high = np.inf, 0.0, -np.inf
    for plane in image.slices():
        digest.update(np.ascontiguousarray(plane).data)
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
        total += float(plane.mean(dtype=np.float64))
    return low, total / image.shape[0], high, digest.hexdigest()
