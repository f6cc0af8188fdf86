"""Volumes as scanners and archives write them, read slice by slice.

``open_volume(path)`` gives a ``VolumeFile`` that says what it is (shape, spacing, orientation, modality, notes) and
reads its slices in real units; ``reorient`` turns it, ``restore`` brings a mask back, ``read_labels`` reads a mask.
"""

from __future__ import annotations

from glocal.data.volumes.dicom import SeriesInfo, list_series
from glocal.data.volumes.labels import LabelVolume, read_labels
from glocal.data.volumes.opening import open_volume
from glocal.data.volumes.orientation import reorient, restore
from glocal.data.volumes.volume import Volume, VolumeFile

__all__ = [
    "LabelVolume",
    "SeriesInfo",
    "Volume",
    "VolumeFile",
    "list_series",
    "open_volume",
    "read_labels",
    "reorient",
    "restore",
]
