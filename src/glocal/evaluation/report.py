"""``report.html``: one self-contained page that shows what an evaluation found and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import counted
from glocal.evaluation import figures, overlays
from glocal.evaluation.metrics import METRICS, OVERLAP_METRICS, Metric
from glocal.evaluation.page import Markup, element, join, table
from glocal.evaluation.report_parts import (
    NONE,
    confusion,
    document_of,
    manifest_table,
    notes_list,
    number,
    number_range,
    published,
)
from glocal.evaluation.statistics import with_class_means

if TYPE_CHECKING:
    from glocal.evaluation.evaluation import Evaluation

__all__ = ["render"]

_MOST_CASES = 1000
_MOST_CLASSES = 12
_MOST_CONFUSED = 40
_HEADLINE = ("dice", "iou", "hd95", "assd", "nsd")
_COARSE = ("specificity", "accuracy")
"""Close to 1 for any small structure: in the tables of classes, but not worth a plot."""


def render(
    evaluation: Evaluation, *, title: str, manifest: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page; see :meth:`glocal.evaluation.Evaluation.write` for the arguments.

    Raises:
        UserError: matplotlib or Pillow is not installed.
    """
    sections = [
        ("Per class", _per_class(evaluation)),
        (
            "Published convention",
            published(evaluation.summary["published"], "per image, foreground", "per_image_foreground"),
        ),
        ("Distributions", _distributions(evaluation)),
        ("Worst, median and best cases", _gallery(evaluation)),
        ("Training curves", figures.curves(history)),
        ("Pooled figures and confusion", _pooled(evaluation)),
        ("Empty masks", _empty(evaluation)),
        ("All cases", _cases(evaluation)),
        ("How to read the numbers", _reading(evaluation)),
        ("Manifest", manifest_table(manifest)),
    ]
    return document_of(title, _subtitle(evaluation), [_headline(evaluation), _notes(evaluation)], sections)


def _format(value: float | None, metric: Metric | None = None) -> str:
    return number(value, **_style(metric))


def _interval(ends: Sequence[float | None], metric: Metric) -> str:
    return number_range(ends, **_style(metric))


def _style(metric: Metric | None) -> dict[str, Any]:
    if metric is None:
        return {}
    return {"digits": 2 if metric.kind == "distance" else 3, "signed": metric.direction == 0}


def _label(metric: Metric, evaluation: Evaluation) -> str:
    if metric.name == "nsd":
        return f"NSD at {evaluation.settings.tolerance:g} {evaluation.settings.unit}"
    return f"{metric.label} ({evaluation.settings.unit})" if metric.kind == "distance" else metric.label


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.settings.confidence:g} %"


def _subtitle(evaluation: Evaluation) -> Markup:
    summary, settings = evaluation.summary, evaluation.settings
    groups = f" in {counted(summary['groups'], 'group')}" if summary["groups"] else ""
    facts = [
        f"{counted(summary['cases'], 'case')}{groups}",
        f"{len(evaluation.classes)} classes: {', '.join(evaluation.classes)}",
        f"distances in {settings.unit}",
        f"empty masks: {settings.policy.name}",
    ]
    return element("p", " · ".join(facts), class_="soft")


def _headline(evaluation: Evaluation) -> Markup:
    macro = evaluation.summary["macro"]["foreground"]
    cards = []
    for metric in METRICS:
        if metric.name in _HEADLINE:
            facts = macro[metric.name]
            cards.append(
                element(
                    "li",
                    _label(metric, evaluation),
                    element("b", _format(facts["mean"], metric)),
                    element("small", f"{_percent(evaluation)} CI {_interval(facts['ci'], metric)}"),
                    element("small", f"median {_format(facts['median'], metric)} · n = {facts['n']}"),
                )
            )
    what = "Mean over cases of the mean over the foreground classes; in brackets the interval of that mean."
    return element("section", element("h2", "In short"), element("ul", *cards, class_="cards"), element("p", what))


