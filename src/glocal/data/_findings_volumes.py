"""The judgements of the data doctor on volumes, each with the mend there is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from glocal.data._findings import FEW_GROUPS, Finding, Severity
from glocal.data._volume_facts import VolumeFacts
from glocal.data.cases import Problem
from glocal.errors import counted

__all__ = ["find_volume_problems"]

_ORDER = ("error", "warning", "note")
_COARSE = 3.0  # slices this many times thicker than pixels are remarked on


def find_volume_problems(
    root: Path, facts: Sequence[VolumeFacts], problems: Sequence[Problem], refusal: str | None
) -> list[Finding]:
    """Everything suspicious about a set of volumes, errors first.

    Args:
        root: Folder of the set.
        facts: Of every volume with a mask.
        problems: What was left out when the folder was listed.
        refusal: Why the values of the masks have no meaning, if they have none.
    """
    look = _Doctor(root, facts, refusal)
    found = [
        *look.left_out(problems),
        *look.unreadable(),
        *look.positions(),
        *look.spacings(),
        *look.labels(),
        *look.patients(),
        *look.amount(),
    ]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


@dataclass(frozen=True)
class _Doctor:
    root: Path
    facts: Sequence[VolumeFacts]
    refusal: str | None

    @property
    def _mend(self) -> str:
        return f"glocal data mend {quote(str(self.root))} OUT"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def _some(
        self,
        kind: str,
        severity: Severity,
        which: Callable[[VolumeFacts], bool],
        text: str,
        cure: str,
        mask: bool = False,
    ) -> Iterator[Finding]:
        """One finding about those volumes for which ``which`` holds, if there are any."""
        concerned = [fact for fact in self.facts if which(fact)]
        if concerned:
            files = tuple(self._name(fact.pair.mask if mask else fact.pair.image) for fact in concerned)
            what = "mask" if mask else "volume"
            yield Finding(kind, severity, f"{counted(len(concerned), what)} {text}", cure, files)

    def _said(self, kind: str, severity: Severity, text: str, path: Path) -> Finding:
        what, _, cure = text.removeprefix(f"{path}: ").rpartition("; ")
        return Finding(kind, severity, what or cure, cure if what else "mend or remove the file", (self._name(path),))

    def left_out(self, problems: Sequence[Problem]) -> Iterator[Finding]:
        """What was recognised as incomplete when the folder was listed."""
        for problem in problems:
            yield self._said(problem.kind, "warning", problem.message, problem.path)

    def unreadable(self) -> Iterator[Finding]:
        """Files that cannot be read, or hold no labels."""
        for fact in self.facts:
            for text in fact.errors:
                mask = text.startswith(f"{fact.pair.mask}: ")
                path = fact.pair.mask if mask else fact.pair.image
                kind = "fractions in a mask" if "fractions" in text else f"unreadable {'mask' if mask else 'volume'}"
                yield self._said(kind, "error", text, path)
        if self.refusal is not None and not any(self.refusal in fact.errors for fact in self.facts):
            yield self._said("mask values", "error", self.refusal, self.root)

    def positions(self) -> Iterator[Finding]:
        """Masks that do not lie on their volume."""
        mend = self._mend
        for kind, how, text, cure in (
            ("flipped mask", "turned", "stored along other axes than its volume", f"{mend} turns it onto the volume"),
            ("mask without position", "mask lost", "without the position in space that its volume has",
             f"if they were drawn on these volumes, {mend} gives them that of the volume"),
            ("volume without position", "image lost", "with a position in space that its volume lacks",
             f"if they were drawn on these volumes, {mend} gives the volume that of the mask"),
            ("mask elsewhere", "moved", "in another place in space than its volume",
             "resample it onto the volume: this cannot be mended safely"),
            ("size mismatch", "size", "with another number of voxels than its volume",
             "export it on the grid of the volume: this cannot be mended safely"),
        ):  # fmt: skip
            yield from self._some(kind, "error", lambda fact, how=how: fact.agreement == how, text, cure, mask=True)  # type: ignore[misc]

    def spacings(self) -> Iterator[Finding]:
        """Spacing that is impossible, suspicious, or differs."""
        yield from self._some(
            "impossible spacing",
            "error",
            lambda fact: fact.geometry_error is not None and fact.agreement not in ("image lost", "turned"),
            "with a spacing or axes that cannot be (0, or not a number)",
            "find it in the source (DICOM) and write it into the header: it cannot be guessed",
        )
        known = [fact for fact in self.facts if fact.spacing is not None]
        yield from self._some(
            "spacing of 1",
            "warning" if known and all(fact.spacing == (1, 1, 1) for fact in known) else "note",
            lambda fact: fact.spacing == (1.0, 1.0, 1.0),
            "of exactly 1x1x1 mm: perhaps the voxel size was lost",
            "compare with the source; distances in mm (HD95, ASSD) are wrong if it was lost",
        )
        yield from self._some(
            "unknown position",
            "note",
            lambda fact: fact.shape is not None and fact.spacing is None and fact.geometry_error is None,
            "whose files say nothing of voxel size and orientation",
            "none needed for training; distances are in voxels",
        )
        codes = Counter(fact.orientation for fact in known)
        if len(codes) > 1:
            listed = ", ".join(f"{count} {code}" for code, count in codes.most_common())
            text = f"stored along different axes: {listed}"
            yield Finding("mixed orientations", "note", text, "none needed: they are turned to one in reading", ())
        thick = [max(fact.spacing) / min(fact.spacing) for fact in known if fact.spacing]
        if thick and max(thick) > _COARSE:
            text = f"voxels up to {max(thick):.1f} times longer than wide"
            cure = "slices through the thick direction suit 2-D networks best; none needed"
            yield Finding("anisotropic voxels", "note", text, cure, ())

    def labels(self) -> Iterator[Finding]:
        """Mask values that are no class indices, and masks that show nothing."""
        values = {value for fact in self.facts for value in fact.labels or ()}
        if values and self.refusal is None and values - set(range(len(values) + 1)):
            listed = ", ".join(map(str, sorted(values)[:8]))
            text = f"masks hold {listed} rather than class indices"
            cure = f"none needed here; for other programs {self._mend} writes 0, 1, 2 …"
            kind = "masks of 0 and 255" if values == {0, 255} else "mask values"
            yield Finding(kind, "note", text, cure, ())
        yield from self._some(
            "labels as floating point",
            "note",
            lambda fact: any("floating point" in note for note in fact.label_notes),
            "with whole numbers stored as floating point",
            f"none needed here; {self._mend} writes whole numbers",
            mask=True,
        )
        yield from self._some(
            "empty masks",
            "note",
            lambda fact: fact.labels is not None and set(fact.labels) == {0},
            "that show only background",
            "right if nothing is to be seen there, but they sway scores",
            mask=True,
        )
        yield from self._some(
            "constant volumes",
            "warning",
            lambda f: f.shape is not None and f.low == f.high,
            "of one value",
            "export again",
        )

    def patients(self) -> Iterator[Finding]:
        """One patient in several parts of a split; the same volume twice."""
        sides: dict[str, list[VolumeFacts]] = defaultdict(list)
        for fact in self.facts:
            sides[fact.pair.group or fact.pair.id].append(fact)
        for group, members in sides.items():
            parts = sorted({fact.pair.split for fact in members if fact.pair.split})
            if len(parts) > 1:
                text = f"group {group!r} has volumes in {' and '.join(parts)}: scores would be too high"
                cure = f"let the splits be made by group, or {self._mend} puts them into one part"
                files = tuple(self._name(fact.pair.image) for fact in members)
                yield Finding("group on both sides of a split", "error", text, cure, files)
        same: dict[str, list[VolumeFacts]] = defaultdict(list)
        for fact in self.facts:
            if fact.digest:
                same[fact.digest].append(fact)
        for twins in same.values():
            if len(twins) > 1:
                files = tuple(self._name(fact.pair.image) for fact in twins)
                text = f"the same volume {len(twins)} times"
                if len({fact.pair.group or fact.pair.id for fact in twins}) > 1:
                    cure = f"keep one; {self._mend} gives them one group"
                    yield Finding("duplicate volumes", "warning", f"{text} in different groups", cure, files)
                else:
                    yield Finding("duplicate volumes", "note", f"{text} in one group", "keep one", files)

    def amount(self) -> Iterator[Finding]:
        """Too little to divide; what was converted in reading."""
        groups = len({fact.pair.group or fact.pair.id for fact in self.facts if not fact.errors})
        if groups < FEW_GROUPS:
            text = f"{counted(groups, 'group')} of volumes: too few for a test that tells much"
            cure = "add volumes, or use folds (glocal data splits --folds)"
            yield Finding("few cases", "warning", text, cure, ())
        said = Counter(note for fact in self.facts for note in fact.notes if "left out" not in note)
        for note, count in said.most_common():
            yield Finding("converted in reading", "note", f"{counted(count, 'volume')}: {note}", "none needed", ())
