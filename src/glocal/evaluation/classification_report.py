"""``report.html`` of a classifier: one self-contained page that shows what was found and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import counted
from glocal.evaluation import classification_figures as plots
from glocal.evaluation.classification_metrics import BY_CLASS, CALIBRATION, OVERALL, SCORES
from glocal.evaluation.figures import curves
from glocal.evaluation.mistakes import gallery
from glocal.evaluation.page import Markup, element, join, table
from glocal.evaluation.plots import PALETTE
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

if TYPE_CHECKING:
    from glocal.evaluation.classification import ClassificationEvaluation

__all__ = ["render_classification"]

_MOST_CASES = 1000
_MOST_CONFUSED = 40
_ONE_LABEL = (
    ("overall", "accuracy"),
    ("overall", "balanced_accuracy"),
    ("macro", "f1"),
    ("macro", "auroc"),
    ("overall", "kappa"),
    ("overall", "ece"),
)
_LABELS = (
    ("macro", "f1"),
    ("micro", "f1"),
    ("macro", "auroc"),
    ("macro", "auprc"),
    ("overall", "subset_accuracy"),
    ("overall", "ece"),
)
_NAMES = {("macro", "auprc"): "mAP (AUPRC, macro)"}


def render_classification(
    evaluation: ClassificationEvaluation,
    *,
    title: str,
    manifest: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page; see :meth:`glocal.evaluation.ClassificationEvaluation.write` for the arguments.

    Raises:
        UserError: matplotlib or Pillow is not installed, or an image cannot be read.
    """
    several = evaluation.sample.multi_label
    sections = [
        ("All classes together", _together(evaluation)),
        ("Per class", _per_class(evaluation)),
        ("Published convention", published(evaluation.summary["published"], "ours", "ours")),
        ("Found and missed" if several else "Confusion", _confusion(evaluation)),
        ("ROC and precision-recall", _curves(evaluation)),
        ("Calibration", _calibration(evaluation)),
        ("Most confident mistakes", gallery(evaluation)),
        ("Training curves", curves(history)),
        ("All cases", _cases(evaluation)),
        ("How to read the numbers", _reading(evaluation)),
        ("Manifest", manifest_table(manifest)),
    ]
    before = [_headline(evaluation), notes_list(evaluation.summary["notes"])]
    return document_of(title, _subtitle(evaluation), before, sections)


def _subtitle(evaluation: ClassificationEvaluation) -> Markup:
    summary, names = evaluation.summary, evaluation.classes
    groups = f" in {counted(summary['groups'], 'group')}" if summary["groups"] else ""
    listed = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    facts = [
        f"{counted(summary['cases'], 'case')}{groups}",
        f"{counted(len(names), 'label') if summary['multi_label'] else f'{len(names)} classes'}: {listed}",
        "no temperature fitted" if summary["temperature"] == 1 else f"temperature {summary['temperature']:.3g}",
    ]
    return element("p", " · ".join(facts), class_="soft")


def _percent(evaluation: ClassificationEvaluation) -> str:
    return f"{100 * evaluation.bootstrap.confidence:g} %"


def _headline(evaluation: ClassificationEvaluation) -> Markup:
    cards = []
    for block, name in _LABELS if evaluation.sample.multi_label else _ONE_LABEL:
        facts = evaluation.summary[block][name]
        label = SCORES[name].label if block == "overall" else f"{SCORES[name].label}, {block}"
        cards.append(
            element(
                "li",
                _NAMES.get((block, name), label),
                element("b", number(facts["value"])),
                element("small", number_range(facts["ci"])),
            )
        )
    text = (
        f"In brackets the {_percent(evaluation)} interval of each number. Macro: the mean over the classes. "
        "ECE is best at 0, all others at 1."
    )
    return element("section", element("h2", "In short"), element("ul", *cards, class_="cards"), element("p", text))


def _cell(facts: Mapping[str, Any]) -> Markup:
    if facts["value"] is None:
        return Markup(NONE)
    undefined = facts.get("n_undefined")
    left_out = [element("small", f"{undefined} left out")] if undefined else []
    return join([number(facts["value"]), element("small", number_range(facts["ci"])), *left_out])


