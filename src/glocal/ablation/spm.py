"""Stepwise Patch Merging (arXiv 2409.06963) on and off, and its two parts alone, for every backbone that has it."""

from __future__ import annotations

from glocal.ablation.declared import Ablation, Measure, Row

__all__ = ["ABLATIONS"]

_BACKBONES = {
    **{f"pvt_{size}": f"PVT-{size}" for size in ("nano", "tiny", "small", "medium", "large", "huge_v2")},
    **{f"swin_{size}": f"Swin-{size}" for size in ("nano", "tiny", "small", "base")},
}
_ROWS = (
    Row("own merging", {"merging": "patch"}, remark="SPM off"),
    Row("SPM", {"merging": "spm"}),
    Row(
        "MSA alone",
        {"merging": "msa"},
        remark="multi-scale aggregation, then the mean of 2x2 pixels and a layer norm",
    ),
    Row("GLE alone", {"merging": "gle"}, remark="a 1x1 convolution, then guided local enhancement"),
)
_NOTES = (
    "The paper's tables could not be read: what it reports, and what its own ablation of MSA and GLE put in place of a "
    "part, is not known. The plain halves here are ours.",
    "Multiply-adds are those of the form computed here; the published form of GLE needs more for the same function.",
)

ABLATIONS = tuple(
    Ablation(
        f"spm_{network}",
        f"Stepwise Patch Merging in {title}",
        "ours, after SPM, arXiv 2409.06963",
        (network,),
        _ROWS,
        measures=(Measure("Acc %", "overall.accuracy.value"), Measure("F1 %", "macro.f1.value")),
        recipe="pvt",
        notes=_NOTES,
    )
    for network, title in _BACKBONES.items()
)
