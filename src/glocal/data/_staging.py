"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from glocal.errors import UserError

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
def staged_folder(folder: str | Path, *, yield_to_other: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; it becomes ``folder`` when the block ends without error.

    On an error it is removed, and ``folder`` stays as it was. A killed process leaves a folder ``.partial-…`` behind,
    which nothing takes for a whole one.

    Args:
        folder: Missing, or empty.
        yield_to_other: If another process has filled ``folder`` in the meantime, keep what it made and drop ours.

    Raises:
        OSError: As the operating system says; wrap it with :func:`glocal.files.writing`.
        UserError: ``folder`` was filled in the meantime, and ``yield_to_other`` is false.
    """
    target = Path(folder).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        yield staging
        umask = os.umask(0)
        os.umask(umask)
        staging.chmod(0o777 & ~umask)
        try:
            if target.is_dir():
                target.rmdir()
            staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not yield_to_other:
                require_free(target)
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
