"""Turn a data set as its makers distribute it into a plain folder, or into nnU-Net's raw format."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data._prepare import threads
from glocal.data.cases import Progress
from glocal.data.distributed import Content, Distribution, Item, Step, recognise
from glocal.data.distributed.distribution import Kind
from glocal.data.distributed.pictures import plain
from glocal.data.prepare_folder import REPORT, Unfinished, finished_report
from glocal.data.prepare_mend import join_groups, unite_splits
from glocal.data.prepare_report import markdown
from glocal.data.prepare_writers import Target, Writer
from glocal.data.readers import read_image
from glocal.data.volumes import open_volume
from glocal.errors import UserError, nearest
from glocal.files import write_json, write_text

__all__ = ["Preparation", "prepare"]

_BATCH = {"pictures": 64, "volumes": 4}
_log = logging.getLogger("glocal")


@dataclass(frozen=True)
class Preparation:
    """A data set that was prepared.

    Attributes:
        folder: Where it is.
        cases: How many it holds.
        fresh: Of these, converted in this call; the others were there from one that was interrupted.
        left_out: Cases that could not be converted, each with its reason.
        report: What ``prepare-report.json`` holds.
    """

    folder: Path
    cases: int
    fresh: int
    left_out: tuple[str, ...]
    report: Mapping[str, Any]


def prepare(
    root: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    to: Target = "plain",
    channel: str | None = None,
    mend: bool = False,
    progress: Progress | None = None,
) -> Preparation:
    """Convert a data set. Labels become class indices, pixel and voxel values stay as they are; ``root`` is only read.

    An interrupted conversion goes on where it was when the same call is made again; ``out`` appears once complete.
    A case that cannot be used is left out with its reason, and the rest goes on.

    Args:
        root: The data set: a layout of :data:`~glocal.data.distributed.LAYOUTS`, or any that ``open_dataset`` reads.
        out: A folder that is missing or empty, not inside ``root``.
        layout: The layout it has to be; default: recognised.
        to: ``"plain"`` (``images/``, ``masks/``, ``cases.csv``, ``classes.txt``) or ``"nnunet"``.
        channel: Of several in an nnU-Net set, the one to take.
        mend: Also mend what can be mended safely: masks stored along other axes than their image, a position in space
            that one of the two has lost, one group in several parts of a split, equal images in several groups.
        progress: Called with (done, all) as masks are read, and then as cases are converted.

    Raises:
        UserError: Nothing is recognised, no case can be converted, ``out`` is in the way, or the disk is full.
    """
    root, out = Path(root), Path(out)
    if to not in ("plain", "nnunet"):
        raise UserError(f"no target {to!r}.{nearest(to, ['plain', 'nnunet'])} Use --to plain or --to nnunet")
    source = root.resolve()
    if out.resolve().is_relative_to(source):
        raise UserError(f"{out}: lies inside the data set, which is only read; choose a folder outside of it")
    asked = {"format": 1, "source": str(source), "layout": layout, "to": to, "channel": channel, "mend": mend}
    if before := finished_report(out, asked):
        return Preparation(out, len(before["cases"]), 0, tuple(before["left_out"]), before)
    distribution = recognise(root, layout, channel) or plain(root)
    if to == "nnunet" and distribution.task == "classification":
        raise UserError(f"{root}: a set for classification, which nnU-Net does not know; use --to plain")
    content = distribution.open(progress)
    unfinished = Unfinished(out, asked, {"classes": list(content.classes), "notes": list(content.notes)})
    if unfinished.start():
        _log.info("%s: the masks mean something else than before; all cases are converted again", unfinished.folder)
    conversion = _Conversion(root, distribution, content, Writer(to, distribution), unfinished, mend)
    return conversion.run(asked, progress)


@dataclass
class _Conversion:
    """One conversion on its way."""

    root: Path
    distribution: Distribution
    content: Content
    writer: Writer
    unfinished: Unfinished
    mend: bool

    def run(self, asked: Mapping[str, Any], progress: Progress | None) -> Preparation:
        """Convert every case that is not done, then write what describes the whole."""
        rows: list[dict[str, Any]] = []
        left_out = [problem.message for problem in self.content.problems]
        for done, result in enumerate(self._converted(), 1):
            if isinstance(result, dict):
                rows.append(result)
            else:
                left_out.append(result)
            if progress is not None:
                progress(done, self.content.count)
        if not rows:
            first = f": {left_out[0]}" if left_out else ""
            raise UserError(f"{self.root}: no case can be converted{first}")
        self.unfinished.done = {row["name"]: row for row in rows}
        self.unfinished.sweep()
        report = self._report(asked, rows, left_out)
        folder = self.unfinished.folder
        write_text(folder / "prepare-report.md", markdown(report))
        write_json(folder / REPORT, report)
        self.unfinished.finish()
        return Preparation(self.unfinished.out, len(rows), self.unfinished.fresh, tuple(left_out), report)

    def _converted(self) -> Iterator[dict[str, Any] | str]:
        """Of each case the line of the journal, or why it is left out; in order, converted by threads."""
        named = _named(self.content.steps)
        workers = threads() if self.distribution.kind == "pictures" else 2
        with ThreadPoolExecutor(workers) as pool:
            try:
                while batch := list(islice(named, _BATCH[self.distribution.kind])):
                    yield from pool.map(self._convert, batch)
            finally:
                pool.shutdown(cancel_futures=True)

    def _convert(self, named: tuple[str, Step]) -> dict[str, Any] | str:
        name, step = named
        try:
            sources = [[self._relative(path), *_stamp(path)] for path in step.sources]
            if self.unfinished.whole(name, sources):
                return self.unfinished.done[name]
            self.unfinished.done.pop(name, None)
            item = self.writer.ready(step.read(self.mend))
        except UserError as error:
            return f"{error} (left out)"
        targets = self.writer.targets(name, item, step.split)
        self.writer.write(self.unfinished.folder, targets, item)
        notes = [*item.notes, *([f"renamed from {step.id}"] if name != step.id else [])]
        entry = {
            "name": name,
            "id": step.id,
            "sources": sources,
            "targets": targets,
            "changes": notes,
            "group": step.group,
            "split": step.split,
            "labels": list(step.labels),
            "pixel_size": step.pixel_size,
            **_facts(item, self.distribution.kind),
        }
        self.unfinished.add(entry)
        return entry

    def _relative(self, path: Path) -> str:
        base = self.root if self.root.is_dir() else self.root.parent
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)

    def _report(self, asked: Mapping[str, Any], rows: list[dict[str, Any]], left_out: list[str]) -> dict[str, Any]:
        whole = [{**row} for row in rows]
        mended = [*join_groups(whole), *unite_splits(whole)] if self.mend else []
        if not self.mend and (leaks := unite_splits([{**row} for row in rows])):
            mended = [f"not mended: {leak.partition(':')[0]} (--mend puts each into one part)" for leak in leaks]
        changes = [*mended, *self.writer.finish(self.unfinished.folder, self.content, whole)]
        keys = ("name", "id", "targets", "changes", "group", "split")
        return {
            "format": 1,
            "asked": dict(asked),
            "layout": self.distribution.name,
            "title": self.distribution.title,
            "classes": list(self.content.classes),
            "notes": list(self.content.notes),
            "changes": changes,
            "left_out": left_out,
            "cases": [{**{key: row[key] for key in keys}, "sources": [s[0] for s in row["sources"]]} for row in whole],
        }


def _named(steps: Iterable[Step]) -> Iterator[tuple[str, Step]]:
    """Names for files: the ids without what a file system objects to, and different without regard to case."""
    taken: set[str] = set()
    for step in steps:
        plain_name = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", step.id).strip() or "case"
        plain_name = f"_{plain_name}" if plain_name.startswith(".") else plain_name
        name, number = plain_name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain_name}-{number}"
        taken.add(name.casefold())
        yield name, step


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change, which tell whether a source is the same."""
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    return state.st_size, state.st_mtime_ns


def _facts(item: Item, kind: Kind) -> dict[str, Any]:
    """What the whole set needs to know of a case: a digest of the image, its channels, the highest class."""
    digest = hashlib.blake2b(digest_size=16)
    channels = 1
    if kind == "pictures":
        pixels = read_image(item.image).pixels if isinstance(item.image, Path) else item.image
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        channels = int(pixels.shape[2])
        digest.update(repr((pixels.shape, pixels.dtype.str)).encode() + np.ascontiguousarray(pixels).tobytes())
    elif isinstance(item.image, Path):
        for plane in open_volume(item.image).slices():
            digest.update(np.ascontiguousarray(plane).data)
    else:
        digest.update(np.ascontiguousarray(item.image).data)
    highest = 0 if item.label is None else int(item.label.max())
    return {"digest": digest.hexdigest(), "channels": channels, "highest": highest}
