"""``glocal demo``: phantoms, inspection, training, evaluation and prediction, end to end."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from glocal.cli._parser import Parser
from glocal.errors import UserError

__all__ = ["run"]

MARKER = ".glocal-demo"
"""A file that says a folder was made by the demo and may be made anew."""


def _parser() -> Parser:
    parser = Parser(
        "demo",
        "Draw ultrasound phantoms, train a small LM-Net on them, evaluate and predict. Needs no data and no GPU.",
        "glocal demo\nglocal demo --output /tmp/demo --count 300 --epochs 20",
    )
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for everything the demo makes")
    parser.add_argument("--count", type=int, default=200, help="phantoms to draw")
    parser.add_argument("--epochs", type=int, default=14, help="passes over the training phantoms")
    parser.add_argument("--seed", type=int, default=0, help="seed of phantoms, split and training")
    return parser


def _fresh(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        if not (folder / MARKER).is_file():
            raise UserError(f"{folder}: exists and was not made by the demo; choose another folder (--output)")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def run(arguments: list[str]) -> None:
    """Run the demo with the words after ``glocal demo``."""
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    _fresh(options.output)
    from glocal.cli import data, evaluate, predict, train

    phantoms, trained = str(options.output / "phantoms"), str(options.output / "run")
    steps = [
        ("draw phantoms", data.run, ["phantom", phantoms, f"--count={options.count}", f"--seed={options.seed}"]),
        ("inspect them", data.run, ["inspect", phantoms, "--contact_sheet", str(options.output / "phantoms.png")]),
        (
            "train a small LM-Net",
            train.run,
            [
                phantoms,
                "--recipe",
                "quick",
                "--output",
                trained,
                "--evaluate",
                "false",
                f"--train.epochs={options.epochs}",
                f"--train.seed={options.seed}",
            ],
        ),
        ("evaluate it on the test split", evaluate.run, [trained]),
        ("predict", predict.run, [trained, f"{phantoms}/images", "--output", f"{options.output}/masks", "--overlay"]),
    ]
    for number, (title, command, words) in enumerate(steps, 1):
        name = command.__module__.rpartition(".")[2]
        print(f"\n[{number}/{len(steps)}] {title}: glocal {name} {' '.join(words)}", flush=True)
        command(words)
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Open these:")
    print(f"  report    {Path(trained) / 'evaluation' / 'test' / 'report.html'}")
    print(f"  overlays  {options.output / 'masks' / 'overlays'}")
    print(f"  phantoms  {options.output / 'phantoms.png'}")
