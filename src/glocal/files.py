"""Files that appear whole or not at all, and small text files read with care."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from glocal.errors import UserError

__all__ = [
    "atomic",
    "read_json",
    "read_text",
    "read_yaml",
    "require_regular_file",
    "write_json",
    "write_text",
    "writing",
]

TEXT_LIMIT = 64 * 2**20
"""Largest JSON or YAML file that is read, in bytes."""


def require_regular_file(path: str | Path) -> Path:
    """Return ``path`` if it is a readable, non-empty regular file (links are followed).

    A named pipe or device is refused before it is opened, so that reading cannot hang.

    Raises:
        UserError: It is missing, a dangling link, a folder, not a regular file, empty, or unreadable.
    """
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path}: the link points to nothing; restore the file it names or remove the link")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise UserError(f"{path}: this is a folder where a file is expected; name a file")
    if not path.is_file():
        raise UserError(f"{path}: not a regular file (a pipe, socket or device); name a file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again from its source")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: permission denied; make the file readable")
    return path


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what can go wrong while ``path`` is written (full disk, no permission) into one clear line.

    Raises:
        UserError: The disk is full, the quota exceeded, the folder read-only or missing, or the name unusable.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(f"{path}: no space left on the disk; free some or write elsewhere (--output)") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); choose another folder (--output)"
            ) from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another name (--output)") from error
        raise


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the place of ``path`` when the block ends without error.

    The folder is made when it is missing. On an error the temporary file is removed and ``path`` stays as it was.
    The temporary name keeps the suffix of ``path``, so that writers which look at it work.

    Raises:
        UserError: As :func:`writing`.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all. NaN and infinity are refused: write ``None``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file of at most ``TEXT_LIMIT`` bytes; a byte-order mark is dropped.

    Raises:
        UserError: The file is missing, not a text file, or too large.
    """
    path = require_regular_file(path)
    if path.stat().st_size > TEXT_LIMIT:
        raise UserError(f"{path}: {path.stat().st_size} bytes is too large for a settings file; is it the right file?")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file (invalid UTF-8); is it the right file?") from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: The file is missing, not a text file, too large, or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # beside JSON's own: a number of thousands of digits
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}: not valid JSON{where}; restore the file or remove it") from None


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases: a recipe needs none, and they make a small file expand without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values. Tags that build objects and aliases are refused.

    Raises:
        UserError: The file is missing, not a text file, too large, not YAML, or uses tags or aliases.
    """
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such date, too many digits
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        deep = isinstance(error, RecursionError)
        problem = getattr(error, "problem", None) or ("nested too deeply" if deep else " ".join(str(error).split()))
        raise UserError(f"{path}: not a usable YAML file{where}: {problem}; mend that line") from None
