"""HiFuse (arXiv 2209.10218; Biomedical Signal Processing and Control 87:105534): its three classification sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glocal.reproduction.table import Column, PaperTable, Protocol, rows_of

__all__ = ["TABLES"]

_COLUMNS = (
    Column("Acc %", "Accuracy", 100),
    Column("F1 %", "F1", 100),
    Column("Precision %", "Precision", 100),
    Column("Recall %", "Recall", 100),
)
_MODELS = {"HiFuse-Tiny": "hifuse_tiny", "HiFuse-Small": "hifuse_small", "HiFuse-Base": "hifuse_base"}

_ISIC = """
HiFuse-Tiny | 82.99 | 72.99 | 73.67 | 72.87
HiFuse-Small | 83.59 | 72.70 | 72.70 | 73.14
HiFuse-Base | 85.85 | 75.32 | 74.57 | 76.58
Conformer-base-p16 | 82.66 | 72.44 | |
ConvNeXt-B | 79.95 | 63.24 | |
"""
_KVASIR = """
HiFuse-Tiny | 84.85 | 84.89 | 84.96 | 84.90
HiFuse-Small | 86.12 | 86.13 | 86.25 | 86.13
HiFuse-Base | 85.97 | 86.07 | 86.29 | 86.01
Conformer-base-p16 | 84.25 | 84.27 | |
ConvNeXt-B | 74.62 | 74.41 | |
"""
_COVID = """
HiFuse-Tiny | 74.73 | 74.67 | 74.65 | 74.73
HiFuse-Small | 76.88 | 76.31 | 77.78 | 76.19
HiFuse-Base | 76.34 | 76.17 | 76.30 | 76.11
Conformer-base-p16 | 75.81 | 75.60 | |
ConvNeXt-B | 55.38 | 54.68 | |
"""

_TRAINING = (
    "224x224; AdamW 1e-4 with weight decay 1e-2, one epoch of warm-up and a cosine, 100 epochs of batches of 32, "
    "cross-entropy, random resized crops and mirroring, from nothing"
)
_METRICS = "accuracy, and macro precision, recall and F1 from hard predictions"

_DIFFERENCES = (
    "The authors have published no lists of images; the shares are those that later work following HiFuse reports.",
    "The figures are those of the arXiv listing and of HEMF (PeerJ Computer Science 2025, e3181) for the journal "
    "version; where the two differ (the Base variant on ISIC2018; Small and Base on Kvasir) the journal's are shown.",
    "How many epochs the journal's tables took is not known; the published script's default is 100.",
    "The published evaluation resizes the short side to 256 and cuts out 224x224; here images are stretched to that.",
    "The published code draws without a seed, keeps the last, smaller batch, and chooses the epoch by the accuracy on "
    "its second folder, which may have been the test part.",
    "Networks that Glocal does not have are listed with the publication's figures alone.",
)


def _protocols(
    fractions: tuple[float, float, float], how: str, *, folds: int | None = None, on_test: bool
) -> tuple[Protocol, Protocol]:
    chosen = "the epoch with the best accuracy on the part that is then reported, as the published script does"
    settings: Mapping[str, Any] = {"train.select_by": "accuracy"}
    published = Protocol(
        "hifuse",
        fractions,
        settings,
        folds,
        grouped=False,
        chosen_on_test=on_test,
        preset="hifuse",
        says=(
            f"{how}, image by image",
            _TRAINING,
            chosen if on_test or folds else "the epoch with the best accuracy on the validation part",
            _METRICS,
        ),
    )
    held, test = (max(0.1, fractions[1]), fractions[2]) if folds is None else (0.1, 0.1)
    train = 1 - held - test
    honest = Protocol(
        "hifuse",
        (train, held, test),
        settings,
        says=(
            f"split {train:.2f} / {held:.2f} / {test:.2f} by group; a split that the data came with is kept",
            _TRAINING,
            "the epoch with the best accuracy on the validation part, never on the test part",
            "accuracy, balanced accuracy, macro F1 and macro AUROC with 95 % intervals over groups",
        ),
    )
    return published, honest


def _table(
    name: str, title: str, data: str, classes: int, figures: str, protocols: tuple[Protocol, Protocol], *extra: str
) -> PaperTable:
    return PaperTable(
        f"hifuse/{name}",
        f"HiFuse on {title}",
        f"HiFuse, arXiv 2209.10218, results on {title}",
        data,
        classes,
        _COLUMNS,
        rows_of(figures, _COLUMNS, _MODELS),
        *protocols,
        differences=(*extra, *_DIFFERENCES),
        task="classification",
    )


TABLES = (
    _table(
        "isic2018",
        "ISIC2018",
        "ISIC 2018 task 3, a folder for each class or a table of labels: 10015 images",
        7,
        _ISIC,
        _protocols((0.7, 0.0, 0.3), "70 % for training and validation, 30 % for test", on_test=True),
    ),
    _table(
        "kvasir",
        "Kvasir",
        "Kvasir v1, a folder for each class: 4000 images",
        8,
        _KVASIR,
        _protocols((1.0, 0.0, 0.0), "two folds of half of the images each, and their mean", folds=2, on_test=False),
    ),
    _table(
        "covid_ct",
        "COVID-CT",
        "COVID-CT, a folder for each class: 746 slices",
        2,
        _COVID,
        _protocols((0.6, 0.15, 0.25), "60 / 15 / 25 % for train, validation and test", on_test=False),
        "186 test images: one image is 0.54 points, so the rows do not differ beyond chance.",
    ),
)
