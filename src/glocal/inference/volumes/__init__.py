"""Volumes through networks for images: prediction slice by slice, and masks as NIfTI, MetaImage and DICOM SEG."""

from __future__ import annotations

from glocal.inference.volumes.dicom_seg import write_seg
from glocal.inference.volumes.jobs import VolumeResult, predict_volumes, write_table
from glocal.inference.volumes.planning import TABLE, VolumeJob, plan_masks
from glocal.inference.volumes.predicting import VolumePrediction, predict_volume
from glocal.inference.volumes.segments import read_segments, segments_of
from glocal.inference.volumes.writers import write_metaimage, write_nifti

__all__ = [
    "TABLE",
    "VolumeJob",
    "VolumePrediction",
    "VolumeResult",
    "plan_masks",
    "predict_volume",
    "predict_volumes",
    "read_segments",
    "segments_of",
    "write_metaimage",
    "write_nifti",
    "write_seg",
    "write_table",
]
