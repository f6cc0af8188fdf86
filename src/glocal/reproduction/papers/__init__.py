"""The tables that can be done again, one file a publication."""

from __future__ import annotations

from glocal.errors import UserError, nearest
from glocal.reproduction.papers import dssaunet, hifuse, hiperformer, lmnet
from glocal.reproduction.table import PaperTable

__all__ = ["TABLES", "find_table"]

TABLES: dict[str, PaperTable] = {
    table.name: table for paper in (lmnet, hifuse, dssaunet, hiperformer) for table in paper.TABLES
}
"""By ``paper/table``."""


def find_table(name: str) -> PaperTable:
    """The table called ``paper/table``.

    Raises:
        UserError: There is none of that name; the nearest is named.
    """
    if name.lower() not in TABLES:
        hint = nearest(name.lower(), TABLES)
        raise UserError(f"no table {name!r}; use one of {', '.join(TABLES)}.{hint}")
    return TABLES[name.lower()]
