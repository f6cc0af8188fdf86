"""The folder of an evaluation: whole or not at all, and never in place of something else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from glocal.data._staging import staged_folder
from glocal.errors import UserError
from glocal.files import writing

__all__ = ["require_free", "write_folder"]

_OURS = {"cases.csv", "summary.json", "report.html", "preset.csv"}


def require_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, except an evaluation that may be overwritten.

    Raises:
        UserError: It is a file, holds other files, or an evaluation and ``overwrite`` is false.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder}: not a folder; choose another --output")
    inside = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if inside - _OURS:
        raise UserError(f"{folder}: holds other files ({min(inside - _OURS)}); choose another --output")
    if inside and not overwrite:
        raise UserError(f"{folder}: an evaluation is there already; --overwrite replaces it")


def write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a folder beside ``folder``, which then takes its place.

    Raises:
        UserError: It cannot be written; ``folder`` stays as it was.
    """
    aside = folder.with_name(f".replaced-{folder.name}")
    with writing(folder):
        try:
            with staged_folder(folder) as staging:
                write(staging)
                if folder.exists():
                    shutil.rmtree(aside, ignore_errors=True)
                    folder.rename(aside)
        except BaseException:
            if aside.exists() and not folder.exists():
                aside.rename(folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)
