"""``glocal data inspect``: what a folder holds and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli._parser import Parser
from glocal.cli.data import TASK_HELP, Task, progress_bar
from glocal.data import open_dataset
from glocal.data.distributed import recognise
from glocal.data.inspect import inspect_dataset
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from glocal.data.cases import Dataset
    from glocal.data.distributed import Distribution
    from glocal.data.inspect import ClassCount, Finding, Inspection
    from glocal.data.inspect_volumes import VolumeInspection

__all__ = ["run"]

SHOWN = 5
"""Findings of one kind, and files of one finding, that are printed; --json lists all."""


COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def run(arguments: list[str]) -> None:
    """Run ``glocal data inspect`` with the words after it."""
    parser = Parser(
        "data inspect",
        "Say what a folder of images or volumes holds (layout, classes, sizes, spacing, groups) and everything "
        "suspicious about it, with a cure. A data set as its makers distribute it (nnU-Net, Synapse, ACDC, PSFHS, IUGC "
        "2024, JNU-IFM, HC18, MedMNIST) is named with the command that converts it. Otherwise every file is read; "
        "nothing is changed. Exit code 0 if there is at least one usable case, whatever else "
        "was found; 2 if nothing was recognised or nothing can be used.",
        """
        glocal data inspect polyps
        glocal data inspect polyps --contact_sheet polyps.png     # then look at it
        glocal data inspect breast --task classification          # masks, and classes in cases.csv
        glocal data inspect polyps --json | jq '.findings[] | select(.severity == "error")'
        glocal data inspect -- -odd-name                          # a name that begins with a dash
        """,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data set")
    parser.add_argument("--task", type=Task | None, help=TASK_HELP)
    parser.add_argument("--splits", type=Path, help="check this splits.json, too; default: the one in DIR, if any")
    parser.add_argument("--contact_sheet", type=Path, help="write images with their masks drawn in to this PNG or JPEG")
    parser.add_argument("--tiles", type=int, default=24, help="most images on the contact sheet")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args(arguments)

    found = recognise(given.folder) if given.task is None and given.splits is None else None
    if found is not None and not found.readable:
        _show_distribution(found, given.json)
    elif found is not None and found.kind == "volumes":
        _inspect_volumes(given.folder, given.json)
        if given.contact_sheet is not None:
            _sheet(open_dataset(given.folder), given.contact_sheet, given.tiles, given.json)
    else:
        _inspect_pictures(given)


def _inspect_pictures(given: Any) -> None:
    with progress_bar("reading images and masks") as progress:
        inspection = inspect_dataset(given.folder, given.splits, progress, given.task)
    if given.json:
        print(json.dumps(inspection.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_inspection(inspection)
    if given.contact_sheet is not None:
        _sheet(inspection.dataset, given.contact_sheet, given.tiles, given.json)
    if not inspection.usable:
        raise UserError(f"{given.folder}: none of its {inspection.cases} cases can be used; mend the errors found")


def _sheet(dataset: Dataset, path: Path, tiles: int, quiet: bool) -> None:
    from glocal.data.contact_sheet import write_contact_sheet

    shown, _ = write_contact_sheet(dataset, path, tiles)
    if not quiet:
        print(f"\ncontact sheet of {counted(shown, 'case')}: {path}")


def _show_distribution(found: Distribution, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    if as_json:
        facts = {"layout": found.name, "title": found.title, "task": found.task, "kind": found.kind}
        record = {"format": 1, "root": str(found.root), **facts, "found": found.found, "command": found.command}
        print(json.dumps(record, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    console.print(f"[bold]{escape(str(found.root))}[/bold]: {escape(found.title)} (layout {found.name})")
    for line in found.found:
        console.print(f"  {escape(line)}")
    console.print("It has to be converted before it can be inspected further, or trained on:")
    console.print(f"  [green]{escape(found.command)}[/green]")


def _inspect_volumes(folder: Path, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from glocal.data.inspect_volumes import inspect_volumes

    with progress_bar("reading volumes and masks") as progress:
        inspection = inspect_volumes(folder, progress)
    if as_json:
        print(json.dumps(inspection.to_json(), indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False, emoji=False)
        console.print(f"[bold]{escape(str(folder))}[/bold]: segmentation, {escape(inspection.layout)}")
        console.print(_volume_facts(inspection))
        if inspection.classes:
            console.print(_class_table(inspection.classes, "volumes", "voxels"))
        _print_findings(console, inspection.findings)
    if not inspection.usable:
        raise UserError(f"{folder}: none of its {inspection.cases} volumes can be used; mend the errors found")


def _volume_facts(inspection: VolumeInspection) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    usable = "all usable" if inspection.usable == inspection.cases else f"{inspection.usable} usable"
    table.add_row("volumes", f"{inspection.cases} ({usable})")
    table.add_row("groups", str(inspection.groups))
    sizes = {f"{width}x{height}x{depth}": count for (depth, height, width), count in inspection.sizes.items()}
    table.add_row("sizes", _some(sizes))
    spacings = {
        "unknown" if mm is None else f"{mm[2]:g}x{mm[1]:g}x{mm[0]:g} mm": n for mm, n in inspection.spacings.items()
    }
    table.add_row("spacings", _some(spacings))
    table.add_row("orientations", _some(inspection.orientations))
    table.add_row("kinds", _some(inspection.kinds))
    if inspection.intensity is not None:
        low, mean, high = inspection.intensity
        table.add_row("intensity", f"{low:g} to {high:g}, mean {mean:.4g}")
    return table


def _some(counts: Mapping[str, int]) -> str:
    """The most frequent three."""
    shown = [f"{what} ({count})" for what, count in list(counts.items())[:3]]
    return ", ".join(shown) + (f" and {len(counts) - 3} more" if len(counts) > 3 else "")


def _print_inspection(inspection: Inspection) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, emoji=False)
    task = "multi-label classification" if inspection.multi_label else inspection.task
    console.print(f"[bold]{escape(str(inspection.root))}[/bold]: {task}, {escape(inspection.layout)}")
    for note in inspection.notes:
        console.print(f"  {escape(note)}")
    console.print(_facts_table(inspection))
    if inspection.classes:
        pixels = "pixels" if inspection.task == "segmentation" else None
        console.print(_class_table(inspection.classes, "cases", pixels))
    _print_findings(console, inspection.findings)


def _facts_table(inspection: Inspection) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    usable = "all usable" if inspection.usable == inspection.cases else f"{inspection.usable} usable"
    table.add_row("cases", f"{inspection.cases} ({usable})")
    if inspection.masks:
        table.add_row("masks", str(inspection.masks))
    table.add_row("groups", str(inspection.groups))
    sizes = [f"{width}x{height} ({count})" for (height, width), count in list(inspection.sizes.items())[:3]]
    more = len(inspection.sizes) - len(sizes)
    table.add_row("sizes", ", ".join(sizes) + (f" and {more} more" if more else ""))
    table.add_row("kinds", "; ".join(f"{kind} ({count})" for kind, count in inspection.kinds.items()))
    if inspection.intensity is not None:
        low, mean, high = inspection.intensity
        table.add_row("intensity", f"{low:.3f} to {high:.3f}, mean {mean:.3f}, of the full range")
    return table


def _class_table(classes: Sequence[ClassCount], cases: str, pixels: str | None) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("class", "name", header_style="bold")
    for title in (cases, *([pixels] if pixels else []), "share"):
        table.add_column(title, justify="right")
    for count in classes:
        number = [] if pixels is None else [f"{count.pixels:,}"]
        table.add_row(str(count.index), escape(count.name), str(count.cases), *number, f"{count.share:.3%}")
    return table


def _print_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not findings:
        console.print("\nnothing suspicious found")
        return
    totals = {severity: sum(finding.severity == severity for finding in findings) for severity in COLOURS}
    counts = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in totals.items() if count]
    console.print(f"\n{', '.join(counts)}:")
    table = Table.grid(padding=(0, 2, 0, 0))
    for (severity, kind), of_one_kind in groupby(findings, lambda finding: (finding.severity, finding.kind)):
        rows = list(of_one_kind)
        label = f"[{COLOURS[severity]}]{severity}[/]"
        for finding in rows[:SHOWN]:
            more = len(finding.files) - SHOWN
            files = ", ".join(finding.files[:SHOWN]) + (f" and {more} more" if more > 0 else "")
            lines = [f"{escape(kind)}: {escape(finding.message)}", f"[green]cure:[/] {escape(finding.cure)}"]
            table.add_row(label, "\n".join([lines[0], f"[dim]{escape(files)}[/]", lines[1]] if files else lines))
        if len(rows) > SHOWN:
            table.add_row(label, f"{escape(kind)}: {len(rows) - SHOWN} more (--json lists all)")
    console.print(table)
