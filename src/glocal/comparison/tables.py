"""The table of a comparison as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glocal.comparison.analysis import ALPHA, Pair, Result, Row
from glocal.comparison.costs import Cost
from glocal.errors import counted
from glocal.evaluation.markdown import pipe_table
from glocal.evaluation.report_parts import NONE, number, number_range
from glocal.evaluation.table import guard

if TYPE_CHECKING:
    from glocal.comparison.comparison import Comparison

__all__ = [
    "MARK",
    "Entry",
    "caption",
    "cost_columns",
    "entries",
    "head",
    "latex_table",
    "long_csv",
    "markdown_table",
    "mean_sd",
    "pairwise_csv",
    "probability",
]

MARK = "†"
"""Behind a number that a test shows to differ from the reference."""


@dataclass(frozen=True)
class Entry:
    """A number of the table.

    Attributes:
        text: Mean over the cells, and its standard deviation where there are several.
        interval: Of the mean over cases.
        best: No other model has a better one.
        differs: From the reference, after correction.
    """

    text: str
    interval: str
    best: bool
    differs: bool


def head(result: Result) -> str:
    """Name of a metric with an arrow towards better."""
    return f"{result.facts.label} {'↑' if result.facts.direction > 0 else '↓'}"


def entries(result: Result) -> list[Entry]:
    """The numbers of a metric, by model."""
    digits, sign = result.facts.digits, result.facts.direction
    best = max((row.mean * sign for row in result.rows if not math.isnan(row.mean)), default=math.nan)
    differing = {pair.model for pair in result.pairs if pair.p_holm < ALPHA}
    return [
        Entry(
            mean_sd(row, digits),
            number_range((_known(row.low), _known(row.high)), digits),
            row.mean * sign == best and len(result.rows) > 1,
            row.label in differing,
        )
        for row in result.rows
    ]


def mean_sd(row: Row, digits: int) -> str:
    """Mean over cells, and ± standard deviation where there are several."""
    return number(row.mean, digits) + ("" if math.isnan(row.sd) else f" ± {number(row.sd, digits)}")


def probability(p: float) -> str:
    """A p-value as printed."""
    if math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def cost_columns(costs: Sequence[Cost]) -> list[tuple[str, list[str]]]:
    """Header and texts of each cost that is known of some model."""
    columns: tuple[tuple[str, Callable[[Cost], float | None], int], ...] = (
        ("parameters (M)", lambda cost: _scaled(cost.parameters, 1e6), 2),
        ("multiply-adds (G)", lambda cost: _scaled(cost.multiply_adds, 1e9), 2),
        ("latency (ms)", lambda cost: _scaled(cost.latency, 1e-3), 1),
        ("memory (MB)", lambda cost: _scaled(cost.memory, 1e6), 0),
    )
    found = [(name, [read(cost) for cost in costs], digits) for name, read, digits in columns]
    return [
        (name, [number(value, digits) for value in values])
        for name, values, digits in found
        if any(value is not None for value in values)
    ]


def caption(comparison: Comparison) -> str:
    """What the numbers are, in sentences that belong under the table."""
    design = comparison.design
    cells, interval = design["cells"], design["interval"]
    groups = (
        f" of {counted(design['groups'], 'group')}"
        if design["groups"] and interval["clusters"] < design["cases"]
        else ""
    )
    spread = f"Mean ± standard deviation over {cells} trainings" if cells > 1 else "Mean of one training"
    if cells > 1:
        times = "×" if cells == design["folds"] * design["repetitions"] else "and"
        spread += f" ({counted(design['folds'], 'fold')} {times} {counted(design['repetitions'], 'seed')})"
    test = {"wilcoxon": "Wilcoxon's signed-rank test", "permutation": "sign-flip permutation test"}
    units = {"group": "on means of groups", "case": "on cases"}
    if design["test"]["name"] == "permutation":
        units["group"] = "of whole groups"
    cases = counted(design["cases"], "case") + groups
    text = f"{spread}, {100 * interval['confidence']:g} % bootstrap interval over {cases}. "
    if len(comparison.labels) > 1:
        used = {pair.test for result in comparison.results for pair in result.pairs}
        other = ", paired bootstrap for metrics that are no means over cases" if "bootstrap" in used else ""
        text += (
            f"{MARK} differs from {comparison.reference} ({test[design['test']['name']]} "
            f"{units[design['test']['units']]}{other}; Holm, p < {ALPHA:g}). "
        )
    policy = design["conventions"].get("policy")
    return text + (f"Empty masks: {policy}." if policy else "")


def markdown_table(comparison: Comparison) -> str:
    """A pipe table, the best number of each metric in bold, and what it shows."""
    costs = cost_columns(comparison.costs)
    header = ["model", *(head(result) for result in comparison.results), *(name for name, _ in costs)]
    table = [entries(result) for result in comparison.results]
    lines = []
    for m, label in enumerate(comparison.labels):
        cells = []
        for column in table:
            entry = column[m]
            text = f"**{entry.text}**" if entry.best else entry.text
            cells.append(f"{text}{MARK if entry.differs else ''} {entry.interval}")
        lines.append([_escaped(label), *cells, *(texts[m] for _, texts in costs)])
    return f"{pipe_table(header, lines)}\n\n{_escaped(caption(comparison))}\n"


def _escaped(text: str) -> str:
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def latex_table(comparison: Comparison) -> str:
    r"""A ``table`` for ``\usepackage{booktabs}``, intervals in a line of their own."""
    costs = cost_columns(comparison.costs)
    header = [_arrow(result) for result in comparison.results] + [_tex(name) for name, _ in costs]
    table = [entries(result) for result in comparison.results]
    lines = []
    for m, label in enumerate(comparison.labels):
        numbers = [_tex_entry(column[m]) for column in table]
        lines.append(" & ".join([_tex(label), *numbers, *(_tex_number(texts[m]) for _, texts in costs)]) + r" \\")
        ends = [rf"\footnotesize {_tex_number(column[m].interval)}" for column in table]
        lines.append(" & ".join(["", *ends, *["" for _ in costs]]) + r" \\")
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption(comparison))}}}",
            rf"\begin{{tabular}}{{l{'r' * len(header)}}}",
            r"\toprule",
            " & ".join(["model", *header]) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _arrow(result: Result) -> str:
    return _tex(result.facts.label) + (r" $\uparrow$" if result.facts.direction > 0 else r" $\downarrow$")


def _tex_entry(entry: Entry) -> str:
    text = _tex_number(entry.text)
    bold = rf"\textbf{{{text}}}" if entry.best else text
    return bold + (r"\textsuperscript{\textdagger}" if entry.differs else "")


def _tex_number(text: str) -> str:
    return text.replace("±", r"$\pm$").replace("−", "$-$").replace(NONE, "--")


_TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "κ": r"$\kappa$",
    MARK: r"\textdagger{}",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def long_csv(comparison: Comparison) -> str:
    """One row for every model, metric and class (empty: the mean over classes), in full precision."""
    rows = []
    for result in (*comparison.results, *comparison.per_class):
        facts = result.facts
        for row, cost in zip(result.rows, comparison.costs, strict=True):
            record = {"metric": facts.name, "unit": facts.unit, "direction": facts.direction}
            record |= {"class": guard(result.group or ""), "model": guard(row.label)}
            values = dataclasses.asdict(row)
            del values["label"]
            known = {name: getattr(cost, name) for name in ("parameters", "multiply_adds", "latency", "memory")}
            rows.append({**record, **values, **known})
    return _csv(rows)


def pairwise_csv(comparison: Comparison) -> str:
    """One row for every test: against the reference, then all pairs on the first metric."""
    rows = []
    for result in (*comparison.results, *comparison.per_class):
        for family, pairs in (("reference", result.pairs), ("all", result.everyone)):
            rows += [_test_row(result, family, pair) for pair in pairs]
    return _csv(rows) if rows else "metric\n"


def _test_row(result: Result, family: str, pair: Pair) -> dict[str, Any]:
    record = {"metric": result.facts.name, "class": guard(result.group or ""), "family": family}
    names = {"model": guard(pair.model), "other": guard(pair.other)}
    return {**record, **dataclasses.asdict(pair), **names}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _field(value) for name, value in row.items()})
    return stream.getvalue()


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else value


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
