"""The figures of an evaluation that a reader looks for first, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from glocal.evaluation import ClassificationEvaluation, Evaluation

__all__ = ["plain_table", "print_evaluation"]

_SHOWN = ("dice", "iou", "hd95", "assd", "nsd")
_MOST_ROWS = 20
"""Classes at most that have a row of their own."""


def print_evaluation(evaluation: Evaluation | ClassificationEvaluation) -> None:
    """Print the figures of masks, or of classes."""
    from rich.console import Console

    from glocal.evaluation import Evaluation

    console = Console()
    if isinstance(evaluation, Evaluation):
        _print_masks(console, evaluation)
    else:
        _print_classes(console, evaluation)
    published = evaluation.summary["published"]
    if published:
        console.print(f"as published: {published['source']}", markup=False, highlight=False)
        figures = published["figures"]
        rows = [[figure["name"], f"{_number(figure['value'], 4)} {figure['unit']}".rstrip()] for figure in figures]
        console.print(plain_table(["metric", "value"], rows))
    for note in evaluation.summary["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _print_masks(console: Console, evaluation: Evaluation) -> None:
    from glocal.evaluation import METRICS

    summary, settings = evaluation.summary, evaluation.settings
    console.print(f"{_counts(summary)}, distances in {settings.unit}, empty masks: {settings.policy.name}")
    foreground = summary["macro"]["foreground"]
    rows = []
    for metric in METRICS:
        if metric.name in _SHOWN:
            facts, digits = foreground[metric.name], 2 if metric.kind == "distance" else 3
            at = f" at {settings.tolerance:g} {settings.unit}" if metric.name == "nsd" else ""
            numbers = [_number(value, digits) for value in (facts["mean"], *facts["ci"], facts["median"])]
            rows.append([metric.label + at, *numbers, str(facts["n"])])
    percent = f"{100 * settings.confidence:g} %"
    console.print(plain_table(["foreground", "mean", f"{percent} from", "to", "median", "cases"], rows))
    classes = list(summary["per_class"].items())[1:]
    if len(classes) > 1:
        parts = [
            (name, [facts["metrics"][metric]["mean"] for metric in ("dice", "iou", "hd95")]) for name, facts in classes
        ]
        rows = [[name, _number(dice, 3), _number(iou, 3), _number(hd95, 2)] for name, (dice, iou, hd95) in parts]
        console.print(plain_table(["class", "Dice", "IoU", "HD95"], rows))


def _print_classes(console: Console, evaluation: ClassificationEvaluation) -> None:
    from glocal.evaluation.classification_metrics import SCORES

    summary = evaluation.summary
    fitted = f", temperature {summary['temperature']:.3g}" if summary["temperature"] != 1 else ""
    console.print(f"{_counts(summary)}{fitted}", highlight=False)
    percent = f"{100 * summary['conventions']['interval']['confidence']:g} %"
    for block, shown in (("overall", None), ("macro", ("precision", "recall", "f1", "auroc", "auprc"))):
        rows = [
            [SCORES[name].label, *(_number(value, 3) for value in (facts["value"], *facts["ci"]))]
            for name, facts in summary[block].items()
            if shown is None or name in shown
        ]
        title = "all cases" if block == "overall" else "mean over classes"
        console.print(plain_table([title, "value", f"{percent} from", "to"], rows))
    names = ("precision", "recall", "f1", "auroc")
    rows = [
        [name, str(facts["n_truth"]), *(_number(facts["metrics"][metric]["value"], 3) for metric in names)]
        for name, facts in list(summary["per_class"].items())[:_MOST_ROWS]
    ]
    console.print(plain_table(["class", "cases", *(SCORES[name].label for name in names)], rows))
    more = len(summary["per_class"]) - len(rows)
    if more:
        console.print(f"of {more} more see the report")


def _counts(summary: dict[str, Any]) -> str:
    groups = f" in {counted(summary['groups'], 'group')}" if summary["groups"] else ""
    return counted(summary["cases"], "case") + groups


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first column is text, the others are numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for row in rows:
        table.add_row(*map(Text, row))
    return table