def _together(evaluation: ClassificationEvaluation) -> Markup:
    summary = evaluation.summary
    overall = [
        [score.label, _cell(summary["overall"][score.name]), "lower" if score.direction < 0 else "higher"]
        for score in OVERALL
        if score.name in summary["overall"]
    ]
    blocks = [name for name in ("macro", "weighted", "micro") if summary[name]]
    means = [
        [
            score.label,
            *(_cell(summary[block][score.name]) if score.name in summary[block] else NONE for block in blocks),
        ]
        for score in BY_CLASS
        if score.name in summary["macro"]
    ]
    return element(
        "div",
        table(["metric", f"value, {_percent(evaluation)} interval", "better"], overall, caption="Of all cases"),
        table(["metric", *blocks], means, caption="Means over the classes"),
        class_="plots",
    )


def _per_class(evaluation: ClassificationEvaluation) -> Markup:
    per_class = evaluation.summary["per_class"]
    shown = [score for score in BY_CLASS if score.name in evaluation.summary["macro"] and score.labels == "any"]
    rows = [
        [name, f"{facts['n_truth']:,}", f"{facts['n_prediction']:,}", *(_cell(facts["metrics"][s.name]) for s in shown)]
        for name, facts in per_class.items()
    ]
    text = f"Each class against the rest; in brackets the {_percent(evaluation)} interval. A dash is undefined."
    return table(["class", "cases", "predicted", *(score.label for score in shown)], rows, caption=text)


def _confusion(evaluation: ClassificationEvaluation) -> Markup:
    counts, names = evaluation.confusion, evaluation.classes
    if evaluation.sample.multi_label:
        rows = [
            [name, *(f"{count:,}" for count in (cell[1, 1], cell[1, 0], cell[0, 1], cell[0, 0]))]
            for name, cell in zip(names, counts, strict=True)
        ]
        headers = ["label", "there and predicted", "there, missed", "not there, yet predicted", "neither"]
        return table(headers, rows, caption="Number of cases")
    if len(names) > _MOST_CONFUSED:
        return element("p", f"The confusion matrix of {len(names)} classes is in summary.json.")
    caption = "Rows are true classes and add up to 100 %, columns are predicted; number of cases below"
    return confusion(counts, names, caption=caption, digits=1)


def _curves(evaluation: ClassificationEvaluation) -> Markup:
    per_class = list(evaluation.summary["per_class"].values())
    areas = [facts["metrics"]["auroc"]["value"] for facts in per_class]
    known = [k for k, area in enumerate(areas) if area is not None]
    if not known:
        return element("p", "No class has both cases of it and others: there is no curve.")
    shown = sorted(sorted(known, key=lambda k: areas[k])[: len(PALETTE)])
    texts = {key: [number(per_class[k]["metrics"][key]["value"]) for k in shown] for key in ("auroc", "auprc")}
    rankings = evaluation.sample.rankings["auroc"]
    drawn = plots.curves_of([rankings[k] for k in shown], [evaluation.classes[k] for k in shown], texts)
    text = "Each class against the rest, by its probability. Dotted: what chance gives."
    if len(shown) < len(areas):
        text += f" Shown are the {len(shown)} classes of the lowest defined AUROC, of {len(areas)}."
    figures = [element("figure", plot) for plot in drawn]
    return join([element("p", text), element("div", *figures, class_="plots")])


