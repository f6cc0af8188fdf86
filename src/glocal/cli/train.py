"""``glocal train``: train a network on a folder of images, then measure it on the test split."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli._parser import Parser
from glocal.cli.evaluate import measuring, print_evaluation
from glocal.errors import UserError, counted
from glocal.files import read_json

if TYPE_CHECKING:
    from glocal.evaluation import ClassificationEvaluation, Evaluation
    from glocal.training import RunResult

__all__ = ["run"]

_DEFAULT = "default"


def _parser() -> Parser:
    from glocal.training.recipe_files import add_recipe_arguments, shipped_recipes

    parser = Parser(
        "train",
        "Train a network on images with masks or classes. Settings come from the recipe; flags go before it. "
        "The best epoch is chosen on the validation split; the test split is measured once, at the end.",
        """
        glocal train polyps --recipe quick
        glocal train polyps --model lmnet --recipe lmnet --train.epochs 50 --output runs/polyps
        glocal train polyps --recipe mine.yaml --data.size '[256, 320]' --train.precision bf16
        glocal train lesions --model hifuse_micro --recipe quick             # a folder per class, or labels.csv
        glocal train lesions --model hifuse_tiny --recipe hifuse --loss.weights balanced
        glocal train --resume runs/polyps
        glocal train polyps --recipe runs/polyps/recipe.yaml --output runs/again
        """,
    )
    shipped = ", ".join(shipped_recipes())
    parser.add_argument("dir", type=str, nargs="?", help="folder of the data; with --resume: where it is now")
    parser.add_argument("--recipe", type=str, help=f"one of {shipped}; or a YAML file (default: {_DEFAULT})")
    parser.add_argument("--output", type=str, help="folder of the run (default: runs/DIR-RECIPE)")
    parser.add_argument("--resume", type=str, help="continue the run in this folder")
    parser.add_argument("--evaluate", type=bool, default=True, help="measure the run on its test split afterwards")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else, on stdout")
    add_recipe_arguments(parser)
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal train``.

    Raises:
        UserError: As :func:`glocal.training.train` and :func:`glocal.training.resume`.
    """
    options = _parser().parse_args(arguments)
    with _decoding() as progress:
        result = _resumed(options, arguments, progress) if options.resume else _trained(options, arguments, progress)
    evaluation = _evaluated(result.folder) if options.evaluate else None
    report = None if evaluation is None else result.folder / "evaluation" / "test" / "report.html"
    best = {**result.best, "epoch": int(result.best["epoch"])}
    if options.json:
        numbers = {name: value if math.isfinite(value) else None for name, value in best.items()}
        summary = {"run": str(result.folder), "epochs": len(result.history), "best": numbers}
        print(json.dumps({**summary, "report": None if report is None else str(report)}, ensure_ascii=False))
        return
    print(f"run      {result.folder} ({counted(len(result.history), 'epoch')})")
    print(f"best     epoch {best['epoch']}: validation {_scores(best)}")
    print(f"model    {result.folder / 'model'}")
    if evaluation is not None:
        print(f"report   {report}\n\ntest split: ", end="")
        print_evaluation(evaluation)


def _scores(best: Mapping[str, float]) -> str:
    """What an epoch came to, for the reader: ``"mDice 0.9124, Dice per image 0.8871"``."""
    from glocal.training.scores import SHOWN

    shown = next(columns for columns in SHOWN.values() if set(columns.values()) <= best.keys())
    return ", ".join(f"{words} {best[name]:.4f}" for words, name in shown.items())


def _trained(options: Any, arguments: list[str], progress: Callable[[int, int], None]) -> RunResult:
    from glocal.training import train
    from glocal.training.recipe_files import recipe_from_arguments, recipe_settings

    if options.dir is None:
        raise UserError("name the folder of the data: glocal train DIR, or continue a run: glocal train --resume RUN")
    parser = _parser()
    parser.set_defaults(recipe_settings(options.recipe or _DEFAULT))
    recipe = recipe_from_arguments(parser.parse_args(arguments))
    output = options.output or Path("runs") / f"{Path(options.dir).resolve().name}-{recipe.name}"
    return train(options.dir, recipe, output, progress=progress)


def _resumed(options: Any, arguments: list[str], progress: Callable[[int, int], None]) -> RunResult:
    from glocal.training import resume
    from glocal.training.recipe_files import recipe_from_arguments, recipe_settings, settings_of
    from glocal.training.run_folder import RunFolder

    for flag in ("recipe", "output"):
        if options[flag] is not None:
            raise UserError(f"--{flag} cannot go with --resume: a resumed run keeps its folder and its recipe")
    kept = recipe_settings(RunFolder(Path(options.resume)).require_run().recipe)
    parser = _parser()
    parser.set_defaults(kept)
    asked = settings_of(recipe_from_arguments(parser.parse_args(arguments)))
    changes = {name: value for name, value in asked.items() if value != kept.get(name, value)}
    return resume(options.resume, options.dir, changes=changes, progress=progress)


def _evaluated(folder: Path) -> Evaluation | ClassificationEvaluation | None:
    """Measure the run on its test split, if it has one."""
    if not read_json(folder / "splits.json")["splits"]["test"]:
        print("there is no test split, so nothing is evaluated", file=sys.stderr)
        return None
    from glocal.inference import evaluate_run

    with measuring() as progress:
        return evaluate_run(folder, split="test", progress=progress)


@contextlib.contextmanager
def _decoding() -> Iterator[Callable[[int, int], None]]:
    """A bar for the decoding of images, where someone is looking."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("decoding images", visible=False)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=done < total)

        yield advance
