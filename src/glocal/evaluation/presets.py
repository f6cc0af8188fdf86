"""Evaluations as publications did them, to compare with their tables; one :class:`Preset` each."""

from __future__ import annotations

from glocal.errors import lookup
from glocal.evaluation.hiperformer import HIPERFORMER
from glocal.evaluation.iugc2024 import IUGC2024
from glocal.evaluation.lmnet import LMNET
from glocal.evaluation.preset import Figure, Preset

__all__ = ["PRESETS", "Figure", "Preset", "get_preset"]

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (LMNET, IUGC2024, HIPERFORMER)}
"""By name."""


def get_preset(name: str) -> Preset:
    """Return the preset called ``name``.

    Raises:
        UserError: There is none of that name.
    """
    return lookup("evaluation preset {} is unknown", name, PRESETS)
