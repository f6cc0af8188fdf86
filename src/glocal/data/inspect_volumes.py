"""The data doctor for volumes: what a folder of them holds, and all that is suspicious about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glocal.data._findings import Finding
from glocal.data._findings_volumes import find_volume_problems
from glocal.data._volume_facts import VolumeFacts, volume_facts
from glocal.data._volume_layout import nnunet_declared
from glocal.data.cases import Progress
from glocal.data.distributed.volumes import VolumePair, known_names, pairs_of
from glocal.data.encoding import MaskFacts, infer_encoding, read_classes
from glocal.data.inspect import ClassCount
from glocal.errors import UserError

__all__ = ["VolumeInspection", "inspect_volumes"]


@dataclass(frozen=True)
class VolumeInspection:
    """What was found in a folder of volumes.

    Attributes:
        root: The folder.
        layout: How it is organised, in words.
        cases: Volumes with a mask.
        usable: Of those, readable and with a mask that lies on them.
        groups: Groups (patients) that the tables or names give; as many as volumes if none are known.
        classes: How often each class occurs, in volumes and voxels.
        sizes: (slices, height, width) -> volumes.
        spacings: (z, y, x) in mm, to a hundredth -> volumes; None where unknown.
        orientations: ``"RAS"`` … -> volumes; ``"unknown"``.
        kinds: ``"NIfTI, int16"`` … -> volumes.
        intensity: Lowest, mean (of means) and highest value over all volumes, as stored.
        findings: Errors first, then warnings, then notes.
    """

    root: Path
    layout: str
    cases: int
    usable: int
    groups: int
    classes: tuple[ClassCount, ...]
    sizes: Mapping[tuple[int, int, int], int]
    spacings: Mapping[tuple[float, float, float] | None, int]
    orientations: Mapping[str, int]
    kinds: Mapping[str, int]
    intensity: tuple[float, float, float] | None
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain form for JSON."""
        low, mean, high = self.intensity or (None, None, None)
        return {
            "format": 1,
            "root": str(self.root),
            "task": "segmentation",
            "layout": self.layout,
            "cases": self.cases,
            "usable": self.usable,
            "groups": self.groups,
            "classes": [asdict(count) for count in self.classes],
            "sizes": [
                {"slices": depth, "height": height, "width": width, "volumes": count}
                for (depth, height, width), count in self.sizes.items()
            ],
            "spacings": [
                {"mm": None if spacing is None else list(spacing), "volumes": count}
                for spacing, count in self.spacings.items()
            ],
            "orientations": dict(self.orientations),
            "kinds": dict(self.kinds),
            "intensity": {"low": low, "mean": mean, "high": high},
            "findings": [asdict(finding) for finding in self.findings],
        }


def inspect_volumes(root: str | Path, progress: Progress | None = None) -> VolumeInspection:
    """Read every volume and mask of a folder once and say what is there and what is wrong with it.

    A bad file becomes a finding and does not stop the inspection.

    Args:
        root: A folder of volumes with masks, plain or as nnU-Net has them.
        progress: Called with (done, all) as volumes are read.

    Raises:
        UserError: There are no volumes with masks, or the folder cannot be listed.
    """
    root = Path(root)
    pairs, problems, layout = pairs_of(root)
    if not pairs:
        raise UserError(f"{root}: no volumes with masks; put volumes into images/ and masks of their names into masks/")
    facts: list[VolumeFacts] = []
    for pair in pairs:
        facts.append(volume_facts(pair))
        if progress is not None:
            progress(len(facts), len(pairs))
    classes, refusal = _classes(root, facts)
    read = [fact for fact in facts if fact.shape is not None]
    usable = [fact for fact in facts if not fact.errors and fact.agreement in ("same", "unknown")]
    usable = [fact for fact in usable if fact.geometry_error is None and refusal is None]
    spacings = [
        None if s is None else (round(s[0], 2), round(s[1], 2), round(s[2], 2)) for s in (f.spacing for f in read)
    ]
    return VolumeInspection(
        root=root,
        layout=f"volumes: {layout}",
        cases=len(facts),
        usable=len(usable),
        groups=len({fact.pair.group or fact.pair.id for fact in facts}),
        classes=classes,
        sizes=dict(Counter(fact.shape for fact in read if fact.shape is not None).most_common()),
        spacings=dict(Counter(spacings).most_common()),
        orientations=dict(Counter(fact.orientation or "unknown" for fact in read).most_common()),
        kinds=dict(Counter(fact.kind for fact in read).most_common()),
        intensity=(
            min(fact.low for fact in read),
            sum(fact.mean for fact in read) / len(read),
            max(fact.high for fact in read),
        )
        if read
        else None,
        findings=tuple(find_volume_problems(root, facts, problems, refusal)),
    )


def _classes(root: Path, facts: Sequence[VolumeFacts]) -> tuple[tuple[ClassCount, ...], str | None]:
    """How often each class occurs; or why the values of the masks have no meaning."""
    masks = [MaskFacts(fact.pair.mask, counts=fact.labels) for fact in facts if fact.labels is not None]
    if not masks:
        return (), "no mask can be read; restore them"
    declared = read_classes(root) or nnunet_declared([path.parent for path in root.rglob("dataset.json")])[0]
    try:
        encoding, _ = infer_encoding(masks, declared)
        counts = [encoding.class_counts(mask) for mask in masks]
    except UserError as error:
        return (), str(error)
    names = declared.names if declared is not None else _names(facts[0].pair, encoding.classes)
    total = max(1, sum(int(count.sum()) for count in counts))
    return tuple(
        ClassCount(
            index,
            names[index],
            sum(bool(count[index]) for count in counts),
            voxels := sum(int(count[index]) for count in counts),
            voxels / total,
        )
        for index in range(encoding.classes)
    ), None


def _names(pair: VolumePair, number: int) -> tuple[str, ...]:
    return known_names(pair, number) or ("background", *(f"class {index}" for index in range(1, number)))
