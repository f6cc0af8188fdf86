"""The report of a preparation, to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from glocal.errors import counted

__all__ = ["markdown"]

SHOWN = 500
"""Cases in the table; the JSON file holds all."""


def markdown(report: Mapping[str, Any]) -> str:
    """The report in Markdown: what was converted, what changed, what was left out, and where each case went."""
    cases, asked = report["cases"], report["asked"]
    lines = [
        f"# {report['title']}",
        "",
        f"{counted(len(cases), 'case')} converted from `{asked['source']}` to "
        + ("nnU-Net's raw format." if asked["to"] == "nnunet" else "a plain folder."),
        "",
    ]
    if report["classes"]:
        lines += [f"Classes: {', '.join(f'{i} {name}' for i, name in enumerate(report['classes']))}.", ""]
    lines += _section("Understood", report["notes"])
    lines += _section("Changed in the set", report["changes"])
    changes = Counter(change for case in cases for change in case["changes"])
    lines += _section(
        "Changed in cases", [f"{counted(number, 'case')}: {what}" for what, number in changes.most_common(40)]
    )
    lines += _section(f"Left out ({len(report['left_out'])})", report["left_out"])
    lines += ["## Cases", "", "| from | to | changed |", "|---|---|---|"]
    for case in cases[:SHOWN]:
        sources = case["sources"][:2] + ["…"] * (len(case["sources"]) > 2)
        cells = ["<br>".join(sources), "<br>".join(case["targets"]), "; ".join(case["changes"])]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    if len(cases) > SHOWN:
        lines += ["", f"… and {len(cases) - SHOWN} more in prepare-report.json."]
    return "\n".join(lines) + "\n"


def _section(title: str, points: list[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {point}" for point in points), ""] if points else []
