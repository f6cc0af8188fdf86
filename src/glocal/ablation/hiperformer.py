"""The ablation of HiPerformer (arXiv 2509.20280): its fusion (LGFF) and its aggregation (PMI and PGA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glocal.ablation.declared import Ablation, Measure, Printed, Row

__all__ = ["ABLATIONS"]

_COLUMNS = ("DSC % Synapse", "DSC % BTCV")
_SOURCE = "HiPerformer, arXiv 2509.20280, ablation table (Synapse, BTCV)"
_NOTES = (
    "The paper gives no counts, and one DSC a set; its text calls the second set MM-WHS, the table and the numbers are "
    "BTCV.",
)


def _row(label: str, arguments: Mapping[str, Any], synapse: str, btcv: str, remark: str = "") -> Row:
    return Row(
        label, arguments, printed=Printed(figures=dict(zip(_COLUMNS, (synapse, btcv), strict=True))), remark=remark
    )


_MEASURES = (
    Measure("DSC %", "DSC"),
    Measure("HD95", "HD95", percent=False),
)

_FUSION = Ablation(
    "hiperformer_fusion",
    "Branches and their fusion (LGFF)",
    _SOURCE,
    ("hiperformer",),
    (
        _row("local branch alone", {"branches": "local"}, "78.46", "68.77"),
        _row("global branch alone", {"branches": "global"}, "82.23", "73.94"),
        _row("both, LGFF", {}, "83.93", "76.39", "HiPerformer itself"),
        Row("both, added", {"fusion_levels": 0}, remark="ours: the plainest fusion there is"),
        Row("LGFF without SPE", {"spatial_gate": False}, remark="ours: no gate on the local map"),
        Row("LGFF without ACI", {"similarity": "none"}, remark="ours: no attention between channels of the global map"),
        Row("LGFF without SPE and ACI", {"spatial_gate": False, "similarity": "none"}, remark="ours"),
        Row(
            "ACI of Eq. 8", {"similarity": "direct"}, remark="ours: as the paper writes it, not as its code computes it"
        ),
        Row("IRMLP of Eq. 10", {"irmlp": "depthwise"}, remark="ours: depth-wise as the paper writes it"),
        Row("LGFF without IRMLP", {"irmlp": "none"}, remark="ours: a 1x1 convolution and batch norm in its place"),
    ),
    _COLUMNS,
    _MEASURES,
    preset="hiperformer",
    recipe="hiperformer",
    notes=(*_NOTES, "For the parts of LGFF the paper has no rows."),
)

_AGGREGATION = Ablation(
    "hiperformer_aggregation",
    "Progressive aggregation: PMI and PGA",
    _SOURCE,
    ("hiperformer",),
    (
        _row("without PMI and PGA", {"multiply": False, "pyramid_gate": False}, "82.83", "74.68"),
        _row("PGA alone", {"multiply": False}, "83.14", "74.95"),
        _row("PMI alone", {"pyramid_gate": False}, "82.99", "75.88"),
        _row("PMI and PGA", {}, "83.93", "76.39", "HiPerformer itself"),
        Row("gate of Eq. 15", {"gate": "decoder"}, remark="ours: PGA's gate on the decoder, as the paper writes it"),
    ),
    _COLUMNS,
    _MEASURES,
    preset="hiperformer",
    recipe="hiperformer",
    notes=(
        *_NOTES,
        "Which plain skip stood in the paper's rows without PGA is not published; ours concatenates decoder and skip.",
    ),
)

ABLATIONS = (_FUSION, _AGGREGATION)
