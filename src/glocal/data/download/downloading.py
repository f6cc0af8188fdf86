"""From the name of a public data set to a folder with it, and a receipt of what was fetched and accepted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from glocal.data.download.catalogue import CATALOGUE, ON_REQUEST, Archive, PublicSet
from glocal.data.download.fetching import fetch, fetch_json
from glocal.data.download.unpacking import is_archive, unpack
from glocal.errors import UserError, nearest
from glocal.files import read_json, write_json

__all__ = ["RECEIPT", "Downloaded", "download", "find_set"]

RECEIPT = "glocal-download.json"
"""Beside the data: what was fetched from where, with checksums, and the licence that was accepted."""

Watch: TypeAlias = Callable[[str, int, int | None], None]
"""``(file, bytes so far, bytes in all or None)``."""

_ZENODO = "https://zenodo.org/api/records"


@dataclass(frozen=True)
class Downloaded:
    """A data set on disk.

    Attributes:
        folder: Where it is.
        files: How many files were unpacked.
        unverified: Names of archives whose makers publish no checksum.
        fresh: False if it was there already.
    """

    folder: Path
    files: int
    unverified: tuple[str, ...] = ()
    fresh: bool = True


def find_set(name: str) -> PublicSet:
    """The entry of the catalogue called ``name``.

    Raises:
        UserError: It is given on request only (the line says the steps), or unknown.
    """
    if name in ON_REQUEST:
        entry = ON_REQUEST[name]
        steps = "; ".join(f"({number}) {step}" for number, step in enumerate(entry.steps, 1))
        raise UserError(f"{name}: its makers give it on request only, at {entry.home}: {steps}")
    if name not in CATALOGUE:
        known = [*CATALOGUE, *ON_REQUEST]
        raise UserError(f"no data set {name!r}.{nearest(name, known)} `glocal data download` lists them")
    return CATALOGUE[name]


def download(
    entry: PublicSet,
    output: Path,
    *,
    accept_licence: bool,
    keep_archives: bool = False,
    watch: Watch | None = None,
) -> Downloaded:
    """Fetch, verify and unpack a public data set. Interrupted, the same call goes on where it stopped.

    Args:
        entry: Of the catalogue.
        output: The folder; must not exist, be empty, or be what an interrupted call has left.
        accept_licence: Whether the user accepts ``entry.licence``.
        keep_archives: Keep the archives in ``output/archives``.
        watch: Told of the bytes as they come.

    Raises:
        UserError: The licence was not accepted, the folder holds other things, or as
            :func:`~glocal.data.download.fetching.fetch` and :func:`~glocal.data.download.unpacking.unpack`.
    """
    if not accept_licence:
        raise UserError(f"{entry.name}: its licence must be accepted first: add --accept-licence. {entry.licence}")
    done = _receipt(entry, output)
    if done is not None:
        return done
    store = output / "archives"
    _refuse_other_things(entry, output)
    archives = entry.archives or _of_zenodo(entry)
    for archive in archives:
        path = store / archive.name
        target = output / _stem(archive.name)
        if not target.exists():
            fetch(archive, path, None if watch is None else _telling(watch, archive.name))
            _place(path, target)
        if not keep_archives:
            path.unlink(missing_ok=True)
    if not keep_archives:
        shutil.rmtree(store, ignore_errors=True)
    files = sum(path.is_file() for path in output.rglob("*")) - sum(path.is_file() for path in store.rglob("*"))
    unverified = tuple(archive.name for archive in archives if archive.checksum is None)
    write_json(
        output / RECEIPT,
        {
            "format": 1,
            "name": entry.name,
            "home": entry.home,
            "cite": entry.citation,
            "licence": entry.licence,
            "accepted": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": files,
            "archives": [{"url": archive.url, "checksum": archive.checksum} for archive in archives],
        },
    )
    return Downloaded(output, files, unverified)


def _receipt(entry: PublicSet, output: Path) -> Downloaded | None:
    path = output / RECEIPT
    if not path.exists():
        return None
    receipt = read_json(path)
    if not isinstance(receipt, dict) or receipt.get("name") != entry.name:
        raise UserError(f"{output}: holds another download; choose another folder (--output)")
    return Downloaded(output, int(receipt.get("files", 0)), fresh=False)


def _refuse_other_things(entry: PublicSet, output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: a file is there; choose another folder (--output)")
    if output.exists() and any(output.iterdir()) and not (output / "archives").is_dir():
        raise UserError(f"{output}: the folder is not empty; choose another one for {entry.name} (--output)")


def _of_zenodo(entry: PublicSet) -> tuple[Archive, ...]:
    url = f"{_ZENODO}/{entry.zenodo}"
    record: Any = fetch_json(url)
    try:
        files = [
            Archive(str(file["links"]["self"]), str(file["key"]), int(file["size"]), str(file["checksum"]))
            for file in record["files"]
        ]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{url}: the record does not list its files as expected; fetch them by hand") from None
    for file in files:
        safe = file.name not in ("", "..") and PurePosixPath(file.name).name == file.name
        if not safe or not file.url.startswith("https://zenodo.org/"):
            raise UserError(f"{url}: the record names a file {file.name!r} at {file.url}; not fetched")
    return tuple(files)


def _telling(watch: Watch, name: str) -> Callable[[int, int | None], None]:
    return lambda so_far, total: watch(name, so_far, total)


def _stem(name: str) -> str:
    """The folder an archive unpacks into, or the file as it is: ``a.tar.gz`` -> ``a``, ``x.npz`` -> ``x.npz``."""
    for suffix in (".tar.gz", ".tgz", ".tar", ".zip"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _place(path: Path, target: Path) -> None:
    if target.name == path.name:  # not an archive to us: NPZ, CSV
        path.replace(target)
        return
    if not is_archive(path):
        path.unlink()
        raise UserError(f"{path}: not an archive but something else (a page that asks to sign in?); removed, try again")
    unpack(path, target)
