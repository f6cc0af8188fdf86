"""All declared ablations by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from glocal.ablation import dssaunet, hifuse, hiperformer, lmnet, spm, star_dssa
from glocal.ablation.declared import Ablation
from glocal.errors import UserError, nearest

__all__ = ["ABLATIONS", "get_ablation"]

ABLATIONS: Mapping[str, Ablation] = MappingProxyType(
    {
        ablation.name: ablation
        for file in (lmnet, hifuse, hiperformer, spm, dssaunet, star_dssa)
        for ablation in file.ABLATIONS
    }
)
"""By name, in the order of the documentation."""


def get_ablation(name: str) -> Ablation:
    """The ablation called ``name``.

    Raises:
        UserError: There is none of that name; the nearest is named.
    """
    if name not in ABLATIONS:
        plain = name.lower().replace("-", "_").replace(" ", "_")
        raise UserError(f"no ablation {name!r}.{nearest(plain, ABLATIONS)} `glocal ablate` lists them")
    return ABLATIONS[name]
