"""``glocal compare``: tables, tests and a report of several models on the same cases."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glocal.cli._parser import Parser

if TYPE_CHECKING:
    from glocal.comparison import Comparison

EXAMPLES = """
glocal compare bench                                         # a benchmark folder
glocal compare bench --reference unet --metric hd95          # tested against unet, ranked by HD95
glocal compare runs/lmnet runs/unet runs/dssaunet            # runs, called by their folders
glocal compare lmnet=runs/a lmnet=runs/b unet=runs/c unet=runs/d   # two trainings each
glocal compare bench --test permutation --output paper/table2
glocal compare runs/a/evaluation/test-lmnet runs/b/evaluation/test-lmnet   # evaluations by a preset
glocal compare bench --json | jq '.metrics[0].rows'
"""

__all__ = ["run"]


def _parser() -> Parser:
    parser = Parser(
        "compare",
        "Compare evaluated models on the same cases: means over folds and seeds, intervals over cases, paired tests "
        "against a reference, ranks, costs. Refuses what was not measured alike. Writes report.html, table.md, "
        "table.tex, table.csv, pairwise.csv, comparison.json and figures.",
        EXAMPLES,
    )
    parser.add_argument(
        "sources", type=str, nargs="+", metavar="RUN", help="benchmark, run or evaluation folders; LABEL=RUN names one"
    )
    parser.add_argument(
        "--reference", type=str, metavar="LABEL", help="model that others are tested against (default: the first)"
    )
    parser.add_argument(
        "--metric", type=str, metavar="NAME[,NAME]", help="shown first; the first one ranks (default: dice, accuracy)"
    )
    parser.add_argument(
        "--classes", type=str, metavar="NAME[,NAME]", help="over which means are taken (default: the foreground)"
    )
    parser.add_argument(
        "--test", type=Literal["wilcoxon", "permutation"], default="wilcoxon", help="of the differences of cases"
    )
    parser.add_argument(
        "--by",
        type=Literal["auto", "case"],
        default="auto",
        help="units of tests: auto takes groups (patients) where there are some; case counts images as independent",
    )
    parser.add_argument(
        "--split", type=str, default="test", metavar="NAME", help="evaluation of run folders: test, val, test-lmnet, …"
    )
    parser.add_argument("--no_costs", action="store_true", help="do not profile models whose costs are not on disk")
    parser.add_argument("--output", type=str, metavar="DIR", help="folder of the report (default: comparison)")
    parser.add_argument("--json", action="store_true", help="print comparison.json, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal compare``.

    Raises:
        UserError: As :func:`glocal.comparison.compare`.
    """
    from glocal.comparison import compare

    given = _parser().parse_args(arguments)
    with _working() as progress:
        comparison = compare(
            given.sources,
            reference=given.reference,
            metrics=_names(given.metric),
            classes=_names(given.classes),
            test=given.test,
            by=given.by,
            split=given.split,
            costs=not given.no_costs,
            progress=progress,
        )
        progress("writing")
        paths = comparison.write(Path(given.output or "comparison"))
    if given.json:
        print(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    _print(comparison)
    print(f"report: {paths['report.html']}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


@contextlib.contextmanager
def _working() -> Iterator[Callable[[str], None]]:
    """A spinner, where someone is looking."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _word: None
        return
    with console.status("comparing") as status:
        yield lambda word: status.update(Text(word))


def _print(comparison: Comparison) -> None:
    from rich.console import Console

    from glocal.cli._evaluation_tables import plain_table
    from glocal.comparison.sentences import headline
    from glocal.comparison.tables import caption, cost_columns, entries, head, probability
    from glocal.evaluation.report_parts import number

    console = Console()
    first, *others = comparison.results
    pairs = {pair.model: probability(pair.p_holm) for pair in first.pairs}
    rows = []
    for m, (label, entry) in enumerate(zip(comparison.labels, entries(first), strict=True)):
        row = [label, entry.text, entry.interval, *([pairs.get(label, "reference")] if pairs else [])]
        rows.append([*row, f"{100 * comparison.stability[m, 0]:.0f} %"] if pairs else row)
    headers = ["model", head(first), "interval", *(["p (Holm)", "first in"] if pairs else [])]
    console.print(plain_table(headers, rows))
    columns = [(head(result), [number(row.mean, result.facts.digits) for row in result.rows]) for result in others]
    for shown in (columns, cost_columns(comparison.costs)):
        if shown:
            rows = [[label, *(texts[m] for _, texts in shown)] for m, label in enumerate(comparison.labels)]
            console.print(plain_table(["model", *(name for name, _ in shown)], rows))
    for text in (caption(comparison), *headline(comparison)):
        console.print(text, markup=False, highlight=False)
    for cell in comparison.missing:
        error = f": {cell.error}" if cell.error else ""
        console.print(
            f"{cell.status}: {cell.label}, fold {cell.fold}, seed {cell.seed}{error}", markup=False, highlight=False
        )
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
