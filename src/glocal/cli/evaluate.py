"""``glocal evaluate``: measure a run on one of its splits, or masks in a folder, and write a report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from rich.table import Table

    from glocal.evaluation import Evaluation

EXAMPLES = """
glocal evaluate runs/polyps                                   # its test split
glocal evaluate runs/polyps --preset lmnet                    # as the paper's tables
glocal evaluate runs/polyps --data other-polyps --split all   # images of another hospital
glocal evaluate --predictions masks/ --data polyps --splits polyps/splits.json
glocal evaluate runs/polyps --json | jq .macro.foreground.dice
"""

__all__ = ["measuring", "print_evaluation", "run"]

_SHOWN = ("dice", "iou", "hd95", "assd", "nsd")


def _parser() -> Parser:
    parser = Parser(
        "evaluate",
        "Measure a run on one of its splits, at the size of the images, and write cases.csv, summary.json and "
        "report.html; or compare masks that another program made with the truth.",
        EXAMPLES,
    )
    parser.add_argument("run", type=str, nargs="?", metavar="RUN", help="folder of a finished training")
    parser.add_argument("--predictions", type=str, metavar="DIR", help="instead of RUN: a folder of masks to compare")
    parser.add_argument("--data", type=str, metavar="DIR", help="folder of the data (default: that of the run)")
    parser.add_argument(
        "--split", type=Literal["train", "val", "test", "all"], default="test", help="which cases are measured"
    )
    parser.add_argument("--splits", type=str, metavar="FILE", help="with --predictions: a splits.json; else all cases")
    parser.add_argument("--preset", type=str, help="also compute the metrics of a publication, its way: lmnet")
    parser.add_argument(
        "--policy", type=str, default="penalty", help="for empty masks: penalty, zero_one or skip (the report explains)"
    )
    parser.add_argument("--tolerance", type=float, default=2.0, help="of the surface Dice NSD, in mm or pixels")
    parser.add_argument(
        "--unit", type=Literal["auto", "px"], default="auto", help="of distances: mm where it is known, or pixels"
    )
    parser.add_argument("--tta", action="store_true", help="average predictions over the flips that training had")
    parser.add_argument(
        "--tiling", type=Literal["auto", "never", "always"], default="auto", help="as `glocal predict --tiling`"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--batch_size", type=int, help="images the network sees at once (1 on a CPU, else 8)")
    parser.add_argument("--output", type=str, metavar="DIR", help="of the report (default: RUN/evaluation/SPLIT)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace an evaluation in --output; that of the run is always made anew",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal evaluate``.

    Raises:
        UserError: As :func:`glocal.inference.evaluate_run` and :func:`glocal.inference.evaluate_masks`.
    """
    given = _parser().parse_args(arguments)
    if (given.run is None) == (given.predictions is None):
        raise UserError(
            "name either a run (glocal evaluate RUN) or masks (glocal evaluate --predictions DIR --data DIR)"
        )
    evaluation, folder = _of_run(given) if given.predictions is None else _of_masks(given)
    if given.json:
        print(json.dumps({**evaluation.summary, "folder": str(folder)}, indent=2, ensure_ascii=False))
        return
    print_evaluation(evaluation)
    print(f"report: {folder / 'report.html'}")


def _common(given: Any, folder: Path) -> dict[str, Any]:
    names = ("preset", "policy", "tolerance", "unit")
    overwrite = given.overwrite or given.output is None  # a run's own evaluation can always be made again
    return {**{name: given[name] for name in names}, "output": folder, "overwrite": overwrite}


def _of_run(given: Any) -> tuple[Evaluation, Path]:
    from glocal.inference import evaluate_run, evaluation_folder

    if given.splits is not None:
        raise UserError("--splits goes with --predictions; a run has its own splits")
    folder = Path(given.output or evaluation_folder(given.run, given.split, preset=given.preset, data=given.data))
    with measuring() as progress:
        evaluation = evaluate_run(
            given.run,
            given.split,
            data=given.data,
            device=given.device,
            tta=given.tta,
            tiling=given.tiling,
            batch_size=given.batch_size,
            progress=progress,
            **_common(given, folder),
        )
    return evaluation, folder


def _of_masks(given: Any) -> tuple[Evaluation, Path]:
    from glocal.inference import evaluate_masks

    if given.data is None:
        raise UserError("say what the masks are compared with: --data DIR")
    folder = Path(given.output or Path(given.predictions) / "evaluation")
    with measuring() as progress:
        evaluation = evaluate_masks(
            given.predictions,
            given.data,
            splits=given.splits,
            split=given.split,
            progress=progress,
            **_common(given, folder),
        )
    return evaluation, folder


@contextlib.contextmanager
def measuring() -> Iterator[Callable[[int, int], None]]:
    """A bar, where someone is looking."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_evaluation(evaluation: Evaluation) -> None:
    """The figures a reader looks for first, as tables."""
    from rich.console import Console

    from glocal.evaluation import METRICS

    summary, settings = evaluation.summary, evaluation.settings
    groups = f" in {counted(summary['groups'], 'group')}" if summary["groups"] else ""
    console = Console()
    cases = counted(summary["cases"], "case")
    console.print(f"{cases}{groups}, distances in {settings.unit}, empty masks: {settings.policy.name}")
    foreground = summary["macro"]["foreground"]
    rows = []
    for metric in METRICS:
        if metric.name in _SHOWN:
            facts, digits = foreground[metric.name], 2 if metric.kind == "distance" else 3
            at = f" at {settings.tolerance:g} {settings.unit}" if metric.name == "nsd" else ""
            numbers = [_number(value, digits) for value in (facts["mean"], *facts["ci"], facts["median"])]
            rows.append([metric.label + at, *numbers, str(facts["n"])])
    percent = f"{100 * settings.confidence:g} %"
    console.print(_table(["foreground", "mean", f"{percent} from", "to", "median", "cases"], rows))
    classes = list(summary["per_class"].items())[1:]
    if len(classes) > 1:
        parts = [
            (name, [facts["metrics"][metric]["mean"] for metric in ("dice", "iou", "hd95")]) for name, facts in classes
        ]
        rows = [[name, _number(dice, 3), _number(iou, 3), _number(hd95, 2)] for name, (dice, iou, hd95) in parts]
        console.print(_table(["class", "Dice", "IoU", "HD95"], rows))
    if summary["published"]:
        console.print(f"as published: {summary['published']['source']}", markup=False, highlight=False)
        figures = summary["published"]["figures"]
        rows = [[figure["name"], f"{_number(figure['value'], 4)} {figure['unit']}".rstrip()] for figure in figures]
        console.print(_table(["metric", "value"], rows))
    for note in evaluation.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first column is text, the others are numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for row in rows:
        table.add_row(*map(Text, row))
    return table
