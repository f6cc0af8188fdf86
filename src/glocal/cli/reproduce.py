"""``glocal reproduce``: a table of a publication, by its protocol and by an honest one."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._grid_options import add_running_options, seeds, settings, words
from glocal.cli._grid_running import plan_facts, require_success, say_how_to_submit, show_plan
from glocal.cli._parser import Parser
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.reproduction import PaperTable, Reproduction

__all__ = ["run"]

_OF_TRAINING = ("models", "seeds", "set", "output", "retry_failed", "dry_run")


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
    add_running_options(parser)
    add("--json", action="store_true", help="print the result as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal reproduce``.

    Raises:
        UserError: As :func:`glocal.reproduction.reproduce`; or a training failed.
    """
    given = _parser().parse_args(arguments)
    from glocal.reproduction import TABLES, find_table

    if given.table is None or given.data is None:
        asked_for = [name for name in _OF_TRAINING if given[name]]
        if asked_for:
            missing = "the data: --data DIR" if given.table else "a table (`glocal reproduce` lists them)"
            raise UserError(f"--{asked_for[0]} is for training; name {missing}")
        tables = list(TABLES.values()) if given.table is None else [find_table(given.table)]
        if given.json:
            facts = [_facts(table) for table in tables]
            print(json.dumps(facts if given.table is None else facts[0], indent=2, ensure_ascii=False))
        elif given.table is None:
            _list(tables)
        else:
            _explain(tables[0])
        return
    table = find_table(given.table)
    asked: dict[str, Any] = {
        "models": None if given.models is None else words(given.models),
        "seeds": None if given.seeds is None else seeds(given.seeds),
        "settings": settings(given.set or []),
        "protocols": ("published", "honest") if given.protocol == "both" else (given.protocol,),
    }
    folder = Path(given.output or Path("reproduced") / table.name.replace("/", "-"))
    if given.dry_run:
        _dry_run(table, given.data, folder, asked, given.json)
        return
    _run(table, given, folder, asked)


def _run(table: PaperTable, given: Any, folder: Path, asked: dict[str, Any]) -> None:
    from glocal.benchmark.run import Resources
    from glocal.cli._benchmark_view import watching
    from glocal.reproduction import reproduce

    resources = Resources(given.cell_cpus, given.cell_gpus, given.ray_address)
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
    if given.engine == "slurm":
        for name, done in result.done.items():
            say_how_to_submit(folder / name, done.cells)
        print("then:    the same command again, which measures and writes the page", file=sys.stderr)
    require_success([cell for done in result.done.values() for cell in done.cells])


def _facts(table: PaperTable) -> dict[str, Any]:
    protocols = {"published": table.published, "honest": table.honest}
    return {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "data": table.data,
        "rows": [{"label": row.label, "model": row.model, "paper": dict(row.printed)} for row in table.rows],
        "protocols": {name: {"recipe": one.recipe, "says": list(one.says)} for name, one in protocols.items()},
        "differences": list(table.differences),
    }


def _list(tables: list[PaperTable]) -> None:
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


def _dry_run(table: PaperTable, data: str, folder: Path, asked: dict[str, Any], as_json: bool) -> None:
    from glocal.reproduction.running import plan_reproduction

    with tempfile.TemporaryDirectory() as scratch:
        plans = plan_reproduction(table, data, scratch, **asked)
        if as_json:
            print(json.dumps({name: plan_facts(plan, folder / name) for name, plan in plans.items()}, indent=2))
            return
        for name, plan in plans.items():
            print(f"the {name} protocol")
            show_plan(plan, folder / name)


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
