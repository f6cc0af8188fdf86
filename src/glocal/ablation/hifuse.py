"""The parts of HiFuse's fusion block HFF (arXiv 2209.10218)."""

from __future__ import annotations

from glocal.ablation.declared import Ablation, Measure, Row

__all__ = ["ABLATIONS"]

_HFF = Ablation(
    "hifuse_hff",
    "Parts of the fusion block HFF left out",
    "ours, after HiFuse, arXiv 2209.10218",
    ("hifuse_tiny",),
    (
        Row("HFF", {}, remark="HiFuse-Tiny as published"),
        Row("without spatial attention", {"spatial_gate": False}),
        Row("without channel attention", {"channel_gate": "none"}),
        Row("without both attentions", {"spatial_gate": False, "channel_gate": "none"}),
        Row(
            "without shortcut",
            {"fusion_shortcut": False},
            remark="the finer fused map still goes into the mixture",
        ),
        Row(
            "IRMLP depth-wise",
            {"irmlp": "depthwise"},
            remark="as the paper describes the IRMLP; the published code computes a dense 3x3 convolution",
        ),
        Row("without IRMLP", {"irmlp": "none"}, remark="a 1x1 convolution and batch norm in its place"),
        Row(
            "last level alone",
            {"fusion_levels": 1},
            remark="no hierarchy: one block on the last two maps, which are all that is classified",
        ),
        Row("without HFF", {"fusion_levels": 0}, remark="the last two maps are added"),
    ),
    measures=(
        Measure("Acc %", "Accuracy"),
        Measure("F1 %", "F1"),
        Measure("Precision %", "Precision"),
        Measure("Recall %", "Recall"),
        Measure("AUC %", "AUC"),
    ),
    preset="hifuse",
    recipe="hifuse",
    notes=("The paper's own HFF ablation could not be found: there is no figure of it here, and none is made up.",),
)

ABLATIONS = (_HFF,)
