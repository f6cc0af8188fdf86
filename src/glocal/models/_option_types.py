"""Whether the options given to a network are of the kinds that its class declares."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["wrong_kind"]


def wrong_kind(make: Callable[..., object], options: Mapping[str, Any]) -> str | None:
    """What is wrong with the first option that is not of its declared kind, in half a sentence; None: nothing.

    Numbers must be finite, and true is not 1. Which of the names of a ``Literal`` it is, is left to the class, which
    knows better what to say.

    Args:
        make: A network's class.
        options: By name; those that the class does not declare are passed over.
    """
    if isinstance(make, type):
        make = next(vars(base)["__init__"] for base in make.__mro__ if "__init__" in vars(base))
    declared = get_type_hints(make)
    for option, value in options.items():
        kind = declared.get(option, Any)
        if not _is(value, kind):
            return f"{option} is {value!r}; it must be {_words(kind)}"
    return None


def _is(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_is(value, one) for one in arguments)
    if origin is Literal:
        return any(isinstance(value, type(name)) for name in arguments)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_is(item, arguments[0]) for item in value)
    if origin is not None:
        return not isinstance(origin, type) or isinstance(value, origin)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, arguments)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is Sequence:
        return f"a list (each item {_words(arguments[0])})"
    if origin is not None and issubclass(origin, Mapping):
        return "a mapping"
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", types.NoneType: "null"}
    return plain.get(kind, str(kind))
