"""``glocal evaluate``: measure a run on one of its splits, or masks or a table of classes, and write a report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._evaluation_tables import print_evaluation
from glocal.cli._parser import Parser
from glocal.cli._postprocessing_table import print_trials
from glocal.errors import UserError

if TYPE_CHECKING:
    from glocal.evaluation import ClassificationEvaluation, Evaluation

EXAMPLES = """
glocal evaluate runs/polyps                                   # its test split
glocal evaluate runs/polyps --preset lmnet                    # as the paper's tables
glocal evaluate runs/polyps --data other-polyps --split all   # images of another hospital
glocal evaluate runs/polyps --choose_postprocessing           # on its validation split; kept in its model
glocal evaluate --predictions masks/ --data polyps --splits polyps/splits.json
glocal evaluate runs/lesions --preset hifuse                  # a classifier
glocal evaluate --predictions lesions.csv --data lesions      # the table of `glocal predict`
glocal evaluate runs/polyps --json | jq .macro.foreground.dice
"""

__all__ = ["measuring", "print_evaluation", "run"]

_OF_MASKS = ("policy", "tolerance", "unit")


def _parser() -> Parser:
    parser = Parser(
        "evaluate",
        "Measure a run on one of its splits, masks at the size of the images, and write cases.csv, summary.json and "
        "report.html; or compare masks, or a table of predicted classes, that any program made with the truth.",
        EXAMPLES,
    )
    parser.add_argument("run", type=str, nargs="?", metavar="RUN", help="folder of a finished training")
    parser.add_argument(
        "--predictions",
        type=str,
        metavar="FROM",
        help="instead of RUN: a folder of masks, or a .csv table of classes, to compare",
    )
    parser.add_argument("--data", type=str, metavar="DIR", help="folder of the data (default: that of the run)")
    parser.add_argument(
        "--split", type=Literal["train", "val", "test", "all"], default="test", help="which cases are measured"
    )
    parser.add_argument("--splits", type=str, metavar="FILE", help="with --predictions: a splits.json; else all cases")
    parser.add_argument(
        "--preset",
        type=str,
        help="also compute the metrics of a publication, its way: lmnet, hiperformer (volumes), iugc2024 (angles), "
        "hifuse (classes)",
    )
    parser.add_argument(
        "--policy", type=str, default="penalty", help="for empty masks: penalty, zero_one or skip (the report explains)"
    )
    parser.add_argument("--tolerance", type=float, default=2.0, help="of the surface Dice NSD, in mm or pixels")
    parser.add_argument(
        "--unit", type=Literal["auto", "px"], default="auto", help="of distances: mm where it is known, or pixels"
    )
    parser.add_argument("--tta", action="store_true", help="average predictions over the flips that training had")
    parser.add_argument(
        "--tta_views", type=Literal["mirror", "flips", "rotations"], help="as `glocal predict --tta_views`"
    )
    parser.add_argument(
        "--tiling", type=Literal["auto", "never", "always"], default="auto", help="as `glocal predict --tiling`"
    )
    parser.add_argument(
        "--postprocess", type=Literal["model", "none"], default="model", help="as `glocal predict --postprocess`"
    )
    parser.add_argument(
        "--choose_postprocessing",
        action="store_true",
        help="measure nothing: choose on the validation split what is mended in masks, and store it in the model",
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
        UserError: As :func:`glocal.inference.evaluate_run`, :func:`glocal.inference.evaluate_masks` and
            :func:`glocal.inference.evaluate_table`.
    """
    given = _parser().parse_args(arguments)
    if (given.run is None) == (given.predictions is None):
        raise UserError(
            "name either a run (glocal evaluate RUN) or predictions (glocal evaluate --predictions FROM --data DIR)"
        )
    if given.choose_postprocessing:
        _choose(given)
        return
    evaluation: Evaluation | ClassificationEvaluation
    if given.predictions is None:
        evaluation, folder = _of_run(given)
    elif given.data is None:
        raise UserError("say what the predictions are compared with: --data DIR")
    elif Path(given.predictions).suffix.lower() == ".csv":
        evaluation, folder = _of_table(given)
    else:
        evaluation, folder = _of_masks(given)
    if given.json:
        print(json.dumps({**evaluation.summary, "folder": str(folder)}, indent=2, ensure_ascii=False))
        return
    print_evaluation(evaluation)
    print(f"report: {folder / 'report.html'}")


def _common(given: Any, folder: Path) -> dict[str, Any]:
    overwrite = given.overwrite or given.output is None  # a run's own evaluation can always be made again
    return {**{name: given[name] for name in ("preset", *_OF_MASKS)}, "output": folder, "overwrite": overwrite}


def _of_run(given: Any) -> tuple[Evaluation | ClassificationEvaluation, Path]:
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
            tta=given.tta_views or given.tta,
            tiling=given.tiling,
            batch_size=given.batch_size,
            postprocess=given.postprocess == "model",
            progress=progress,
            **_common(given, folder),
        )
    return evaluation, folder


def _choose(given: Any) -> None:
    from glocal.inference.choosing import choose_for_run

    if given.run is None:
        raise UserError("post-processing is chosen for a run and stored in its model: glocal evaluate RUN")
    if given.split not in ("test", "val"):
        raise UserError(f"post-processing is chosen on the validation split, not on {given.split}; leave --split out")
    with measuring() as progress:
        choice = choose_for_run(
            given.run,
            data=given.data,
            device=given.device,
            tta=given.tta_views or given.tta,
            batch_size=given.batch_size,
            progress=progress,
        )
    if given.json:
        trials = [dataclasses.asdict(trial) for trial in choice.trials]
        print(json.dumps({"postprocessing": choice.postprocessing.to_json(), "trials": trials}, indent=2))
        return
    print_trials(choice)


def _of_masks(given: Any) -> tuple[Evaluation, Path]:
    from glocal.inference import evaluate_masks

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


def _of_table(given: Any) -> tuple[ClassificationEvaluation, Path]:
    from glocal.inference import evaluate_table
    from glocal.inference.table_scoring import table_folder

    options = _common(given, Path(given.output or table_folder(given.predictions)))
    usual = _parser().get_defaults()
    for name in _OF_MASKS:
        if options.pop(name) != usual[name]:
            raise UserError(f"--{name} goes with masks, and {given.predictions} is a table of classes; leave it out")
    with measuring() as progress:
        evaluation = evaluate_table(
            given.predictions, given.data, splits=given.splits, split=given.split, progress=progress, **options
        )
    return evaluation, options["output"]


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
