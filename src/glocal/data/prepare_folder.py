"""The folder in which a data set is prepared: hidden until it is complete, and picked up where it was left."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glocal.data._staging import require_free
from glocal.errors import UserError, optional_import
from glocal.files import read_json, write_text, writing

__all__ = ["REPORT", "Unfinished", "finished_report"]

REPORT = "prepare-report.json"
_JOURNAL = ".journal.jsonl"
_LOCK = ".lock"


@dataclass
class Unfinished:
    """``.OUT.unfinished`` beside ``OUT``, with a journal of the cases that are done.

    Attributes:
        out: The folder that it becomes.
        asked: What the command asked for; only the same command goes on here.
        understood: What the masks of the set were found to mean; where that changed, nothing done is kept.
    """

    out: Path
    asked: Mapping[str, Any]
    understood: Mapping[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a case -> what the journal says of it."""
    fresh: int = 0
    """Cases added in this process."""

    def __post_init__(self) -> None:
        whole = Path(os.path.abspath(self.out))
        self.folder = whole.parent / f".{whole.name}.unfinished"
        self._turn = threading.Lock()
        self._lock: Any = None

    @property
    def _journal(self) -> Path:
        return self.folder / _JOURNAL

    def start(self) -> bool:
        """Make the folder, or go on in it.

        Returns:
            Whether cases done before have to be done again, since the masks mean something else now.

        Raises:
            UserError: Another command left it there, or it cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._take()
        head, lines = self._read()
        if head is not None and head.get("asked") != self.asked:
            raise UserError(
                f"{self.folder}: left unfinished by another command; remove it, repeat that command, or "
                "choose another OUT"
            )
        again = head is not None and head.get("understood") != self.understood
        kept = [] if head is None or again else lines
        records = [{"asked": self.asked, "understood": self.understood}, *kept]
        write_text(self._journal, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        self.done = {line["name"]: line for line in kept}
        return again and bool(lines)

    def _take(self) -> None:
        filelock = optional_import("filelock", "train")
        self._lock = filelock.FileLock(self.folder / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{self.folder}: another process is at it; wait for it, or choose another OUT") from None

    def _read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The head and the lines of the journal; a last line that was cut short does not count."""
        if not self._journal.is_file():
            if any(path.name != _LOCK for path in self.folder.iterdir()):
                raise UserError(f"{self.folder}: holds other things; remove it or choose another OUT")
            return None, []
        records = []
        for line in self._journal.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return (records[0], records[1:]) if records else (None, [])

    def whole(self, name: str, sources: list[list[Any]]) -> bool:
        """Whether a case is done: its files are there, and those it came from are the same."""
        entry = self.done.get(name)
        if entry is None or entry["sources"] != sources:
            return False
        return all((self.folder / target).is_file() for target in entry["targets"])

    def add(self, entry: dict[str, Any]) -> None:
        """Note a case whose files are in place; threads may call it."""
        with self._turn, writing(self._journal), self._journal.open("ab") as stream:
            stream.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
            self.done[entry["name"]] = entry
            self.fresh += 1

    def sweep(self) -> None:
        """Remove what belongs to no case: parts of files that a killed process left, cases whose source is gone."""
        known = {target for entry in self.done.values() for target in entry["targets"]} | {_JOURNAL, _LOCK}
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in known:
                path.unlink()

    def finish(self) -> None:
        """Give the folder its name.

        Raises:
            UserError: Something else took that name meanwhile.
        """
        require_free(self.out)
        with writing(self.out):
            if self.out.is_dir():
                self.out.rmdir()
            self.folder.rename(self.out)
            self._lock.release()
            for name in (_JOURNAL, _LOCK):
                (self.out / name).unlink(missing_ok=True)


def finished_report(out: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of the same command that ended before, or None where ``out`` is free.

    Raises:
        UserError: ``out`` holds something else.
    """
    path = out / REPORT
    if path.is_file():
        report = read_json(path)
        if isinstance(report, dict) and report.get("asked") == asked:
            return report
    require_free(out)
    return None
