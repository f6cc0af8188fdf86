"""An ablation as tables: the paper's lines as printed, ours beneath them, in Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glocal.ablation.counting import Counts, Entry
from glocal.ablation.declared import Ablation, Row
from glocal.benchmark.values import Values
from glocal.errors import UserError
from glocal.evaluation.markdown import pipe_table
from glocal.files import write_json, write_text

__all__ = ["FILES", "PAPER", "AblationTable", "Lines", "page"]

FORMAT = 1
"""Of ``ablation.json``."""

FILES = ("ablation.md", "ablation.csv", "ablation.json")
"""What a table is written to."""

PAPER = "the paper"
"""Whose line it is."""


Lines = list[tuple[str, ...]]
"""Rows of cells."""


@dataclass(frozen=True)
class AblationTable:
    """An ablation, counted, and where it was trained, measured.

    Attributes:
        ablation: As declared.
        entries: Of :func:`~glocal.ablation.count_ablation`.
        trained: The network that was trained; empty where none was.
        measured: Label of a row → title of a measure → what its trainings came to.
        notes: On the trainings, a sentence each.
    """

    ablation: Ablation
    entries: Sequence[Entry]
    trained: str = ""
    measured: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def counts(self) -> tuple[tuple[str, ...], Lines]:
        """Header and lines of the table of costs."""
        header = ["row", "of", "parameters", "multiply-adds"]
        if self.ablation.papers_counter:
            header.append("paper's counter")
        if self.ablation.merged:
            header += ["parameters, merged", "paper's counter, merged"]
        lines = []
        for row, entries in self._grouped():
            own: Lines = []
            if row.printed is not None and (row.printed.parameters or row.printed.multiply_adds):
                own.append((PAPER, row.printed.parameters, "", row.printed.multiply_adds, "", ""))
            own += [(entry.network, *_costs(entry.counts)) for entry in entries]
            lines += [("" if i else row.label, *line)[: len(header)] for i, line in enumerate(own)]
        return tuple(header), lines

    def figures(self) -> tuple[tuple[str, ...], Lines]:
        """Header and lines of the table of figures; no lines where there are none."""
        columns = [*self.ablation.columns]
        if self.measured:
            columns += [measure.title for measure in self.ablation.measures if measure.title not in columns]
        lines = []
        for row, entries in self._grouped():
            own = []
            if row.printed is not None and row.printed.figures:
                own.append((PAPER, *(row.printed.figures.get(column, "") for column in columns)))
            values = self.measured.get(row.label)
            if values is not None:
                ours = {measure.title for measure in self.ablation.measures}
                found = (_shown(values.get(column)) if column in ours else "" for column in columns)
                own.append((f"ours, {self._trained_for(entries)}", *found))
            lines += [("" if i else row.label, *line) for i, line in enumerate(own)]
        return ("row", "of", *columns), lines

    def remarks(self) -> list[tuple[str, str]]:
        """Label, and what the row is: its network or options, and the remark or the refusal."""
        told = []
        for row, entries in self._grouped():
            what = f"`{row.model or _options(row)}`" if row.model or row.arguments else "no options"
            remark = f"refused: {entries[0].refusal}" if entries[0].refusal else row.remark
            told.append((row.label, f"{what}; {remark}" if remark else what))
        return told

    def markdown(self, level: int = 1, told: Collection[str] = ()) -> str:
        """The table with what is to be said about it.

        Args:
            level: Of its heading.
            told: Notes that stand on the page already.
        """
        ablation = self.ablation
        height, width = self.entries[0].size
        text = [
            f"{'#' * level} `{ablation.name}`: {ablation.title}",
            f"Source: {ablation.source}. Counts are of one image of {height}×{width}.",
            *(pipe_table(*table, left=2) for table in (self.counts(), self.figures()) if table[1]),
            "\n".join(f"- **{label}**: {remark}" for label, remark in self.remarks()),
            "\n\n".join(note for note in (*ablation.notes, *self.notes) if note not in told),
        ]
        return "\n\n".join(part for part in text if part) + "\n"

    def csv(self) -> str:
        """One line for every row and network, and one for what the paper prints; numbers are plain."""
        titles = list(dict.fromkeys([*self.ablation.columns, *(m.title for m in self.ablation.measures)]))
        spread = [f"{title}{part}" for title in titles for part in ("", " sd", " n")]
        out = io.StringIO()
        writer = csv.DictWriter(
            out, ["ablation", "row", "of", "arguments", *_PLAIN, "refused", *spread], lineterminator="\n"
        )
        writer.writeheader()
        for row, entries in self._grouped():
            head = {"ablation": self.ablation.name, "row": row.label}
            if row.printed is not None:
                writer.writerow({**head, "of": PAPER, **_as_printed(row, titles)})
            for entry in entries:
                line = {**head, "of": entry.network, "arguments": _options(row), "refused": entry.refusal}
                writer.writerow({**line, **_plain(entry.counts), **self._measured_plain(entry)})
        return out.getvalue()

    def to_json(self) -> dict[str, Any]:
        """The content of ``ablation.json``."""
        return {
            "format": FORMAT,
            "ablation": self.ablation.name,
            "title": self.ablation.title,
            "source": self.ablation.source,
            "trained": self.trained or None,
            "rows": [
                {
                    "label": row.label,
                    "arguments": dict(row.arguments),
                    "remark": row.remark,
                    "paper": None
                    if row.printed is None
                    else {
                        "parameters": row.printed.parameters,
                        "multiply_adds": row.printed.multiply_adds,
                        "figures": dict(row.printed.figures),
                    },
                    "networks": [
                        {
                            "network": entry.network,
                            "size": list(entry.size),
                            "refused": entry.refusal or None,
                            **_plain(entry.counts),
                        }
                        for entry in entries
                    ],
                    "measured": {
                        title: {"mean": values.mean, "sd": values.sd, "values": list(values.of_cells)}
                        for title, values in self.measured.get(row.label, {}).items()
                    },
                }
                for row, entries in self._grouped()
            ],
            "notes": [*self.ablation.notes, *self.notes],
        }

    def write(self, folder: str | Path) -> None:
        """Write :data:`FILES`.

        Raises:
            UserError: The folder is a file, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: a file where a folder should go; choose another --output")
        write_text(folder / FILES[0], self.markdown())
        write_text(folder / FILES[1], self.csv())
        write_json(folder / FILES[2], self.to_json())

    def _grouped(self) -> list[tuple[Row, list[Entry]]]:
        return [(row, [entry for entry in self.entries if entry.row is row]) for row in self.ablation.rows]

    def _trained_for(self, entries: Sequence[Entry]) -> str:
        """The network that was trained for a row: its own, or that of the ablation."""
        return entries[0].row.model or self.trained

    def _measured_plain(self, entry: Entry) -> dict[str, Any]:
        if entry.network != self._trained_for([entry]):
            return {}
        plain: dict[str, Any] = {}
        for title, values in self.measured.get(entry.row.label, {}).items():
            sd = "" if values.sd is None else values.sd
            plain |= {title: values.mean, f"{title} sd": sd, f"{title} n": len(values.of_cells)}
        return plain


