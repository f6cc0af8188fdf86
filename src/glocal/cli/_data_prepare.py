"""``glocal data prepare`` and ``glocal data mend``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.data.prepare import Preparation

__all__ = ["mend", "prepare"]

SHOWN = 10
"""Cases left out, and kinds of changes, that are printed; the report lists all."""

_LAYOUTS = (
    "nnunet, synapse, acdc, psfhs, iugc2024, jnu-ifm, hc18, medmnist, isic2018, lgg, busi, kvasir, volumes, plain"
)


def prepare(arguments: list[str]) -> None:
    """Run ``glocal data prepare`` with the words after it."""
    parser = Parser(
        "data prepare",
        "Convert a data set as its makers distribute it into a plain folder (images, masks, cases.csv, classes.txt) or "
        "nnU-Net's raw format. Labels become class indices, pixel and voxel values stay as they are, and "
        "prepare-report.md says what changed. DIR is only read. Interrupted, the same command goes on where it was. "
        "Exit code 2 if cases had to be left out, unless --skip_broken; the others are there.",
        """
        glocal data prepare Synapse synapse-plain
        glocal data prepare PSFHS psfhs && glocal data inspect psfhs --contact_sheet psfhs.png
        glocal data prepare breastmnist.npz breast
        glocal data prepare Dataset007_Brain brain --channel T1
        glocal data prepare polyps Dataset500_Polyps --to nnunet
        glocal data prepare scans scans-mended --mend              # the same as: glocal data mend scans scans-mended
        """,
    )
    _common(parser)
    parser.add_argument("--layout", type=str | None, help=f"what DIR is, one of {_LAYOUTS}; default: recognised")
    parser.add_argument("--to", type=Literal["plain", "nnunet"], default="plain", help="what to write")
    parser.add_argument("--channel", type=str | None, help="name or number of the channel to take of several (nnU-Net)")
    parser.add_argument(
        "--mend", action="store_true", help="mend what can be mended safely: see glocal data mend --help"
    )
    given = parser.parse_args(arguments)
    _run(given, given.layout, given.to, given.channel, given.mend)


def mend(arguments: list[str]) -> None:
    """Run ``glocal data mend`` with the words after it."""
    parser = Parser(
        "data mend",
        "Write a mended copy of a data set. Mended are: masks of 0 and 255, colours or whole floating-point numbers "
        "(class indices), a mask stored along other axes than its volume (turned), a position in space that one of the "
        "two has lost (that of the other), one patient in several parts of a split (put into one), equal images in "
        "several groups (given one). What cannot be mended safely is left out and explained. DIR is only read.",
        """
        glocal data mend scans scans-mended
        glocal data mend scans scans-mended --json | jq .changes
        """,
    )
    _common(parser)
    given = parser.parse_args(arguments)
    _run(given, None, "plain", None, True)


def _common(parser: Parser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data set")
    parser.add_argument("output", type=Path, metavar="OUT", help="where to write; must not exist or be empty")
    parser.add_argument("--skip_broken", action="store_true", help="exit code 0 even if cases had to be left out")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _run(given: Any, layout: str | None, to: Literal["plain", "nnunet"], channel: str | None, mending: bool) -> None:
    from glocal.cli.data import progress_bar
    from glocal.data.prepare import prepare

    with progress_bar("preparing") as progress:
        done = prepare(
            given.folder, given.output, layout=layout, to=to, channel=channel, mend=mending, progress=progress
        )
    if given.json:
        print(json.dumps(done.report, indent=2, ensure_ascii=False))
    else:
        _print(done)
    if done.left_out and not given.skip_broken:
        raise UserError(
            f"{given.folder}: {counted(len(done.left_out), 'case')} left out; prepare-report.md in {done.folder} lists "
            "them (--skip_broken accepts that)"
        )


def _print(done: Preparation) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    report = done.report
    before = done.cases - done.fresh
    kept = f" ({before} were there already)" if before else ""
    console.print(
        f"[bold]{escape(report['title'])}[/bold]: {counted(done.cases, 'case')} in {escape(str(done.folder))}{kept}"
    )
    for note in [*report["notes"], *report["changes"]]:
        console.print(f"  {escape(note)}")
    changes = Counter(change for case in report["cases"] for change in case["changes"])
    for what, number in changes.most_common(SHOWN):
        console.print(f"  {counted(number, 'case')}: {escape(what)}")
    for line in done.left_out[:SHOWN]:
        console.print(f"  [yellow]left out:[/] {escape(line)}")
    if len(done.left_out) > SHOWN:
        console.print(f"  [yellow]left out:[/] {len(done.left_out) - SHOWN} more")
    console.print("  what changed, case by case: prepare-report.md")
