"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from glocal.errors import UserError
from glocal.files import writing

__all__ = ["require_free", "staged_folder"]


def require_free(folder: str | Path) -> Path:
    """Return ``folder`` if nothing would be overwritten there: it is missing, or an empty folder.

    Raises:
        UserError: It is a file, or holds something.
    """
    folder = Path(folder)
    if folder.is_dir():
        if any(folder.iterdir()):
            raise UserError(f"{folder}: the folder is not empty; name a new one or empty it first")
    elif folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: a file of that name is in the way; name another folder")
    return folder


@contextlib.contextmanager
def staged_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; it becomes ``folder`` when the block ends without error.

    On an error it is removed, and ``folder`` stays missing or empty.

    Raises:
        UserError: As :func:`glocal.files.writing`; also when ``folder`` is filled in the meantime.
    """
    target = Path(folder).resolve()
    with writing(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        try:
            yield staging
            umask = os.umask(0)
            os.umask(umask)
            staging.chmod(0o777 & ~umask)
            if target.is_dir():
                require_free(target).rmdir()
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