_PLAIN = (
    "parameters",
    "multiply_adds",
    "papers_parameters",
    "papers_multiply_adds",
    "merged_parameters",
    "merged_multiply_adds",
    "merged_papers_multiply_adds",
)


def _plain(counts: Counts | None) -> dict[str, int | None]:
    """The counts by the names of :data:`_PLAIN`; None where there is none."""
    found: dict[str, int | None] = dict.fromkeys(_PLAIN)
    if counts is not None:
        found |= {"parameters": counts.parameters, "multiply_adds": counts.multiply_adds}
        if counts.papers is not None:
            found |= {"papers_parameters": counts.papers.parameters}
            found |= {"papers_multiply_adds": counts.papers.multiply_adds}
        if counts.merged is not None:
            found |= {
                f"merged_{name}": value for name, value in _plain(counts.merged).items() if f"merged_{name}" in _PLAIN
            }
    return found


def _costs(counts: Counts | None) -> tuple[str, ...]:
    """Parameters, multiply-adds, the paper's counter, and two of the merged form, as the table shows them."""
    if counts is None:
        return ("refused", "", "", "", "")
    papers = _g(counts.papers.multiply_adds) if counts.papers is not None else ""
    merged = ("", "")
    if counts.merged is not None and counts.merged.papers is not None:
        merged = (f"{counts.merged.parameters:,}", _g(counts.merged.papers.multiply_adds))
    return (f"{counts.parameters:,}", _g(counts.multiply_adds), papers, *merged)


def _shown(values: Values | None) -> str:
    """What was measured; a dash where it is undefined."""
    return "–" if values is None else str(values)


def _g(number: int) -> str:
    return f"{number / 1e9:.3f} G"


def _as_printed(row: Row, titles: Sequence[str]) -> dict[str, Any]:
    """What the paper prints, as plain numbers; ``±`` becomes two columns."""
    assert row.printed is not None
    plain: dict[str, Any] = {
        "parameters": _number(row.printed.parameters),
        "papers_multiply_adds": _number(row.printed.multiply_adds),
    }
    for title in titles:
        if title in row.printed.figures:
            mean, _, sd = row.printed.figures[title].partition("±")
            plain |= {title: mean, f"{title} sd": sd}
    return plain


def _number(printed: str) -> int | str:
    """``"5.45 M"`` -> 5450000; nothing stays nothing."""
    if not printed:
        return ""
    value, unit = printed.split()
    return round(float(value) * {"M": 1e6, "G": 1e9}[unit])


def _options(row: Row) -> str:
    """As they are written in JSON: ``gft="none" lft=false``."""
    return " ".join(f"{name}={json.dumps(value)}" for name, value in row.arguments.items())


def page(tables: Sequence[AblationTable]) -> str:
    """One table as a page of its own; several beneath each other, with what several have in common said once."""
    if len(tables) == 1:
        return tables[0].markdown()
    told: set[str] = set()
    parts = ["# Ablations: what the rows cost\n", _INTRODUCTION]
    for table in tables:
        parts.append(table.markdown(2, told))
        told |= {*table.ablation.notes, *table.notes}
    return "\n".join(parts)


_INTRODUCTION = """\
Written by `glocal ablate --all --counts-only --markdown`. Lines of *the paper* are its figures as printed; the lines of
a network are counted here: parameters, true multiply-adds of one image, and, where it is known which counter a paper
used, multiply-adds by that counter, its errors included. Options are those of `glocal.create_model`.
[How to run an ablation](../guides/ablate.md).
"""
