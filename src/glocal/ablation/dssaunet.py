"""The two sparsities of DSSA (DSSAU-Net, arXiv 2506.03684): which regions, and which tokens in them."""

from __future__ import annotations

from glocal.ablation.declared import Ablation, Measure, Row

__all__ = ["ABLATIONS", "MEASURES"]

MEASURES = (
    Measure("Dice %", "macro.foreground.dice.mean"),
    Measure("IoU %", "macro.foreground.iou.mean"),
    Measure("HD95", "macro.foreground.hd95.mean", percent=False),
)
_ALL = 2**16
"""More regions than any map has: every region is routed to all."""
_EVERY_REGION = (_ALL, _ALL, _ALL, None)

_SPARSITY = Ablation(
    "dssa_sparsity",
    "Region selection and token selection: off, and other values",
    "ours, after DSSAU-Net, arXiv 2506.03684",
    ("dssaunet",),
    (
        Row("DSSA", {}, remark="regions 1, 4, 16 by level, one token in 8: as published"),
        Row("all tokens", {"pixel_topk": False}, remark="no second selection: bi-level routing attention"),
        Row("all regions", {"topks": _EVERY_REGION}, remark="no first selection"),
        Row(
            "all regions, all tokens",
            {"topks": _EVERY_REGION, "pixel_topk": False},
            remark="neither selection: attention over the whole map",
        ),
        Row("regions 1 2 4", {"topks": (1, 2, 4, None)}),
        Row("regions 2 8 32", {"topks": (2, 8, 32, None)}),
        Row("regions 4 16 64", {"topks": (4, 16, 64, None)}),
        Row("one token in 2", {"keep_divisor": 2}),
        Row("one token in 4", {"keep_divisor": 4}),
        Row("one token in 16", {"keep_divisor": 16}),
    ),
    measures=MEASURES,
    recipe="dssaunet",
    notes=(
        "The paper's tables could not be read: no figure of it is shown.",
        "The selections have no parameters. Multiply-adds are of what is computed: scores of all candidates, values of "
        "those that are kept; gathering and sorting, which take most of the time, are no multiply-adds.",
        "At small images a level may have too few tokens in a region for the second selection to keep one; the "
        "attention of that level is then its local convolution alone, as published (option min_keep).",
    ),
)

ABLATIONS = (_SPARSITY,)
