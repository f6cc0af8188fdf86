"""What the names used by well-known data sets mean: their classes, patients and kinds of lesion."""

from __future__ import annotations

import re

__all__ = ["IMAGE_CLASSES", "foreground_names", "group_rule", "patient_folder"]

_FOREGROUND: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"kvasir|cvc|clinicdb|colondb|etis|polyps?", ("polyp",)),
    (r"busi|breast|isic|ham10000|ph2|skin|idrid|lesions?", ("lesion",)),
    (r"chase|drive|stare|hrf|vessels?", ("vessel",)),
    (r"lgg|glioma|kaggle_3m|tumou?rs?", ("tumour",)),
    (r"dsb2018|nuclei|nucleus", ("nucleus",)),
    (r"glas|glands?", ("gland",)),
    (r"hc18|fetal_head", ("head",)),
    (r"shenzhen|montgomery|lungs?|cxr", ("lung",)),
    (r"psfhs|iugc", ("pubic symphysis", "fetal head")),
    (r"acdc", ("right ventricle", "myocardium", "left ventricle")),
)

IMAGE_CLASSES = frozenset({"benign", "malignant", "normal"})
"""Folder names that say what an image shows as a whole, as in BUSI."""

_GROUPS = (
    ("patient, the first three parts of TCGA names", r"(TCGA_\w{2}_\w{4})_.+"),
    ("patient, from the name", r"((?:patient|subject|case)[-_]?\d+)[-_ ].+"),
    ("child, from CHASE_DB1 names: both eyes", r"(Image_\d+)[LR]"),
    ("pregnancy, from HC18 names", r"(\d+)_\d*HC"),
)
_PATIENT_FOLDER = re.compile(r"(?i)(TCGA_\w{2}_\w{4})_\d+|((?:patient|pat|subject|sub|case)[-_ ]?\d+)")


def foreground_names(path: str, number: int) -> tuple[str, ...]:
    """Names of ``number`` foreground classes that the folder of a well-known data set implies, or nothing."""
    for pattern, names in _FOREGROUND:
        if len(names) == number and re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", path, re.IGNORECASE):
            return names
    return ()


def group_rule(stems: list[str]) -> tuple[str, list[str]] | None:
    """What the names say about groups, if all follow one convention: what a group is, and the group of each stem."""
    for meaning, pattern in _GROUPS:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        groups = [match[1] for match in matches if match]
        if len(groups) == len(stems):
            return meaning, groups
    return None


def patient_folder(name: str) -> str | None:
    """The patient a folder is named after, or None: ``TCGA_CS_4941_19960909``, ``patient010``."""
    match = _PATIENT_FOLDER.fullmatch(name)
    return (match[1] or match[2]) if match else None
