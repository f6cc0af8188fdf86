"""``report.html``: one self-contained page that shows how models compare and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from glocal.comparison.analysis import ALPHA, Pair, Result
from glocal.comparison.figures import FIGURES
from glocal.comparison.measures import CONVENTIONS
from glocal.comparison.sentences import headline, ranks_sentence
from glocal.comparison.tables import MARK, Entry, caption, cost_columns, entries, head, mean_sd, probability
from glocal.errors import counted
from glocal.evaluation.page import Markup, element, join, table
from glocal.evaluation.report_parts import NONE, document_of, manifest_table, notes_list, number, number_range

if TYPE_CHECKING:
    from glocal.comparison.comparison import Comparison

__all__ = ["render"]


def render(comparison: Comparison, drawings: Mapping[str, Markup]) -> str:
    """Return the page.

    Args:
        comparison: What is shown.
        drawings: SVG by name of :data:`~glocal.comparison.figures.FIGURES`.
    """
    sections = [
        ("Table", _table(comparison)),
        ("Figures", _figures(drawings, ("intervals", "differences"))),
        (f"Tests against {comparison.reference}", _tests(comparison)),
        ("Ranks", _ranks(comparison, drawings)),
        ("Accuracy against cost", _costs(comparison, drawings)),
        ("Class by class", _per_class(comparison)),
        ("Empty masks", _empty(comparison)),
        ("Not finished", _missing(comparison)),
        ("How to read the numbers", _reading(comparison)),
        ("What was compared", manifest_table(comparison.design)),
    ]
    title = "Comparison of " + ", ".join(comparison.labels[:4]) + (", …" if len(comparison.labels) > 4 else "")
    short = element("section", element("h2", "In short"), *(element("p", text) for text in headline(comparison)))
    return document_of(title, _subtitle(comparison), [short, notes_list(comparison.notes)], sections)


def _subtitle(comparison: Comparison) -> Markup:
    design = comparison.design
    groups = f" in {counted(design['groups'], 'group')}" if design["groups"] else ""
    facts = [
        counted(len(comparison.labels), "model"),
        f"{counted(design['cases'], 'case')}{groups}",
        f"{counted(design['cells'], 'training')} each",
        design["task"],
    ]
    if design["task"] == "segmentation":
        facts += [f"classes: {', '.join(design['averaged'])}", f"empty masks: {design['conventions']['policy']}"]
    return element("p", " · ".join(facts), class_="soft")


def _table(comparison: Comparison) -> Markup:
    costs = cost_columns(comparison.costs)
    columns = [entries(result) for result in comparison.results]
    rows = []
    for m, label in enumerate(comparison.labels):
        cells = [_shown(column[m]) for column in columns]
        name = f"{label} (reference)" if label == comparison.reference and len(comparison.labels) > 1 else label
        rows.append([name, *cells, *(texts[m] for _, texts in costs)])
    headers = ["model", *(head(result) for result in comparison.results), *(name for name, _ in costs)]
    return join([table(headers, rows), element("p", caption(comparison) + " Bold: the best of a column.")])


def _shown(entry: Entry) -> Markup:
    text = entry.text + (MARK if entry.differs else "")
    return join([element("b" if entry.best else "span", text), element("small", entry.interval)])


def _figures(drawings: Mapping[str, Markup], names: Sequence[str]) -> Markup | None:
    shown = [
        element("figure", drawings[name], element("figcaption", FIGURES[name][0])) for name in names if name in drawings
    ]
    return element("div", *shown, class_="plots") if shown else None


def _tests(comparison: Comparison) -> Markup | None:
    if len(comparison.labels) < 2:
        return None
    tables = [
        (head(result), table(_TEST_HEADERS, [_test_row(pair, result) for pair in result.pairs]))
        for result in comparison.results
    ]
    what = (
        "Every model minus the reference. The difference of means has a bootstrap interval; the median difference "
        "(Hodges–Lehmann) has that of the signed-rank test. Effect sizes are above 0 where the model is better; "
        "+ / = / − counts the units on which it is better, equal, worse. "
        "p is two-sided, and adjusted by Holm for the models in each table; the first metric is the one to conclude "
        "from, the others are not adjusted for each other."
    )
    return join([element("p", what), _first_open(tables)])


def _first_open(tables: Sequence[tuple[str, Markup]]) -> Markup:
    """The first table, and the others behind their names."""
    (name, first), *others = tables
    hidden = [element("details", element("summary", name), content) for name, content in others]
    return join([element("h3", name), first, *hidden])


_TEST_HEADERS = (
    *("model", "verdict", "difference", "median difference", "p (Holm)", "rank-biserial", "d_z"),
    "+ / = / −",
)


def _test_row(pair: Pair, result: Result) -> list[str]:
    digits = result.facts.digits + 1
    of_units = pair.test != "bootstrap"
    verdict = element("b", pair.verdict) if pair.p_holm < ALPHA else element("span", pair.verdict)
    return [
        pair.model,
        verdict,
        _with_interval(pair.difference, pair.low, pair.high, digits),
        _with_interval(pair.median, pair.median_low, pair.median_high, digits) if of_units else NONE,
        join([probability(pair.p_holm), element("small", f"unadjusted {probability(pair.p)}")]),
        number(pair.rank_biserial, 2, signed=True),
        number(pair.d_z, 2, signed=True),
        f"{pair.better} / {pair.equal} / {pair.worse}" if of_units else NONE,
    ]


def _with_interval(value: float, low: float, high: float, digits: int) -> Markup:
    ends = (None, None) if np.isnan(low) else (low, high)
    return join([number(value, digits, signed=True), element("small", number_range(ends, digits, signed=True))])


def _ranks(comparison: Comparison, drawings: Mapping[str, Markup]) -> Markup | None:
    shown = [
        element("figure", drawings[name], element("figcaption", FIGURES[name][0]), style="margin:14px 0")
        for name in ("critical-difference", "rank-stability")
        if name in drawings
    ]
    if not shown:
        return None
    parts = [element("p", ranks_sentence(comparison)), *shown]
    everyone = comparison.results[0].everyone
    if everyone:
        found = {frozenset((pair.model, pair.other)): pair for pair in everyone}
        rows = [
            [one, *(probability(found[frozenset((one, other))].p_holm) if one != other else NONE for other in _labels)]
            for _labels in [comparison.labels]
            for one in _labels
        ]
        text = f"p-values of all {len(everyone)} pairs on {comparison.results[0].facts.label}, adjusted together (Holm)"
        parts.append(table(["", *comparison.labels], rows, caption=text))
    return join(parts)


def _costs(comparison: Comparison, drawings: Mapping[str, Markup]) -> Markup | None:
    columns = cost_columns(comparison.costs)
    if not columns:
        return None
    rows = []
    for m, cost in enumerate(comparison.costs):
        size = NONE if cost.size is None else f"{cost.size[0]}×{cost.size[1]}"
        threads = f", {counted(cost.threads, 'thread')}" if cost.threads else ""
        where = f"{cost.device}{threads}" if cost.device else NONE
        rows.append([cost.label, *(texts[m] for _, texts in columns), size, element("span", where)])
    headers = ["model", *(name for name, _ in columns), "image", "measured on"]
    what = (
        "One forward pass of one image in the size of the training. Multiply-adds are the true count. A ringed circle "
        "is on the Pareto front: no other model is both cheaper and better. Vertical lines are the intervals of the "
        "means."
    )
    figures = _figures(drawings, [name for name in FIGURES if name.startswith("cost-")])
    return join([element("p", what), *([figures] if figures is not None else []), table(headers, rows)])


def _per_class(comparison: Comparison) -> Markup | None:
    if not comparison.per_class:
        return None
    tables = []
    for metric in dict.fromkeys(result.facts.name for result in comparison.per_class):
        results = [result for result in comparison.per_class if result.facts.name == metric]
        columns = [entries(result) for result in results]
        rows = [[label, *(_shown(column[m]) for column in columns)] for m, label in enumerate(comparison.labels)]
        tables.append((head(results[0]), table(["model", *(result.group or "" for result in results)], rows)))
    return _first_open(tables)


def _empty(comparison: Comparison) -> Markup | None:
    found = comparison.emptiness
    if found is None:
        return None
    if not found.any:
        return element("p", "No case is without the class, and every model found something in every case.")
    counts = [
        [count.label, *(f"{value:,}" for value in (count.pairs, count.agreed, count.invented, count.missed))]
        for count in found.counts
    ]
    headers = ["model", "pairs of case and class", "neither there nor predicted", "invented", "missed"]
    rows = []
    for m, label in enumerate(comparison.labels):
        cells = []
        for result in found.results.values():
            row = result.rows[m]
            pair = next((pair for pair in result.pairs if pair.model == label), None)
            ends = (None, None) if np.isnan(row.low) else (row.low, row.high)
            notes = [number_range(ends, result.facts.digits), f"n = {row.cases}"]
            if pair is not None:
                notes.append(f"p (Holm) {probability(pair.p_holm)}")
            cells.append(join([mean_sd(row, result.facts.digits), *(element("small", note) for note in notes)]))
        rows.append([label, *cells])
    shown = {"evaluated": "as evaluated", "present": "without empty cases", "agreed": "with, agreement perfect"}
    meanings = [element("li", element("b", shown[name]), f": {text}.") for name, text in CONVENTIONS.items()]
    label = head(comparison.results[0])
    text = (
        "A mean that counts empty images as perfect rises with their share; one that leaves them out forgives what was "
        "invented there. A conclusion should not hang on the convention."
    )
    return join(
        [
            element("p", text),
            table(headers, counts, caption="Number of pairs of case and class, over all trainings of a model"),
            table(["model", *shown.values()], rows, caption=label),
            element("ul", *meanings),
        ]
    )


def _missing(comparison: Comparison) -> Markup | None:
    if not comparison.missing:
        return None
    rows = [
        [cell.label, str(cell.fold), str(cell.seed), cell.status, element("span", cell.error or NONE)]
        for cell in comparison.missing
    ]
    text = "These cells of the benchmark have no numbers. Models are compared on the folds and seeds that all have."
    return join(
        [element("p", text), element("div", table(["model", "fold", "seed", "state", "error"], rows), class_="words")]
    )


def _reading(comparison: Comparison) -> Markup:
    design = comparison.design
    interval = design["interval"]
    units = "means of groups" if design["test"]["units"] == "group" else "cases"
    facts = [
        "± is the standard deviation over trainings (folds and seeds): how much the score of one training varies. The "
        f"interval is over cases: how the mean would vary with other cases of the same kind ({interval['method']}; "
        f"{interval['clusters']} clusters, {interval['resamples']} resamples, seed {interval['seed']})",
        f"Case values are averaged over the trainings of a model before tests and intervals. The units of tests are "
        f"{units}: images of one patient are not independent",
        "The reference is the model named first, or the one asked for; it is not chosen by its score",
        "“Not shown to differ” does not mean equal: look at the interval of the difference",
        "Rank-biserial correlation: share of the rank sum in favour of the model minus the share against it, −1 … 1. "
        "d_z: mean difference in standard deviations of the differences",
        "Tests say whether these trained models differ on cases like these; with one training each they say nothing of "
        "how another seed would come out",
    ]
    return element("ul", *(element("li", fact + ".") for fact in facts))
