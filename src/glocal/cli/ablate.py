"""``glocal ablate``: declared ablations, counted, or run like a benchmark."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli._grid_options import add_running_options, seconds, seeds, settings
from glocal.cli._grid_running import require_success, say_how_to_submit, show_plan
from glocal.cli._parser import Parser
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.ablation import Ablation, AblationTable

__all__ = ["run"]

_OF_TRAINING = ("recipe", "folds", "seeds", "budget", "set", "splits")


def _parser() -> Parser:
    parser = Parser(
        "ablate",
        "Run a declared ablation: the rows of a paper's table, or of a system's parts, trained and evaluated like a "
        "benchmark; what the paper prints is shown as the paper's, ours beneath it. Without a name: list them. The "
        "counts of parameters and multiply-adds need no data and no training.",
        """
        glocal ablate                                             # list them
        glocal ablate lmnet_table8 --counts-only                  # seconds, no data
        glocal ablate lmnet_table8 polyps --folds 5 --seeds 3 --budget 8h
        glocal ablate lmnet_table7 polyps                         # merging: one training, measured before and after
        glocal ablate star_dssa psfhs --model star_dssaunet_tiny --recipe quick --set train.epochs=3 --dry-run
        glocal ablate spm_pvt_tiny lesions --recipe default --engine slurm --cell_gpus 1
        glocal ablate --all --counts-only --markdown              # the page of the documentation
        """,
    )
    add = parser.add_argument
    add("name", type=str, nargs="?", metavar="NAME", help="of a declared ablation")
    add("dir", type=str, nargs="?", metavar="DIR", help="folder of the data")
    add("--counts_only", action="store_true", help="parameters and multiply-adds alone: no data, nothing is trained")
    add("--all", action="store_true", help="with --counts-only: every declared ablation")
    add("--model", type=str, help="a variant of the ablation's network, such as a small one; rows are options of it")
    add("--recipe", type=str, help="shipped recipe or YAML file for all rows (default: the ablation's)")
    add("--folds", type=int, help="as `glocal benchmark --folds`")
    add("--seeds", type=str, help="as `glocal benchmark --seeds` (default: 1)")
    add("--budget", type=str, help="as `glocal benchmark --budget`")
    add("--set", type=str, action="append", metavar="NAME=VALUE", help="a recipe setting for all rows; may be repeated")
    add("--splits", type=str, help="as `glocal benchmark --splits`")
    add("--output", type=str, help="folder of the benchmark and of the table (default: bench/DIR-NAME)")
    add_running_options(parser)
    add("--json", action="store_true", help="print the table, or the list, as JSON, alone on stdout")
    add("--markdown", action="store_true", help="print the table as Markdown, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal ablate``.

    Raises:
        UserError: An unknown ablation, words that do not go together, or as :func:`glocal.ablation.run_ablation`.
    """
    given = _parser().parse_args(arguments)
    _require_sense(given)
    from glocal.ablation import ABLATIONS, get_ablation

    if given.name is None and not given.all:
        _list(list(ABLATIONS.values()), given)
        return
    if given.counts_only:
        _counted(list(ABLATIONS.values()) if given.all else [get_ablation(given.name)], given)
        return
    ablation = get_ablation(given.name)
    if given.dir is None:
        raise UserError(
            f"name the folder of the data: glocal ablate {given.name} DIR; or count only: "
            f"glocal ablate {given.name} --counts-only"
        )
    _trained(ablation, given)


def _require_sense(given: Any) -> None:
    """Refuse words that do not go together.

    Raises:
        UserError: They do not.
    """
    if given.json and given.markdown:
        raise UserError("--json and --markdown exclude each other; give one")
    if given.all and (given.name is not None or not given.counts_only or given.model is not None):
        raise UserError("--all goes with --counts-only, without a name and without --model")
    if not given.counts_only:
        return
    asked = [name for name in (*_OF_TRAINING, "dir") if given[name] is not None] + ["dry_run"] * given.dry_run
    if asked:
        word = "the folder" if asked[0] == "dir" else f"--{asked[0]}"
        raise UserError(f"{word} is for training, and --counts-only trains nothing; leave one of the two out")


