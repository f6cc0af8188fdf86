"""What the reports of segmentation and classification share: sections, numbers, confusion, manifest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.page import Markup, document, element, table

__all__ = ["NONE", "confusion", "document_of", "manifest_table", "notes_list", "number", "number_range", "published"]

NONE = "–"
"""Stands for an undefined number."""


def document_of(
    title: str, subtitle: Markup, before: Sequence[Markup], sections: Sequence[tuple[str, Markup | None]]
) -> str:
    """Return a whole page: title, what comes ``before`` the links to the sections, and the sections with content."""
    shown = [(f"s{index}", name, content) for index, (name, content) in enumerate(sections) if content]
    links = [element("li", element("a", name, href=f"#{key}")) for key, name, _ in shown]
    return document(
        title,
        element("header", element("h1", title), subtitle),
        *before,
        element("nav", element("ul", *links), aria_label="Sections"),
        *(element("section", element("h2", name), content, id=key) for key, name, content in shown),
    )


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Write a number, a dash for ``None`` and NaN."""
    if value is None or math.isnan(value):
        return NONE
    value = round(value, digits) + 0.0  # no negative zero
    sign = "+" if signed and value else ""
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def number_range(ends: Sequence[float | None], digits: int = 3, *, signed: bool = False) -> str:
    """Write an interval."""
    low, high = (number(end, digits, signed=signed) for end in ends)
    return f"[{low}, {high}]" if ends[0] is not None else "no interval"


def notes_list(notes: Sequence[str]) -> Markup:
    """Show what a reader must be told."""
    return element("ul", *(element("li", note) for note in notes), class_="notes") if notes else Markup("")


def published(facts: Mapping[str, Any] | None, beside: str, key: str) -> Markup | None:
    """Show the figures of a preset, each beside the number of ours that bears the same name.

    Args:
        facts: ``published`` of a summary.
        beside: Header of our number.
        key: Of our number in each figure.
    """
    if facts is None:
        return None
    rows = [
        [
            f"{figure['name']} ({figure['unit']})" if figure["unit"] else figure["name"],
            number(figure["value"]),
            number(figure[key]),
            f"{figure['n']}" + (f" ({figure['n_undefined']} left out)" if figure["n_undefined"] else ""),
            element("span", figure["definition"]),
        ]
        for figure in facts["figures"]
    ]
    headers = ["metric", "as published", beside, "n", "definition of “as published”"]
    remarks = element("ul", *(element("li", remark) for remark in facts["remarks"]))
    caption = f"Preset {facts['preset']}: {facts['source']}"
    return element("div", table(headers, rows, caption=caption), remarks, class_="words")


def confusion(counts: NDArray[np.int64], classes: Sequence[str], *, caption: str, digits: int) -> Markup:
    """Show a confusion matrix.

    Args:
        counts: ``(K, K)``, true class by predicted class; each cell shows its share of the row, and the count below.
        classes: Names.
        caption: Of the table.
        digits: Of the shares, in per cent.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    rows = []
    for k, name in enumerate(classes):
        cells = []
        for count, share in zip(counts[k], shares[k], strict=True):
            style = f"background:rgba(47,129,247,{0.55 * share:.3f});display:block;border-radius:4px;padding:2px 6px"
            text = f"{100 * share:.{digits}f} %" if totals[k] else NONE
            cells.append(element("span", text, element("small", f"{count:,}"), style=style))
        rows.append([name, *cells])
    return element("div", table(["true class", *classes], rows, caption=caption), class_="confusion")


def manifest_table(manifest: Mapping[str, Any]) -> Markup | None:
    """Show any nesting of plain values."""
    if not manifest:
        return None
    rows = [[str(key), _value(value)] for key, value in manifest.items()]
    return element("div", table(["entry", "value"], rows), class_="words")


def _value(value: Any) -> Markup:
    """A scalar as text; something nested behind a summary of its size."""
    if isinstance(value, Mapping | list | tuple) and value:
        text = "\n".join(_lines(value))
        block = element("pre", text)
        return block if text.count("\n") < 8 else element("details", element("summary", f"{len(value)} entries"), block)
    return element("span", value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))


def _lines(value: Any, indent: int = 0) -> Iterator[str]:
    """Write nested mappings and lists as indented ``key: value`` lines."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, entry in pairs:
        if entry and (isinstance(entry, Mapping) or (isinstance(entry, list | tuple) and _nested(entry))):
            yield f"{'  ' * indent}{key}:"
            yield from _lines(entry, indent + 1)
        else:
            yield f"{'  ' * indent}{key}: {entry if isinstance(entry, str) else json.dumps(entry, default=str)}"


def _nested(value: Sequence[Any]) -> bool:
    return any(isinstance(entry, Mapping | list | tuple) for entry in value)
