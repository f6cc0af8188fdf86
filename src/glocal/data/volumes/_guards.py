"""What every reader of volumes refuses, in one line about the file."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glocal.data.volumes.volume import Affine
from glocal.errors import UserError

__all__ = ["PLANE_LIMIT", "require_plane", "require_size", "suspicion", "usable_affine"]

PLANE_LIMIT = 89_478_485
"""Largest slice in pixels, the same as of a picture."""
_SMALLEST_MM, _LARGEST_MM = 1e-6, 1e6


@contextlib.contextmanager
def suspicion(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library raises about the content of a file becomes one line that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UserError, GeneratorExit):
        raise
    except PermissionError:
        raise UserError(f"{path}: permission denied; make the file readable") from None
    except MemoryError:
        raise UserError(f"{path}: not enough memory to read it; reduce it or free memory") from None
    except Exception as error:
        # the library's own words may quote what identifies a patient: the kind of error is enough
        raise UserError(
            f"{path}: this {kind} file is damaged or truncated ({type(error).__name__}); copy it again from its source"
        ) from None


def require_plane(path: Path, height: int, width: int) -> None:
    """Refuse slices without pixels or with absurdly many.

    Raises:
        UserError: It is so.
    """
    if height < 1 or width < 1:
        raise UserError(f"{path}: its header gives slices of {width}x{height} pixels; restore the file from its source")
    if height * width > PLANE_LIMIT:
        raise UserError(
            f"{path}: its header gives slices of {width}x{height} pixels, above the limit of {PLANE_LIMIT:,} "
            "(a damaged or hostile file); restore the file from its source"
        )


def require_size(path: Path, promised: int, there: int) -> None:
    """Refuse a file that is shorter than its header promises, before anything is allocated.

    Args:
        path: The file.
        promised: Bytes that the header asks for.
        there: Bytes that there can be.

    Raises:
        UserError: It is shorter.
    """
    if promised > there:
        raise UserError(
            f"{path}: truncated: its header promises {promised:,} bytes of voxels and at most {there:,} are there; "
            "copy it again from its source"
        )


def usable_affine(path: Path, affine: Affine, require: bool, notes: list[str]) -> tuple[Affine, bool]:
    """The affine and whether it can be: finite, every spacing above 0, axes that span space.

    Args:
        path: The file.
        affine: As the header gives it.
        require: Refuse an impossible one; otherwise it is replaced by the identity and noted.
        notes: Where to say so.

    Raises:
        UserError: It is impossible and ``require`` is set.
    """
    problem = _impossible(affine)
    if problem is None:
        return np.asarray(affine, np.float64), True
    if require:
        raise UserError(f"{path}: {problem}; restore the file, or mend a copy with 'glocal data mend'")
    notes.append(f"{problem}: its geometry is left out")
    return np.eye(4), False


def _impossible(affine: Affine) -> str | None:
    if not bool(np.isfinite(affine).all()):
        return "its header gives positions that are not finite"
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    for axis, length in zip("xyz", lengths, strict=True):
        if not _SMALLEST_MM < length < _LARGEST_MM:
            return f"its header gives a spacing of {length:g} mm along {axis}"
    if abs(float(np.linalg.det(affine[:3, :3] / lengths))) < 1e-3:
        return "the axes in its header lie in one plane"
    return None
