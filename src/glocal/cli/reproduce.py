"""``glocal reproduce``: a table of a publication, by its protocol and by an honest one."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._grid_options import seeds, settings, words
from glocal.cli._parser import Parser
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.reproduction import PaperTable, Reproduction

__all__ = ["run"]


def _parser() -> Parser:
    parser = Parser(
        "reproduce",
        "Do a table of a publication again: its protocol to the letter (split, size, recipe, metrics), and beside it "
        "an honest one (groups kept together, the epoch chosen on validation cases, metrics at the size of the "
        "images). Writes a page with the publication's figures, ours, and why they may differ. Interrupted, the same "
        "command goes on. Without a table, lists them.",
        """
        glocal reproduce
        glocal reproduce lmnet/table1                                    # what it would do
        glocal reproduce lmnet/table1 --data Kvasir-SEG
        glocal reproduce lmnet/table1 --data Kvasir-SEG --models LM-Net,U-Net --seeds 1 --dry-run
        glocal reproduce dssaunet/psfhs --data PSFHS --set train.epochs=40 --protocol honest
        glocal reproduce hiperformer/synapse --data synapse --engine slurm --cell_gpus 1
        """,
    )
    add = parser.add_argument
    add("table", type=str, nargs="?", metavar="PAPER/TABLE", help="the table; default: list them")
    add("--data", type=str, metavar="DIR", help="the data set, as distributed or prepared; default: explain the table")
    add("--models", type=str, help="rows of the table or registered names, with commas between them (default: all)")
    add("--seeds", type=str, help="how many trainings of each, or which seeds (default: as many as the ± suggests)")
    add("--set", type=str, action="append", metavar="NAME=VALUE", help="change a setting; the page says so")
    add("--protocol", type=Literal["both", "published", "honest"], default="both", help="which protocol")
    add("--output", type=str, help="folder of the reproduction (default: reproduced/PAPER-TABLE)")
    add("--engine", type=Literal["local", "ray", "slurm"], default="local", help="as `glocal benchmark`")
    add("--cell_cpus", type=int, default=1, help="as `glocal benchmark`")
    add("--cell_gpus", type=int, help="as `glocal benchmark`")
    add("--retry_failed", action="store_true", help="try trainings that failed again")
    add("--dry_run", action="store_true", help="print what would be trained and how long it takes; write nothing")
    add("--json", action="store_true", help="print the result as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal reproduce``.

    Raises:
        UserError: As :func:`glocal.reproduction.reproduce`; or a training failed.
    """
    given = _parser().parse_args(arguments)
    from glocal.reproduction import TABLES, find_table

    if given.table is None:
        _list(list(TABLES.values()), given.json)
        return
    table = find_table(given.table)
    if given.data is None:
        _explain(table)
        return
    asked: dict[str, Any] = {
        "models": None if given.models is None else words(given.models),
        "seeds": None if given.seeds is None else seeds(given.seeds),
        "settings": settings(given.set or []),
        "protocols": ("published", "honest") if given.protocol == "both" else (given.protocol,),
    }
    folder = Path(given.output or Path("reproduced") / table.name.replace("/", "-"))
    if given.dry_run:
        _dry_run(table, given.data, asked)
        return
    _run(table, given, folder, asked)


def _run(table: PaperTable, given: Any, folder: Path, asked: dict[str, Any]) -> None:
    from glocal.benchmark.run import Resources
    from glocal.cli._benchmark_view import watching
    from glocal.reproduction import reproduce

    resources = Resources(given.cell_cpus, given.cell_gpus)
    with watching() as watch:
        result = reproduce(
            table,
            given.data,
            folder,
            **asked,
            engine=given.engine,
            resources=resources,
            retry_failed=given.retry_failed,
            watch=watch,
        )
    _report(result, given.json)
    if result.failed:
        first = result.failed[0]
        raise UserError(
            f"{counted(len(result.failed), 'training')} failed; {first.id}: {first.error}; mend it and repeat the "
            "command with --retry-failed"
        )


def _list(tables: list[PaperTable], as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"name": one.name, "title": one.title, "data": one.data} for one in tables], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table("table", "what", "data", header_style="bold")
    for one in tables:
        shown.add_row(one.name, one.title, one.data)
    Console(highlight=False, emoji=False).print(shown)
    print("glocal reproduce PAPER/TABLE explains one; with --data DIR it is done")


def _explain(table: PaperTable) -> None:
    print(f"{table.title}\n{table.source}\ndata: {table.data}")
    print("networks: " + ", ".join(f"{row.label} ({row.model or 'not in Glocal'})" for row in table.rows))
    for name, protocol in (("published", table.published), ("honest", table.honest)):
        print(f"\nthe {name} protocol (recipe {protocol.recipe}):")
        print("\n".join(f"  - {sentence}" for sentence in protocol.says))
    print("\nwhy figures may differ:")
    print("\n".join(f"  - {sentence}" for sentence in table.differences))
    print(f"\ndo it:  glocal reproduce {table.name} --data DIR")


def _dry_run(table: PaperTable, data: str, asked: dict[str, Any]) -> None:
    from glocal.benchmark import probe_plan
    from glocal.cli._benchmark_view import print_plan
    from glocal.reproduction.running import plan_reproduction

    with tempfile.TemporaryDirectory() as scratch:
        plans = plan_reproduction(table, data, scratch, **asked)
        for name, plan in plans.items():
            print(f"the {name} protocol", file=sys.stderr)
            probes = probe_plan(plan, progress=lambda label: print(f"measuring {label} …", file=sys.stderr))
            print_plan(plan, Path("reproduced") / name, probes)


def _report(result: Reproduction, as_json: bool) -> None:
    if as_json:
        print((result.folder / "reproduction.json").read_text(encoding="utf-8"), end="")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from glocal.reproduction.page import tables_of

    console = Console(highlight=False, emoji=False)
    for caption, headers, rows in tables_of(result):
        if rows:
            shown = Table(*headers, title=caption, title_justify="left", header_style="bold")
            for row in rows:
                shown.add_row(*(escape(cell) for cell in row))
            console.print(shown)
    print(f"{result.folder / 'reproduction.html'} (also .md, .json)")
