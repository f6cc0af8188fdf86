"""Every file below a folder, by its path, and small helpers that the layouts share."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from glocal.data._tree import natural
from glocal.data.cases import Problem
from glocal.errors import UserError

__all__ = ["Tree", "by_stem", "missing", "stem_of"]

_DOUBLE = (".nii.gz", ".npy.h5")
_DEEPEST = 12


@dataclass(frozen=True)
class Tree:
    """The files below ``root`` (hidden ones left out), relative to it, in natural order."""

    root: Path
    files: tuple[PurePath, ...]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """List a folder, following links, each real folder once; a file is a tree of its own.

        Raises:
            UserError: A folder cannot be listed.
        """
        if root.is_file():
            return cls(root.parent, (PurePath(root.name),))
        seen: set[str] = set()
        found: list[PurePath] = []

        def refuse(error: OSError) -> None:
            raise UserError(f"{error.filename}: the folder cannot be listed ({error.strerror}); make it readable")

        for folder, inside, names in os.walk(root, followlinks=True, onerror=refuse):
            real = os.path.realpath(folder)
            below = PurePath(folder).relative_to(root)
            if real in seen or len(below.parts) > _DEEPEST:
                inside.clear()
                continue
            seen.add(real)
            inside[:] = sorted(name for name in inside if not name.startswith((".", "__MACOSX")))
            found += [below / name for name in names if not name.startswith(".")]
        return cls(root, tuple(sorted(found, key=lambda path: [natural(part) for part in path.parts])))

    @cached_property
    def by_folder(self) -> dict[PurePath, list[PurePath]]:
        """Folder -> its files."""
        folders: dict[PurePath, list[PurePath]] = defaultdict(list)
        for path in self.files:
            folders[path.parent].append(path)
        return dict(folders)

    def folders_named(self, *names: str) -> list[PurePath]:
        """Folders that hold files and whose own name is one of ``names`` (any case)."""
        return [folder for folder in self.by_folder if folder.name.lower() in names]

    def within(self, folder: PurePath, *suffixes: str) -> list[Path]:
        """The files of one folder (absolute) that end in one of ``suffixes``, in lower case."""
        inside = self.by_folder.get(folder, [])
        return [self.root / path for path in inside if path.name.lower().endswith(suffixes)]


def stem_of(path: PurePath) -> str:
    """The name without its ending, also a double one: ``x.nii.gz`` -> ``x``."""
    name = path.name
    for double in _DOUBLE:
        if name.lower().endswith(double):
            return name[: -len(double)]
    return path.stem


def missing(kind: str, path: Path, what: str, cure: str) -> Problem:
    """A case that is left out, said in one line."""
    return Problem(kind, path, f"{path}: {what}; it is left out: {cure}")


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Stem -> file.

    Raises:
        UserError: Two files of one folder differ in their ending alone.
    """
    found: dict[str, Path] = {}
    for path in files:
        other = found.setdefault(stem_of(path), path)
        if other is not path:
            raise UserError(f"{path}: another file has the same name but for its ending ({other.name}); keep one")
    return found
