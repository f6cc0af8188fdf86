"""DSSAU-Net (arXiv 2506.03684): its protocol on intrapartum ultrasound."""

from __future__ import annotations

from glocal.reproduction.table import Column, PaperTable, Protocol, Row

__all__ = ["TABLES"]

_DIFFERENCES = (
    "The tables of the paper were not available to us, so no figure of it is shown, and none is invented. For "
    "orientation, secondary sources give a mean Dice of 0.893 to 0.930 for entries of IUGC 2024.",
    "The published network begins from an encoder trained elsewhere (pretrain.pth), which is not distributed with it; "
    "here it begins from nothing: give one with --set weights=FILE, and more epochs without (--set train.epochs=100).",
    "The published code never applies the augmentation it defines (one data set object serves both parts); nor does "
    "the published protocol here. The honest one does.",
    "The published code pairs masks with the first frames of a video rather than with their own: not repeated.",
    "Its Dice loss takes the argmax, which has no gradient, so that it trains by cross-entropy alone; so does the "
    "published protocol here. The honest one takes the soft Dice that the paper means.",
)

_COLUMNS = (
    Column("DSC PS %", "DSC (PS)", 100),
    Column("DSC FH %", "DSC (FH)", 100),
    Column("DSC all %", "DSC (all)", 100),
    Column("ASD all", "ASD (all)"),
    Column("HD all", "HD (all)"),
    Column("ΔAoP", "ΔAoP (iugc2024)"),
    Column("ΔHSD", "ΔHSD nearest (iugc2024)"),
)

_PUBLISHED = Protocol(
    "dssaunet",
    (0.8, 0.0, 0.2),
    {"loss.argmax_dice": True, "augment.affine.p": 0.0, "augment.flip.horizontal": 0.0},
    grouped=False,
    chosen_on_test=True,
    split_seed=2024,
    preset="iugc2024",
    says=(
        "80 / 20 of the frames at random (frames of one video on both sides)",
        "256x256, AdamW 1e-4 with weight decay 0.1, no schedule, 10 epochs of batches of 20; cross-entropy and Dice of "
        "the argmax, half each; no augmentation",
        "the epoch with the best Dice on the 20 %, which are then reported",
        "the challenge's evaluator: DSC with smoothing 1, ASD, region HD, and AoP and HSD from contour points",
    ),
)
_HONEST = Protocol(
    "dssaunet",
    (0.7, 0.1, 0.2),
    split_seed=2024,
    says=(
        "70 / 10 / 20 by video or group of near-duplicates",
        "the same training, with a Dice loss that has a gradient, mirrored and turned by up to 30 degrees",
        "the epoch with the best Dice on the validation part",
        "Dice per image at its own size, with 95 % intervals over groups",
    ),
)


def _table(name: str, title: str, data: str) -> PaperTable:
    return PaperTable(
        f"dssaunet/{name}",
        f"DSSAU-Net on {title}",
        "DSSAU-Net, arXiv 2506.03684 (protocol only)",
        data,
        3,
        _COLUMNS,
        (Row("DSSAU-Net", "dssaunet"),),
        _PUBLISHED,
        _HONEST,
        differences=_DIFFERENCES,
    )


TABLES = (
    _table(
        "iugc",
        "IUGC 2024",
        "IUGC 2024 as distributed (pos/<video>/mask/, labels 7 and 8) or prepared: 2575 frames",
    ),
    _table("psfhs", "PSFHS", "PSFHS as distributed (image_mha/, label_mha/) or prepared: 1358 images"),
)
