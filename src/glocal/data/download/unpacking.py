"""Archives from strangers: nothing outside the folder, no links, no devices, no bombs."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from glocal.errors import UserError, counted
from glocal.files import writing

__all__ = ["unpack"]

LIMIT = 200 * 2**30
"""Most bytes an archive may unpack to."""
RATIO = 200
"""Most bytes that one byte of an archive may unpack to; images and volumes stay below 20."""
FILES = 2_000_000
_CHUNK = 1 << 18
_ALWAYS = 1 << 24  # bytes that are unpacked whatever the ratio


@dataclass
class _Member:
    name: str
    size: int
    stream: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether a file is one that :func:`unpack` takes, by its content."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except EOFError:  # a compressed one that is cut off
        return True


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a ZIP or TAR file into ``folder``, which is made; a broken archive leaves nothing.

    Args:
        archive: The file.
        folder: Must not exist.

    Returns:
        How many files there were.

    Raises:
        UserError: It is truncated or damaged, or holds names that lead outside the folder, links, devices, two files
            of one name, encrypted files, or more than the limits allow.
    """
    staging = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with writing(folder):
            staging.mkdir(parents=True)
            number = _unpack_to(archive, staging)
            staging.replace(folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        what = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive}: damaged or truncated ({what}); remove it and fetch it again") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return number


def _unpack_to(archive: Path, staging: Path) -> int:
    members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
    allowed = min(LIMIT, max(_ALWAYS, RATIO * archive.stat().st_size))
    total = number = 0
    for member in members:
        number += 1
        if number > FILES:
            raise UserError(f"{archive}: more than {counted(FILES, 'file')}; this is no data set we know: not unpacked")
        target = _inside(archive, staging, member.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise UserError(f"{archive}: {member.name!r} is in it twice; not unpacked")
        with target.open("wb") as stream:
            while chunk := member.stream.read(_CHUNK):
                total += len(chunk)
                if total > allowed:
                    raise UserError(
                        f"{archive}: unpacks to more than {allowed:,} bytes, far more than images do: taken for a "
                        "bomb, not unpacked"
                    )
                stream.write(chunk)
        if target.stat().st_size != member.size:
            raise EOFError(f"{member.name!r} is shorter than it says")
    if not number:
        raise UserError(f"{archive}: nothing in it; remove it and fetch it again")
    return number


def _inside(archive: Path, staging: Path, name: str) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise UserError(f"{archive}: {name!r} leads outside the folder; not unpacked")
    return staging.joinpath(*path.parts)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or kind == stat.S_IFDIR:
                continue
            if kind not in (0, stat.S_IFREG):
                raise UserError(f"{archive}: {info.filename!r} is a link or device; not unpacked")
            if info.flag_bits & 1:
                raise UserError(f"{archive}: {info.filename!r} is encrypted; unpack it yourself with its password")
            with opened.open(info) as stream:
                yield _Member(info.filename, info.file_size, stream)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                continue
            if not info.isreg():
                raise UserError(f"{archive}: {info.name!r} is a link or device; not unpacked")
            stream = opened.extractfile(info)
            assert stream is not None
            with stream:
                yield _Member(info.name, info.size, stream)