def _list(ablations: Sequence[Ablation], given: Any) -> None:
    if given.json:
        facts = [
            {
                "name": one.name,
                "title": one.title,
                "source": one.source,
                "networks": list(one.networks),
                "rows": [row.label for row in one.rows],
            }
            for one in ablations
        ]
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    lines = [(one.name, str(len(one.rows)), one.title) for one in ablations]
    if given.markdown:
        from glocal.evaluation.markdown import pipe_table

        print(pipe_table(("name", "ablation", "rows"), [(f"`{name}`", title, n) for name, n, title in lines], left=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ablation", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("of what")
    for line in lines:
        table.add_row(*line)
    Console().print(table, highlight=False)


def _counted(ablations: Sequence[Ablation], given: Any) -> None:
    from glocal.ablation import AblationTable, count_ablation

    tables = [AblationTable(one, count_ablation(one, given.model)) for one in ablations]
    if given.output is not None:
        for table in tables:
            table.write(Path(given.output) / table.ablation.name if given.all else given.output)
    _show(tables, given)
    if given.output is not None:
        print(f"written to {given.output}", file=sys.stderr)


def _trained(ablation: Ablation, given: Any) -> None:
    from glocal.ablation import plan_ablation, run_ablation
    from glocal.benchmark.run import Resources
    from glocal.cli._benchmark_view import watching

    plan = plan_ablation(
        ablation,
        given.dir,
        model=given.model,
        recipe=given.recipe,
        folds=given.folds,
        seeds=seeds(given.seeds or "1"),
        budget_s=None if given.budget is None else seconds(given.budget),
        settings=settings(given.set or []),
        splits=given.splits,
    )
    folder = Path(given.output or Path("bench") / f"{Path(given.dir).resolve().name}-{ablation.name}")
    if given.dry_run:
        show_plan(plan, folder, given.json)
        return
    for note in plan.notes:
        print(note, file=sys.stderr)
    with watching() as watch:
        table = run_ablation(
            ablation,
            plan,
            folder,
            model=given.model,
            engine=given.engine,
            resources=Resources(given.cell_cpus, given.cell_gpus, given.ray_address),
            retry_failed=given.retry_failed,
            watch=watch,
        )
    _show([table], given)
    print(f"table   {folder / 'ablation.md'}, .csv and .json", file=sys.stderr)
    from glocal.benchmark import read_benchmark

    results = read_benchmark(folder)
    if given.engine == "slurm":
        say_how_to_submit(folder, results)
    require_success(results)


def _show(tables: Sequence[AblationTable], given: Any) -> None:
    if given.json:
        facts = [table.to_json() for table in tables]
        print(json.dumps(facts if given.all else facts[0], indent=2, ensure_ascii=False))
    elif given.markdown:
        from glocal.ablation.table import page

        print(page(tables), end="")
    else:
        for table in tables:
            _print(table)


def _print(table: AblationTable) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"\n[bold]{table.ablation.name}[/bold]  {table.ablation.title}", highlight=False)
    console.print(f"{table.ablation.source}\n", highlight=False, style="dim")
    for header, lines in (table.counts(), table.figures()):
        for columns in _fitting(header, lines, console.width) if lines else ():
            part = [[line[i] for i in columns] for line in lines]
            console.print(_rich([header[i] for i in columns], part), highlight=False)
            console.print()
    for label, remark in table.remarks():
        console.print(f"[bold]{label}[/bold]: {remark}", highlight=False, soft_wrap=True)
    for note in (*table.ablation.notes, *table.notes):
        console.print(note, highlight=False, soft_wrap=True, style="dim")


def _fitting(header: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """The columns in as many tables as the width asks for; each begins with the first two."""
    widths = [max(map(len, column)) + 2 for column in zip(header, *lines, strict=True)]
    tables: list[list[int]] = []
    for i in range(2, len(header)):
        if not tables or sum(widths[j] for j in (*tables[-1], i)) > width + 2:
            tables.append([0, 1])
        tables[-1].append(i)
    return tables


def _rich(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(header):
        made.add_column(column, justify="left" if i < 2 else "right", no_wrap=True)
    for line in lines:
        made.add_row(*(Text(cell) for cell in line), style="dim" if line[1] == "the paper" else None)
    return made