def _notes(evaluation: Evaluation) -> Markup:
    notes = list(evaluation.notes)
    filled = int(sum(result.filled.any(axis=1).sum() for result in evaluation.results))
    if filled:
        notes.append(
            f"in {filled} pairs of case and class a mask is empty and the policy '{evaluation.settings.policy.name}', "
            "not a formula, gave some values; see Empty masks"
        )
    if evaluation.summary["conventions"]["interval"]["clusters"] < 10:
        notes.append("fewer than 10 independent cases or groups: the intervals are rough, and too narrow on average")
    return notes_list(notes)


def _per_class(evaluation: Evaluation) -> Markup:
    summary = evaluation.summary
    blocks = [(name, facts["metrics"]) for name, facts in summary["per_class"].items()]
    background, foreground = blocks[0], blocks[1:]
    rows: list[tuple[str, Mapping[str, Any]]] = [*foreground]
    if len(foreground) > 1:
        rows.append(("mean of foreground", summary["macro"]["foreground"]))
    background_name = background[0] if background[0].lower() == "background" else f"{background[0]} (background)"
    both = [*rows, (background_name, background[1]), ("mean with background", summary["macro"]["with_background"])]
    text = f"Mean; in brackets its {_percent(evaluation)} interval; median; quartiles."
    return join(
        [
            element("p", text),
            _statistics_table("Pixels", both, [m for m in METRICS if not m.surface], evaluation),
            _statistics_table("Surfaces (not of the background)", rows, [m for m in METRICS if m.surface], evaluation),
        ]
    )


def _statistics_table(
    caption: str, rows: Sequence[tuple[str, Mapping[str, Any]]], metrics: Sequence[Metric], evaluation: Evaluation
) -> Markup:
    cells = [[name, *(_statistics(block[metric.name], metric) for metric in metrics)] for name, block in rows]
    return table(["class", *(_label(metric, evaluation) for metric in metrics)], cells, caption=caption)


def _statistics(facts: Mapping[str, Any], metric: Metric) -> Markup:
    if facts["mean"] is None:
        return Markup(NONE)
    left_out = [element("small", f"{facts['n_undefined']} left out")] if facts["n_undefined"] else []
    return join(
        [
            _format(facts["mean"], metric),
            element("small", _interval(facts["ci"], metric)),
            element("small", f"median {_format(facts['median'], metric)}"),
            element("small", f"{_format(facts['q1'], metric)} … {_format(facts['q3'], metric)}"),
            *left_out,
        ]
    )


def _distributions(evaluation: Evaluation) -> Markup:
    names = evaluation.classes[1 : _MOST_CLASSES + 1]
    plots = []
    for index, metric in enumerate(METRICS):
        columns = evaluation.values[:, 1 : len(names) + 1, index].T
        filled = np.stack([result.filled[1 : len(names) + 1, index] for result in evaluation.results], axis=1)
        if metric.name not in _COARSE and not np.isnan(columns).all():
            label = _label(metric, evaluation)
            plots.append(element("figure", figures.distribution(metric, columns, filled, names, label)))
    more = len(evaluation.classes) - 1 - len(names)
    text = "A point is a case; the box holds the middle half of them, its line is the median."
    if any(result.filled[1:].any() for result in evaluation.results):
        text += " A cross is a value that the policy for empty masks gave, at the edge where it lies beyond."
    if more > 0:
        text += f" {more} more classes are in cases.csv."
    return join([element("p", text), element("div", *plots, class_="plots")])


def _gallery(evaluation: Evaluation) -> Markup | None:
    scores = evaluation.scores
    if np.isnan(scores).all():
        return None
    rows = []
    for name, thumbnails in evaluation.gallery.choose(float(np.nanmedian(scores))).items():
        pictures = []
        for thumbnail in thumbnails:
            where = f", slice {thumbnail.slice}" if thumbnail.slice is not None else ""
            text = f"{thumbnail.id}{where}: Dice {thumbnail.score:.3f}"
            pictures.append(element("figure", overlays.draw(thumbnail, text), element("figcaption", text)))
        if pictures:
            rows += [element("h3", name.capitalize()), element("div", *pictures, class_="gallery")]
    key = element(
        "p",
        "By Dice, mean over the foreground classes.",
        element("span", class_="key"),
        "truth",
        element("span", class_="key dash"),
        "prediction",
    )
    return join([key, *rows])


