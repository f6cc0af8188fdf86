"""Intrapartum biometry from masks of transperineal ultrasound: angle of progression and head-symphysis distance.

NumPy and SciPy only. ``measure_aop(mask)`` measures a frame, ``measure_cine(masks)`` a sequence.
"""

from __future__ import annotations

from glocal.biometry.agreement import BlandAltman, ThresholdAgreement, bland_altman, share_within, threshold_agreement
from glocal.biometry.cine import CineMeasurement, measure_cine, smooth
from glocal.biometry.ellipse import Ellipse
from glocal.biometry.measurement import FLAGS, HSD_OF, METHODS, REASONS, Measurement, Method, Structure
from glocal.biometry.measuring import Spacing, measure_aop
from glocal.biometry.segmentation import SEGMENTATION_METRICS, fh_ps_aop_score, segmentation_metrics

__all__ = [
    "FLAGS",
    "HSD_OF",
    "METHODS",
    "REASONS",
    "SEGMENTATION_METRICS",
    "BlandAltman",
    "CineMeasurement",
    "Ellipse",
    "Measurement",
    "Method",
    "Spacing",
    "Structure",
    "ThresholdAgreement",
    "bland_altman",
    "fh_ps_aop_score",
    "measure_aop",
    "measure_cine",
    "segmentation_metrics",
    "share_within",
    "smooth",
    "threshold_agreement",
]
