"""The parser every command uses: jsonargparse, with errors of one line that name the nearest option."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import jsonargparse

from glocal.errors import UserError, nearest

__all__ = ["Parser"]


class Parser(jsonargparse.ArgumentParser):
    """A jsonargparse parser whose errors are :class:`~glocal.errors.UserError` with a suggestion.

    Give ``description`` and ``examples`` (real commands, printed as they are). Options may be written with hyphens or
    with underscores.
    """

    def __init__(self, command: str, description: str, examples: str, **kwargs: Any) -> None:
        super().__init__(
            prog=f"glocal {command}",
            description=description,
            epilog="examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines()),
            formatter_class=_Formatter,
            exit_on_error=False,
            allow_abbrev=False,
            **kwargs,
        )

    def parse_args(  # type: ignore[override]  # one signature in place of the base class's overloads
        self, args: Iterable[str] | None = None, namespace: Any = None, **kwargs: Any
    ) -> Any:
        """Parse the words of one command; see the class for what is forgiven."""
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        words[:end] = [self._as_defined(word) for word in words[:end]]
        return super().parse_args(words, namespace, **kwargs)

    def _as_defined(self, word: str) -> str:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in self._option_string_actions:
            return word
        same = ("--" + name[2:].replace("-", "_"), "--" + name[2:].replace("_", "-"))
        return next((option + equals + value for option in same if option in self._option_string_actions), word)

    def format_help(self, *args: Any) -> str:
        """The help text, with paths called paths."""
        return re.sub(r"<class\s+'Path'>", "path", str(super().format_help(*args)))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line, with the nearest option for one that is unknown."""
        text = " ".join(str(message).split()).replace("Parser key", "option")
        text = re.sub(r"Expected a <class '(\w+)'>", r"expected \1", text)
        text = re.sub(r"Expected a typing\.Literal\[(.*?)\]", r"expected one of \1", text)
        unknown = re.search(r"[Uu]nrecognized arguments: (\S+)", text) or re.search(
            r"(?:Key|Option|Group key|Unknown key)s?:? '?([\w.\-]+)'? (?:is )?(?:not|un)", text
        )
        known = [option for action in self._actions for option in action.option_strings]
        hint = nearest(unknown.group(1).partition("=")[0], known) if unknown else ""
        raise UserError(f"{text}.{hint} See `{self.prog} --help`") from ex


class _Formatter(jsonargparse.DefaultHelpFormatter):
    """Keeps the line breaks of the epilog's examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)
