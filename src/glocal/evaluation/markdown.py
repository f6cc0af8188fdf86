"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["pipe_table"]


def pipe_table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table with bars; what is in the cells is Markdown already.

    Args:
        header: Names of the columns.
        lines: As many cells each.
        left: Columns at the beginning that are words; the others are numbers, and stand on the right.
    """
    rule = [*["---"] * left, *["---:"] * (len(header) - left)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *lines))