def _calibration(evaluation: ClassificationEvaluation) -> Markup:
    facts, sample = evaluation.summary["calibration"], evaluation.sample
    names = {"uncalibrated": "as the network gives it", "calibrated": f"temperature {sample.temperature:.3g}"}
    rows = [[names[state], *(number(entry[metric]) for metric in CALIBRATION)] for state, entry in facts.items()]
    what = "how often the label was there" if sample.multi_label else "how often it was right"
    pairs = ("label there", "label not there") if sample.multi_label else ("right", "wrong")
    label = "probability of a label" if sample.multi_label else "probability of the predicted class"
    states = [(names[state], entry["reliability"]) for state, entry in facts.items()]
    drawn = [
        plots.reliability_diagram(states, what),
        plots.confidences(sample.confidence, sample.confirmed, pairs, label),
    ]
    by_class = sorted(evaluation.summary["per_class"].items(), key=lambda item: -item[1]["calibration"]["ece"])
    classes = []
    for name, entry in by_class:
        mean, frequency, error = (entry["calibration"][key] for key in ("mean_probability", "frequency", "ece"))
        classes.append([name, number(mean), number(frequency), number(mean - frequency, signed=True), number(error)])
    headers = ["class", "mean probability", "frequency", "difference", "ECE of the class"]
    fitted = (
        "The temperature was fitted on the validation cases and divides the logits; it changes no prediction."
        if len(facts) > 1
        else "No temperature was fitted."
    )
    text = f"{fitted} In the diagram points below the dotted line are overconfident; larger ones hold more cases."
    return join(
        [
            element("p", text),
            table(["probabilities", *(SCORES[name].label for name in CALIBRATION)], rows, caption="Lower is better"),
            element("div", *(element("figure", plot) for plot in drawn), class_="plots"),
            table(headers, classes, caption="By class, worst calibrated first"),
        ]
    )


def _cases(evaluation: ClassificationEvaluation) -> Markup:
    sample, names = evaluation.sample, evaluation.classes
    wrong = (sample.truth != sample.predicted).any(axis=1)
    sure = np.abs(sample.probability - sample.truth).max(axis=1) if sample.multi_label else sample.confidence[:, 0]
    order = np.lexsort((-sure, ~wrong))
    rows = []
    for index in order[:_MOST_CASES]:
        truth, predicted = (
            ", ".join(names[k] for k in np.flatnonzero(row[index])) or "none"
            for row in (sample.truth, sample.predicted)
        )
        case, p = evaluation.cases[index], sample.probability[index]
        true = p[sample.truth[index]]
        rows.append(
            [
                case.id,
                "wrong" if wrong[index] else "right",
                number(p.max()),
                number(true.min() if true.size else None),
                element("span", truth, class_="wrap"),
                element("span", predicted, class_="wrap"),
                case.group or NONE,
            ]
        )
    text = "Wrong ones first, the most confident before; a click on a column sorts. Every probability is in cases.csv."
    if len(order) > _MOST_CASES:
        text += f" Only {_MOST_CASES} of {len(order)} cases are listed here."
    least = "lowest p of what is true" if sample.multi_label else "p of the truth"
    headers = ["case", "verdict", "highest p", least, "truth", "prediction", "group"]
    return element("div", table(headers, rows, caption=text, sortable=True), class_="tall")


def _reading(evaluation: ClassificationEvaluation) -> Markup:
    conventions = evaluation.summary["conventions"]
    interval = conventions["interval"]
    rows = [
        [
            SCORES[name].label,
            element("span", formula),
            "lower" if SCORES[name].direction < 0 else "higher",
        ]
        for name, formula in conventions["metrics"].items()
    ]
    facts = [
        "Of one class: TP are the cases of it predicted as it, P all predicted as it, T all of it; n are all cases",
        f"Predicted is {conventions['prediction']}; probability = {conventions['probability']}",
        "Undefined, shown as a dash and left out of means: " + conventions["undefined"].removeprefix("null: "),
        f"Macro: {conventions['macro'].replace('n_undefined', 'undefined')}. Weighted: {conventions['weighted']}",
        f"ECE: {conventions['ece']}",
        f"Intervals: {interval['method']}; {interval['clusters']} clusters, {interval['resamples']} resamples, "
        f"{_percent(evaluation)}, seed {interval['seed']}. They say how a number would vary with other cases of the "
        "same kind, not how training varies, nor how the model does elsewhere",
    ]
    if conventions["micro"]:
        facts.insert(4, f"Micro: {conventions['micro']}")
    listed = element("ul", *(element("li", fact + ".") for fact in facts))
    definitions = table(["metric", "definition", "better"], rows, caption="Definitions")
    return join([element("div", definitions, class_="words"), listed])