def _pooled(evaluation: Evaluation) -> Markup:
    pooled, counts = evaluation.summary["pooled"], evaluation.confusion
    rows = [(name, block) for name, block in pooled["per_class"].items()]
    rows += [
        ("mean of foreground", pooled["macro"]["foreground"]),
        ("mean with background", pooled["macro"]["with_background"]),
    ]
    shown = [metric for metric in METRICS if metric.name in OVERLAP_METRICS]
    cells = [
        [
            name,
            *(
                join([_format(block[m.name]["value"], m), element("small", _interval(block[m.name]["ci"], m))])
                for m in shown
            ),
        ]
        for name, block in rows
    ]
    text = (
        "All pixels of all cases in one confusion matrix: large structures and images weigh more than in means over "
        f"cases. Pixel accuracy {_format(pooled['pixel_accuracy'])}."
    )
    parts = [element("p", text), table(["class", *(metric.label for metric in shown)], cells, caption="Pooled metrics")]
    if len(counts) > _MOST_CONFUSED:
        parts.append(element("p", f"The confusion matrix of {len(counts)} classes is in summary.json."))
    else:
        caption = "Confusion: rows are true classes and add up to 100 %, columns are predicted; pixels below"
        parts.append(confusion(counts, evaluation.classes, caption=caption, digits=2))
    return join(parts)


def _empty(evaluation: Evaluation) -> Markup:
    policy = evaluation.settings.policy
    rows = [
        [name, *(str(facts["empty"][state]) for state in ("neither", "both", "truth", "prediction"))]
        for name, facts in evaluation.summary["per_class"].items()
    ]
    headers = [
        "class",
        "there and predicted",
        "neither there nor predicted",
        "not there, yet predicted",
        "there, yet not predicted",
    ]
    text = f"Policy “{policy.name}”: {policy.description}."
    return join([element("p", text), table(headers, rows, caption="Number of cases")])


def _cases(evaluation: Evaluation) -> Markup:
    shown = [m for m, metric in enumerate(METRICS) if metric.name not in _COARSE]
    means = with_class_means(np.moveaxis(evaluation.values, 1, 2))[..., -2]  # (N, M), foreground
    order = np.argsort(np.nan_to_num(evaluation.scores, nan=np.inf), kind="stable")
    rows = []
    for index in order[:_MOST_CASES]:
        result = evaluation.results[index]
        numbers = [_format(means[index, m], METRICS[m]) for m in shown]
        rows.append([result.id, result.group or NONE, *numbers, "×".join(map(str, result.shape))])
    text = "Mean over the foreground classes, worst Dice first; a click on a column sorts. Every class is in cases.csv."
    if len(order) > _MOST_CASES:
        text += f" Only the worst {_MOST_CASES} of {len(order)} cases are listed here."
    headers = ["case", "group", *(_label(METRICS[m], evaluation) for m in shown), "size"]
    return element("div", table(headers, rows, caption=text, sortable=True), class_="tall")


def _reading(evaluation: Evaluation) -> Markup:
    conventions = evaluation.summary["conventions"]
    interval = conventions["interval"]
    best = {1: "higher is better", -1: "lower is better", 0: "0 is best"}
    rows = [
        [_label(metric, evaluation), element("span", metric.formula), element("span", best[metric.direction])]
        for metric in METRICS
    ]
    facts = [
        "P are the predicted and T the true pixels of a class; S(P) and S(T) are their surfaces: "
        + conventions["surface"],
        "Macro figures: " + conventions["macro"],
        f"Intervals: {interval['method']}, {interval['clusters']} clusters, {interval['resamples']} resamples, "
        f"{_percent(evaluation)}, seed {interval['seed']}. They say how the mean would vary with other cases of the "
        "same kind, not how training varies, nor how the model does elsewhere",
        f"Distances are in {conventions['unit']}"
        + (" along the true spacing" if conventions["unit"] == "mm" else ": neighbouring pixels are 1 apart"),
    ]
    listed = element("ul", *(element("li", fact + ".") for fact in facts))
    return join([element("div", table(["metric", "definition", ""], rows), class_="words"), listed])
