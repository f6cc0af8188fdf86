"""The judgements of the data doctor: each function looks for one kind of trouble."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal, TypeAlias

from glocal.data._case_facts import CaseFacts
from glocal.data._twins import MOST_COMPARED, exact_twins, near_twins
from glocal.data.cases import Dataset
from glocal.errors import counted

__all__ = ["Finding", "find_problems"]

Severity: TypeAlias = Literal["error", "warning", "note"]
_ORDER = ("error", "warning", "note")

SMALL = 32
"""Images with a shorter side, in pixels, are remarked on."""
ELONGATED = 4
"""So are images this many times longer than wide, or wider than long."""
FEW_GROUPS = 10
"""Fewer groups make every split a lottery."""
STRAY_SHARE = 1e-4
"""A class with a smaller share of the pixels, in at most two masks, is suspected to be a stray value."""


@dataclass(frozen=True)
class Finding:
    """Something suspicious.

    Attributes:
        kind: A few words that do not depend on the file.
        severity: ``error`` (training stops there), ``warning`` (results may mislead), ``note`` (to know).
        message: What is wrong.
        cure: What to do.
        files: Paths concerned, relative to the data set.
    """

    kind: str
    severity: Severity
    message: str
    cure: str
    files: tuple[str, ...]


def find_problems(
    dataset: Dataset,
    facts: Sequence[CaseFacts],
    names: Sequence[str],
    parts: Mapping[str, str],
    refusal: str | None,
) -> list[Finding]:
    """Everything suspicious, errors first.

    Args:
        dataset: The data set.
        facts: Of every case.
        names: Its classes, as far as known.
        parts: Case id -> part of the split, for those that are in one.
        refusal: Why the values of the masks have no meaning, if they have none.
    """
    look = _Doctor(dataset, facts, names, parts, refusal)
    found = [
        *look.left_out(),
        *look.unusable(),
        *look.on_both_sides(),
        *look.twins(),
        *look.lookalikes(),
        *look.classes(),
        *look.masks(),
        *look.images(),
        *look.amount(),
    ]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


@dataclass(frozen=True)
class _Doctor:
    dataset: Dataset
    facts: Sequence[CaseFacts]
    names: Sequence[str]
    parts: Mapping[str, str]
    refusal: str | None

    def _files(self, paths: Iterable[Path]) -> tuple[str, ...]:
        root = self.dataset.root
        return tuple(path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in paths)

    @property
    def _mend(self) -> str:
        return f"glocal data mend {quote(str(self.dataset.root))} OUT"

    def _images(self, facts: Iterable[CaseFacts]) -> tuple[str, ...]:
        return self._files(fact.case.image for fact in facts)

    def _sides(self, facts: Iterable[CaseFacts]) -> set[str]:
        """Parts of the split that these cases are in."""
        return {self.parts[fact.case.id] for fact in facts if fact.case.id in self.parts}

    def _said(self, kind: str, severity: Severity, text: str, path: Path) -> Finding:
        """From a line ``path: what is wrong; what to do``."""
        what, cure = _parted(text.removeprefix(f"{path}: "))
        return Finding(kind, severity, what, cure, self._files([path]))

    def _some(
        self, kind: str, severity: Severity, what: str, facts: Sequence[CaseFacts], text: str, cure: str
    ) -> Iterator[Finding]:
        """One finding about several cases, if there are any."""
        if facts:
            yield Finding(kind, severity, f"{counted(len(facts), what)} {text}", cure, self._images(facts))

    def left_out(self) -> Iterator[Finding]:
        """What was recognised as incomplete when the folder was listed."""
        for problem in self.dataset.problems:
            yield self._said(problem.kind, "warning", problem.message, problem.path)

    def unusable(self) -> Iterator[Finding]:
        """Files that cannot be read, masks that do not fit; training would stop there."""
        scanned = self.dataset.scan()
        for mask, known in scanned.items():
            if known.error is not None:
                yield self._said("unreadable mask", "error", known.error, mask)
        if self.refusal is not None:
            named = next((mask for mask in scanned if self.refusal.startswith(f"{mask}: ")), self.dataset.root)
            if named == self.dataset.root or scanned[named].error is None:
                yield self._said("mask values", "error", self.refusal, named)
        for fact in self.facts:
            for text in fact.errors:
                about = next((path for path in fact.case.masks if text.startswith(f"{path}: ")), None)
                if about is None:
                    yield self._said("unreadable image", "error", text, fact.case.image)
                elif scanned[about].error is None:
                    fits = fact.image is not None and scanned[about].size == fact.image.size
                    yield self._said("unknown mask values" if fits else "size mismatch", "error", text, about)

    def on_both_sides(self) -> Iterator[Finding]:
        """One group in several parts of a split."""
        sides: dict[str, set[str]] = defaultdict(set)
        for fact in self.facts:
            sides[fact.case.group] |= self._sides([fact])
        for group, parts in sides.items():
            if len(parts) > 1:
                members = [fact for fact in self.facts if fact.case.group == group]
                text = f"group {group!r} has cases in {_listed(parts)}: scores would be too high"
                cure = f"let the splits be made by group, or {self._mend} moves all its cases to one part"
                yield Finding("group on both sides of a split", "error", text, cure, self._images(members))

    def twins(self) -> Iterator[Finding]:
        """Equal images: labelled differently, on both sides of a split, in different groups, or merely twice."""
        for twins in exact_twins(self.facts):
            files = self._images(twins)
            sides = self._sides(twins)
            if len(sides) > 1:
                text = f"the same image in {_listed(sides)}: scores will be too high"
                yield Finding("duplicate across a split", "warning", text, "keep it in one part", files)
            if self.dataset.task == "segmentation" and self.refusal is not None:
                labels = 1
            else:
                labels = len({(fact.label_digest, fact.case.stratum) for fact in twins if not fact.errors})
            if labels > 1:
                text = f"the same image {len(twins)} times with different labels"
                cure = "find out which is right and remove the rest"
                yield Finding("conflicting labels", "warning", text, cure, files)
            elif len({fact.case.group for fact in twins}) > 1:
                text = f"the same image {len(twins)} times in different groups: a split may put it on both sides"
                cure = f"keep one, or give them one group in cases.csv ({self._mend} does)"
                yield Finding("duplicate images", "warning", text, cure, files)
            else:
                text = f"the same image {len(twins)} times in one group"
                yield Finding("duplicate images", "note", text, "keep one, unless it should count more", files)

    def lookalikes(self) -> Iterator[Finding]:
        """Images that are nearly the same and yet in different groups, sides or classes."""
        if len(self.facts) > MOST_COMPARED:
            text = f"not searched for similar images: more than {MOST_COMPARED}"
            yield Finding("similar images", "note", text, "inspect a part of the set", ())
            return
        groups, classes, sides = [], [], []
        for one, other in near_twins(self.facts):
            if (one.case.label, one.case.stratum) != (other.case.label, other.case.stratum):
                classes.append((one, other))
            if len(self._sides([one, other])) > 1:
                sides.append((one, other))
            elif one.case.group != other.case.group:
                groups.append((one, other))
        look = "look at them; if they show the same, "
        for pairs, kind, text, cure in [
            (sides, "similar images across a split", "in two parts of the split", "keep them in one part"),
            (groups, "similar images in different groups", "in different groups", "give them one group in cases.csv"),
            (classes, "similar images of different classes", "with different classes", "correct one or remove both"),
        ]:
            if pairs:
                concerned = dict.fromkeys(name for pair in pairs for name in self._images(pair))
                message = f"{counted(len(pairs), 'pair')} of images nearly the same, {text}"
                yield Finding(kind, "warning", message, look + cure, tuple(concerned))

    def classes(self) -> Iterator[Finding]:
        """Classes that never occur, or hardly."""
        if self.dataset.task == "classification":
            usable = [fact for fact in self.facts if not fact.errors]
            labels = Counter(label for fact in usable for label in fact.case.labels)
            for index, name in enumerate(self.names):
                if 0 < labels[index] < 3:
                    text = f"class {name!r} has {counted(labels[index], 'image')}: not one for each part of a split"
                    yield Finding("rare class", "warning", text, "add images or leave the class out", ())
            bare = [fact for fact in usable if not fact.case.labels]
            text, cure = f"of {len(usable)} without any class", "right if nothing is to be seen there"
            yield from self._some("no class", "note", "image", bare, text, cure)
            return
        total: Counter[int] = Counter()
        for fact in self.facts:
            total.update(fact.counts)
        for index, name in enumerate(self.names):
            holders = [fact for fact in self.facts if index in fact.counts]
            rare = len(holders) <= 2 < len(self.facts) and total[index] < STRAY_SHARE * total.total()
            if not holders and total:
                text = f"class {index} ({name}) is in no mask"
                yield Finding("missing class", "warning", text, "check the masks, or take it out of classes.txt", ())
            elif holders and rare and index and len(self.names) > 2:
                text = f"class {index} ({name}) has {counted(total[index], 'pixel')} in {counted(len(holders), 'mask')}"
                cure = "if it is a stray value, correct the mask; otherwise name the classes in classes.txt"
                masks = self._files(mask for fact in holders for mask in fact.case.masks)
                yield Finding("stray mask value", "warning", text, cure, masks)

    def masks(self) -> Iterator[Finding]:
        """Masks that show nothing, or nothing else."""
        encoding = self.dataset.encoding if self.refusal is None else None
        if encoding is not None and (encoding.coloured or encoding.nearest):
            what = "colours stand for classes" if encoding.coloured else "compression or soft edges have blurred values"
            cure = f"read as classes here; for other programs {self._mend} writes class indices"
            kind = "coloured masks" if encoding.coloured else "blurred masks"
            yield Finding(kind, "note", f"{what} in the masks", cure, ())
        drawn = [fact for fact in self.facts if fact.counts]
        empty = [fact for fact in drawn if set(fact.counts) == {0}]
        full = [fact for fact in drawn if len(fact.counts) == 1 and 0 not in fact.counts]
        text = f"of {len(drawn)} show only background"
        cure = "right if nothing is to be seen there, but they sway scores (see the policy for empty masks)"
        severity: Severity = "warning" if len(empty) > len(drawn) / 2 else "note"
        yield from self._some("empty masks", severity, "mask", empty, text, cure)
        text = f"of {len(drawn)} hold one class everywhere and no background"
        yield from self._some("full masks", "warning", "mask", full, text, "check whether the mask is inverted")

    def images(self) -> Iterator[Finding]:
        """Constant, tiny, elongated images; a mixture of sizes or kinds; what was converted in reading."""
        read = [(fact, fact.image) for fact in self.facts if fact.image is not None]
        flat = [fact for fact, image in read if image.low == image.high]
        yield from self._some("constant images", "warning", "image", flat, "of one single value", "export them again")
        small = [fact for fact, image in read if min(image.size) < SMALL]
        text = f"shorter or narrower than {SMALL} pixels"
        yield from self._some("small images", "note", "image", small, text, "look whether they are mere thumbnails")
        long = [fact for fact, image in read if max(image.size) > ELONGATED * min(image.size)]
        text, cure = (
            f"more than {ELONGATED} times longer than wide",
            "cut them: stretched to a square they are distorted",
        )
        yield from self._some("elongated images", "note", "image", long, text, cure)
        sizes, kinds = Counter(image.size for _, image in read), Counter(image.kind for _, image in read)
        if len(sizes) > 1:
            text = f"{len(sizes)} different sizes; all are stretched to the training size"
            yield Finding("mixed sizes", "note", text, "none needed if their aspect ratios are similar", ())
        if len(kinds) > 1:
            listed = "; ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            text = f"different kinds of images: {listed}"
            cure = "none needed if kind and class are unrelated; otherwise a network learns the kind"
            yield Finding("mixed kinds", "note", text, cure, ())
        if kinds and set(kinds) == {"RGB, all grey, 8-bit"}:
            text = "all images are grey but stored as RGB"
            yield Finding("grey stored as RGB", "note", text, "train with one channel to save time", ())
        said = Counter(note for _, image in read for note in image.notes)
        for note, count in said.most_common():
            files = self._images(fact for fact, image in read if note in image.notes)
            yield Finding("converted in reading", "note", f"{counted(count, 'image')}: {note}", "none needed", files)

    def amount(self) -> Iterator[Finding]:
        """Too little to divide."""
        usable = [fact for fact in self.facts if not fact.errors]
        groups = len({fact.case.group for fact in usable})
        if groups < FEW_GROUPS:
            cases = counted(len(usable), "usable case")
            text = f"{counted(groups, 'group')} with {cases}: too few for a test that tells much"
            yield Finding("few cases", "warning", text, "add cases, or use folds (glocal data splits --folds)", ())


def _parted(text: str) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    for separator in ("; ", ": "):
        what, found, cure = text.rpartition(separator)
        if found:
            return what, cure
    return text, "mend or remove the file"


def _listed(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))
