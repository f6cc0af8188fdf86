"""The ablations of LM-Net (arXiv 2501.03838), Tables 6 to 10, all on Kvasir-SEG; figures as printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glocal.ablation.declared import Ablation, Measure, Printed, Row

__all__ = ["ABLATIONS"]

_QUALITY = ("mDice %", "mIoU %", "Hd", "RAD %")
_ALL = ("Acc %", "Precision %", "Recall %", *_QUALITY)
_FIGURES = {
    "Acc %": Measure("Acc %", "Accuracy"),
    "Precision %": Measure("Precision %", "Precision"),
    "Recall %": Measure("Recall %", "Recall"),
    "mDice %": Measure("mDice %", "mDice"),
    "mIoU %": Measure("mIoU %", "mIoU"),
    "Hd": Measure("Hd", "Hd (skip)", percent=False),
    "RAD %": Measure("RAD %", "RAD (pooled)"),
}
_NETWORKS = ("lmnet", "lmnet_paper")
_TWO_NETWORKS = (
    "The published code is not the network of the paper. lmnet is what the code computes; lmnet_paper is a "
    "reconstruction from the paper's tables: its parameters are theirs to the printed digit, its multiply-adds by the "
    "paper's counter within 0.04 G. Pooling, heads and window of lmnet_paper have no effect on the counts and are "
    "guesses."
)


def _row(
    label: str,
    arguments: Mapping[str, Any],
    figures: str,
    *,
    columns: tuple[str, ...] = _QUALITY,
    parameters: str = "",
    multiply_adds: str = "",
    **more: Any,
) -> Row:
    """A row from the figures of a line of the table, in the order of its columns."""
    return Row(label, arguments, printed=Printed(parameters, multiply_adds, _printed(columns, figures)), **more)


def _printed(columns: tuple[str, ...], figures: str) -> dict[str, str]:
    return dict(zip(columns, figures.split(), strict=True))


def _table(number: int, title: str, rows: tuple[Row, ...], *notes: str, **more: Any) -> Ablation:
    columns = more.pop("columns", _QUALITY)
    return Ablation(
        f"lmnet_table{number}",
        title,
        f"LM-Net, arXiv 2501.03838, Table {number} (Kvasir-SEG)",
        _NETWORKS,
        rows,
        columns,
        tuple(_FIGURES[column] for column in columns or _QUALITY),
        preset="lmnet",
        recipe="lmnet",
        papers_counter=True,
        notes=(*notes, _TWO_NETWORKS),
        **more,
    )


_FULL = "94.09±0.11 89.12±0.19 2.76±0.12 1.53±1.4"
_LFT_ALONE = "93.09±0.27 87.44±0.45 4.48±0.18 3.91±1.59"
_GFT_ALONE = "92.84±0.53 87.03±0.87 5.36±0.42 7.24±0.41"


def _branches(*names: str) -> dict[str, Any]:
    return {"branches": names}


_BRANCHES = _table(
    6,
    "Branches of the multi-branch module",
    (
        _row("3x3", _branches("square"), "92.86±0.34 87.06±0.57 4.43±0.66 5.27±3.62"),
        _row("5x5", _branches("large"), "93.55±0.34 88.21±0.58 4.12±0.32 2.16±2.31"),
        _row("1x3 3x1", _branches("ver", "hor"), "92.56±0.2 86.58±0.32 5.96±0.13 3.66±2.23"),
        _row("3x3 5x5", _branches("large", "square"), "93.64±0.09 88.35±0.14 4.19±0.55 4.56±1.99"),
        _row("3x3 1x3 3x1", _branches("square", "ver", "hor"), "92.87±0.17 87.09±0.29 4.89±0.38 1.1±4.07"),
        _row("5x5 1x3 3x1", _branches("large", "ver", "hor"), "93.6±0.11 88.29±0.17 4.32±0.12 1.23±2.76"),
        _row("3x3 5x5 1x3 3x1", {}, _FULL, remark="LM-Net itself"),
        _row(
            "four and dilated 5x5",
            _branches("large", "square", "ver", "hor", "dilation"),
            "93.47±0.34 88.08±0.58 3.45±0.28 3.04±0.94",
            remark="merged it is a 9x9 kernel: merging costs more parameters than it saves",
        ),
        _row(
            "four, dilated 5x5 and 7x7",
            _branches("large", "square", "ver", "hor", "dilation", "big_large"),
            "93.85±0.17 88.71±0.28 3.46±0.41 2.8±1.68",
            remark="merged it is a 9x9 kernel",
        ),
    ),
    "The paper gives no counts for these rows, and merges only the form with four branches.",
    merged=True,
)

_MERGING = _table(
    7,
    "Merging the branches after training",
    (
        Row("without merging", {}, printed=Printed("5.45 M", "5.15 G")),
        Row(
            "with merging",
            {"merged": True},
            printed=Printed("5.40 M", "4.66 G"),
            merged_from="without merging",
            remark="only the branches are merged",
        ),
        Row(
            "deployed",
            {},
            merged_from="without merging",
            deployed=True,
            remark="ours: glocal.deploy also folds the norms that follow a convolution",
        ),
    ),
    "Merging changes nothing but the cost: the paper prints no other figures. One training serves all rows: the first "
    "is measured as it was trained, the others deployed, which is the same function.",
    "The published code itself cannot reproduce the paper's figures: its merge leaves a branch behind, so that its "
    "parameters grow (to 3,972,566).",
    "Tables 1 and 5 of the paper list LM-Net merged, Tables 8 and 9 in training form.",
    columns=(),
)

_GFT = _table(
    8,
    "What stands at the bottom: the global feature transformer",
    (
        _row(
            "baseline",
            {"gft": "none"},
            f"96.33±0.14 86.44±0.2 90.4±0.71 {_LFT_ALONE}",
            columns=_ALL,
            parameters="1.13 M",
            multiply_adds="4.04 G",
            remark="the figures of Table 10 row 3: multi-scale skips and LFT without GFT",
        ),
        _row(
            "ASPP",
            {"gft": "aspp"},
            "96.65±0.26 88.55±2.32 89.92±1.02 93.62±0.41 88.32±0.7 3.79±0.19 0.01±2.18",
            columns=_ALL,
            parameters="3.89 M",
            multiply_adds="4.73 G",
            remark="the first of the published module's four dilated branches is 3x3, not the usual 1x1",
        ),
        _row(
            "single-scale GFT",
            {"gft": "single"},
            "96.62±0.1 87.78±0.87 90.66±0.38 93.6±0.16 88.28±0.28 4.69±0.34 -0.29±4.37",
            columns=_ALL,
            parameters="5.57 M",
            multiply_adds="5.18 G",
        ),
        _row(
            "multi-scale GFT",
            {},
            f"96.91±0.07 89.64±0.58 90.38±0.23 {_FULL}",
            columns=_ALL,
            parameters="5.45 M",
            multiply_adds="5.15 G",
            remark="LM-Net itself",
        ),
    ),
    columns=_ALL,
)

_COUNTED_LOW = "the reconstruction counts 0.03 to 0.04 G less than the paper"
_LFT = _table(
    9,
    "Skips and local feature transformers",
    (
        _row(
            "single-skip",
            {"skip": "single", "lft": False},
            _GFT_ALONE,
            parameters="4.98 M",
            multiply_adds="3.61 G",
            remark=f"the figures of Table 10 row 4; {_COUNTED_LOW}",
        ),
        _row(
            "single-skip LFT",
            {"skip": "single"},
            "93.25±0.13 87.7±0.22 4.12±0.16 3.95±1.11",
            parameters="5.35 M",
            multiply_adds="4.77 G",
            remark=_COUNTED_LOW,
        ),
        _row(
            "multi-skip",
            {"lft": False},
            "93.13±0.31 87.5±0.52 4.05±0.33 4.42±1.93",
            parameters="5.07 M",
            multiply_adds="3.98 G",
            remark="the reconstruction counts 0.01 G more than the paper",
        ),
        _row("multi-skip LFT", {}, _FULL, parameters="5.45 M", multiply_adds="5.15 G", remark="LM-Net itself"),
    ),
)

_MODULES = _table(
    10,
    "The modules one by one",
    (
        Row(
            "U-Net",
            model="unet",
            printed=Printed("31.03 M", "54.74 G", _printed(_QUALITY, "90.91±0.13 83.95±0.22 7.5±0.27 0.95±2.42")),
            remark="a plain U-Net, counts of Table 1; the rows below replace the whole backbone",
        ),
        _row(
            "multi-branch",
            {"skip": "single", "lft": False, "gft": "none"},
            "92.24±0.11 86.08±0.2 4.17±0.11 0.22±3.76",
        ),
        _row(
            "multi-branch, LFT",
            {"gft": "none"},
            _LFT_ALONE,
            remark="the figures of Table 8's baseline: here LFT means LFT and multi-scale skips",
        ),
        _row(
            "multi-branch, GFT",
            {"skip": "single", "lft": False},
            _GFT_ALONE,
            remark="the figures of Table 9 row 1: without LFT means single skips too",
        ),
        _row("multi-branch, LFT, GFT", {}, _FULL, remark="LM-Net itself"),
    ),
    "The table itself gives no counts.",
)

ABLATIONS = (_BRANCHES, _MERGING, _GFT, _LFT, _MODULES)
