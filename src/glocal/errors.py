"""What a user can mend, said in one line; and optional packages that say how to get them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TypeVar

__all__ = ["UserError", "counted", "lookup", "nearest", "optional_import"]

V = TypeVar("V")


class UserError(ValueError):
    """Something the user can mend. Its message says what is wrong, in which file, and what to do.

    The command line prints the message as one line and exits with code 2.
    """


def counted(number: int, what: str) -> str:
    """Return ``"1 image"`` or ``"2 images"`` for the noun ``what`` in the singular."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest of ``candidates``, or an empty string.

    Args:
        word: What was given.
        candidates: What would have been right.
    """
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def lookup(what: str, name: str, table: Mapping[str, V]) -> V:
    """The entry of ``table`` called ``name``.

    Args:
        what: What the entries are, before the name in the message: ``"evaluation preset {} is unknown"``.
        name: What was asked for.
        table: What there is.

    Raises:
        UserError: There is no such entry; the message lists them and names the nearest.
    """
    if name not in table:
        raise UserError(f"{what.format(repr(name))}; use one of {', '.join(table)}.{nearest(name, table)}")
    return table[name]


def optional_import(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say which extra of Glocal brings it.

    Args:
        module: Dotted name, such as ``"lightning.pytorch"``.
        extra: The extra of this package that installs it, such as ``"train"``.

    Raises:
        UserError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise UserError(f"{top} is not installed; it is needed here: pip install 'glocal[{extra}]'") from None
