"""What the classes of a network are called in DICOM: coded concepts of SNOMED CT, or of the user's table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from glocal.errors import UserError, nearest
from glocal.files import read_json

__all__ = ["ABNORMAL", "ANATOMICAL", "Concept", "Segment", "read_segments", "segments_of"]


@dataclass(frozen=True)
class Concept:
    """A coded concept."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Segment:
    """What a segment of a DICOM segmentation shows."""

    label: str
    category: Concept
    type: Concept
    side: Concept | None = None
    """Left or right."""


ANATOMICAL = Concept("91723000", "Anatomical Structure")
ABNORMAL = Concept("49755003", "Morphologically Abnormal Structure")
LEFT, RIGHT = Concept("7771000", "Left"), Concept("24028007", "Right")

KNOWN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "adrenal gland": ("23451007", "Adrenal gland"),
        "aorta": ("15825003", "Aorta"),
        "bladder": ("89837001", "Bladder"),
        "blood vessel": ("59820001", "Blood Vessel"),
        "brain": ("12738006", "Brain"),
        "breast": ("76752008", "Breast"),
        "colon": ("71854001", "Colon"),
        "duodenum": ("38848004", "Duodenum"),
        "esophagus": ("32849002", "Esophagus"),
        "gallbladder": ("28231008", "Gallbladder"),
        "head": ("69536005", "Head"),
        "heart": ("80891009", "Heart"),
        "hippocampus": ("5366008", "Hippocampus"),
        "inferior vena cava": ("64131007", "Inferior vena cava"),
        "kidney": ("64033007", "Kidney"),
        "left atrium": ("82471001", "Left atrium"),
        "left ventricle": ("87878005", "Left ventricle"),
        "liver": ("10200004", "Liver"),
        "lung": ("39607008", "Lung"),
        "myocardium": ("74281007", "Myocardium"),
        "pancreas": ("15776009", "Pancreas"),
        "portal vein": ("32764006", "Portal vein"),
        "prostate": ("41216001", "Prostate"),
        "pubic symphysis": ("82561000", "Symphysis pubis"),
        "retina": ("5665001", "Retina"),
        "right atrium": ("73829009", "Right atrium"),
        "right ventricle": ("53085002", "Right ventricle"),
        "spleen": ("78961009", "Spleen"),
        "stomach": ("69695003", "Stomach"),
        "thyroid": ("69748006", "Thyroid"),
        "trachea": ("44567001", "Trachea"),
        "uterus": ("35039007", "Uterus"),
    }
)
"""Names of classes, in lower case -> concept of SNOMED CT."""

ABNORMAL_KNOWN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"lesion": ("52988006", "Lesion"), "neoplasm": ("108369006", "Neoplasm"), "nodule": ("27925004", "Nodule")}
)
"""The same of what is not healthy."""

SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "anterior hippocampus": "hippocampus",
        "cardiac muscle": "myocardium",
        "fetal head": "head",
        "lv": "left ventricle",
        "lv cavity": "left ventricle",
        "lv myocardium": "myocardium",
        "myo": "myocardium",
        "oesophagus": "esophagus",
        "posterior hippocampus": "hippocampus",
        "postcava": "inferior vena cava",
        "rv": "right ventricle",
        "rv cavity": "right ventricle",
        "symphysis": "pubic symphysis",
        "symphysis pubis": "pubic symphysis",
        "tumor": "neoplasm",
        "tumour": "neoplasm",
        "urinary bladder": "bladder",
        "vessel": "blood vessel",
    }
)


def segments_of(classes: Sequence[str], own: Mapping[str, Segment] | None = None) -> list[Segment]:
    """Describe the classes of a network, the background left out.

    A name is looked up as it is, then without ``left`` or ``right``, which is coded beside it. One that is unknown is
    coded as *Anatomical Structure*; its label says what is meant.

    Args:
        classes: Names, the background first.
        own: Of :func:`read_segments`; these come first.

    Raises:
        UserError: ``own`` describes a class that the network has not.
    """
    own = own or {}
    strange = next((name for name in own if name not in classes[1:]), None)
    if strange is not None:
        raise UserError(
            f"segments are given for {strange!r}, which the network does not segment; "
            f"it knows {', '.join(classes[1:])}.{nearest(strange, classes[1:])}"
        )
    return [own[name] if name in own else _looked_up(name) for name in classes[1:]]


def _looked_up(name: str) -> Segment:
    plain = " ".join(re.split(r"[\W_]+", name.lower())).strip()
    words = plain.split()
    side = LEFT if "left" in words else RIGHT if "right" in words else None
    for key, where in ((plain, None), (" ".join(w for w in words if w not in ("left", "right")), side)):
        key = SYNONYMS.get(key, key)
        key = key if key in KNOWN or key in ABNORMAL_KNOWN else key.removesuffix("s")
        if key in KNOWN:
            return Segment(name, ANATOMICAL, Concept(*KNOWN[key]), where)
        if key in ABNORMAL_KNOWN:
            return Segment(name, ABNORMAL, Concept(*ABNORMAL_KNOWN[key]), where)
    return Segment(name, ANATOMICAL, ANATOMICAL)


def read_segments(path: str | Path) -> dict[str, Segment]:
    """Read a user's table of codes.

    A JSON object with one entry a class: ``{"polyp": {"category": CODE, "type": CODE}}``, where ``CODE`` is
    ``{"value": "10200004", "meaning": "Liver", "scheme": "SCT"}`` and the category may be left out (*Anatomical
    Structure*), as may the scheme (SNOMED CT) and ``"label"`` (the name of the class).

    Raises:
        UserError: The file cannot be read or is something else.
    """
    table = read_json(path)
    if not isinstance(table, dict) or not table:
        raise UserError(f'{path}: an object with a code for each class is expected, such as {{"liver": {{"type": …}}}}')
    return {name: _segment(path, name, entry) for name, entry in table.items()}


def _segment(path: str | Path, name: str, entry: Any) -> Segment:
    if not isinstance(entry, dict) or "type" not in entry or entry.keys() - {"label", "category", "type"}:
        raise UserError(f"{path}: {name!r} must have a type, and may have a category and a label, and nothing else")
    label = entry.get("label", name)
    if not isinstance(label, str) or not 0 < len(label) <= 64:
        raise UserError(f"{path}: the label of {name!r} must be a text of at most 64 letters")
    category = _concept(path, name, entry["category"]) if "category" in entry else ANATOMICAL
    return Segment(label, category, _concept(path, name, entry["type"]))


def _concept(path: str | Path, name: str, code: Any) -> Concept:
    if (
        not isinstance(code, dict)
        or not {"value", "meaning"} <= code.keys() <= {"value", "meaning", "scheme"}
        or not all(isinstance(text, str) and text for text in code.values())
    ):
        raise UserError(f'{path}: a code of {name!r} must be {{"value", "meaning"}}, texts, with a "scheme" or not')
    for key, most in (("value", 16), ("scheme", 16), ("meaning", 64)):
        if len(code.get(key, "")) > most:
            raise UserError(f"{path}: the {key} of a code of {name!r} is longer than DICOM allows ({most} letters)")
    return Concept(code["value"], code["meaning"], code.get("scheme", "SCT"))
