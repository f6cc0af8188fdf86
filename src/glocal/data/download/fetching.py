"""One file over HTTP: continued where it stopped, and taken only if it is what it should be."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from glocal.data.download.catalogue import Archive
from glocal.errors import UserError
from glocal.files import writing

__all__ = ["Progress", "fetch", "fetch_json", "verify"]

Progress: TypeAlias = Callable[[int, int | None], None]
"""``(bytes so far, bytes in all or None)``."""

ATTEMPTS = 4
PAUSE_S = 1.0
TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_JSON_LIMIT = 1 << 22
_AGENT = "glocal (https://pypi.org/project/glocal)"
_MARGIN = 1 << 26  # bytes that stay free on the disk


@dataclass
class _Part:
    """A file that has been begun, and what tells whether the server still has the same one."""

    path: Path

    @property
    def facts(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def have(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """The ETag or date of the copy that was begun, if it came from ``url``."""
        try:
            facts = json.loads(self.facts.read_text(encoding="utf-8"))
            validator = facts["validator"] if facts["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return validator if isinstance(validator, str) else None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.facts.unlink(missing_ok=True)


def fetch_json(url: str) -> Any:
    """What a server answers as JSON.

    Raises:
        UserError: It does not answer, or with something else.
    """
    try:
        with urllib.request.urlopen(_request(url), timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read(_JSON_LIMIT))
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: the server answers {error.code} ({error.reason}); look at the makers' page") from None
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{url}: no answer ({_reason(error)}); check the network and try again") from None
    except ValueError:
        raise UserError(f"{url}: the answer is not JSON; the service has changed, or a proxy answers for it") from None


def fetch(archive: Archive, target: Path, progress: Progress | None = None) -> Path:
    """Fetch a file to ``target``. What an interrupted attempt has left in ``target.part`` is continued.

    Args:
        archive: Address, size and checksum.
        target: The file; one that is there already is checked, and fetched only if it is not right.
        progress: Called with the bytes so far and in all.

    Raises:
        UserError: No connection after several attempts (what has come stays), an error of the server, too little space
            on the disk, or a file of another size or checksum (which is removed).
    """
    if target.exists() and archive.checksum in (None, _digest(target, archive.checksum or "md5:")):
        return target  # it had its name only once it was whole
    part = _Part(target.with_name(target.name + ".part"))
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _continue(archive, part, progress)
                break
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
                    raise  # the disk, not the network
                if attempt == ATTEMPTS:
                    raise UserError(
                        f"{archive.url}: interrupted after {part.have:,} bytes ({_reason(error)}); "
                        "the same command goes on from there"
                    ) from None
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
        verify(archive, part.path, remove=part.remove)
        part.path.replace(target)
        part.remove()
    return target


def verify(archive: Archive, path: Path, remove: Callable[[], None]) -> None:
    """Hold a fetched file against the size and checksum it should have.

    Args:
        archive: What it should be.
        path: The file.
        remove: Called before a wrong file is refused, so that it is not continued.

    Raises:
        UserError: It is another file.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        remove()
        raise UserError(
            f"{archive.url}: {size:,} bytes where {archive.size:,} are expected; removed. The makers may have changed "
            "the file: look at their page, and report it to us"
        )
    if archive.checksum is None:
        return
    found = _digest(path, archive.checksum)
    if found != archive.checksum:
        remove()
        raise UserError(
            f"{archive.url}: wrong checksum ({found}, expected {archive.checksum}); removed. Try again; if it happens "
            "twice the file was changed: look at the makers' page, and report it to us"
        )


def _continue(archive: Archive, part: _Part, progress: Progress | None) -> None:
    """Ask for what is missing; begin anew where the server has another file by now, or cannot continue."""
    validator = part.validator(archive.url)
    if validator is None:
        part.remove()
    have = part.have
    if archive.size is not None and have == archive.size:
        return
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    try:
        answer = urllib.request.urlopen(_request(archive.url, headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing, or the file is shorter now: the checksum will say
            return
        if error.code >= 500 or error.code == 429:
            raise ConnectionError(f"the server answers {error.code} ({error.reason})") from None
        raise UserError(
            f"{archive.url}: the server answers {error.code} ({error.reason}); the makers may have moved the file: "
            "look at their page"
        ) from None
    with answer:
        if answer.status != 206:
            have = 0
        _receive(archive, part, answer, have, progress)


def _receive(archive: Archive, part: _Part, answer: Any, have: int, progress: Progress | None) -> None:
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else archive.size
    if archive.size is not None and total is not None and total != archive.size:
        part.remove()
        raise UserError(
            f"{archive.url}: the server offers {total:,} bytes where {archive.size:,} are expected; the makers may "
            "have changed the file: look at their page, and report it to us"
        )
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - have > free - _MARGIN:
        raise UserError(
            f"{part.path.parent}: {total - have:,} bytes are to come and {free:,} are free; free some, or choose "
            "another folder (--output)"
        )
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    weak = validator is None or validator.startswith("W/")
    part.facts.write_text(json.dumps({"url": archive.url, "validator": None if weak else validator}), encoding="utf-8")
    with part.path.open("ab" if have else "wb") as stream:
        while chunk := answer.read(_CHUNK):
            stream.write(chunk)
            have += len(chunk)
            if archive.size is not None and have > archive.size:
                break  # a server that sends without end
            if progress is not None:
                progress(have, total)
    if total is not None and have < total:
        raise ConnectionError("the connection was closed early")


def _request(url: str, headers: dict[str, str] | None = None) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"User-Agent": _AGENT, **(headers or {})})


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    return " ".join(str(inner if inner else error).split()) or type(error).__name__


def _digest(path: Path, like: str) -> str:
    """``"sha256:…"`` of a file, by the algorithm that ``like`` names."""
    algorithm = like.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return f"{algorithm}:{digest.hexdigest()}"
