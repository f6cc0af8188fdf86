"""``glocal data``: the commands about data sets; here splits and phantoms."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from glocal.cli._parser import Parser
from glocal.errors import UserError, counted, nearest

if TYPE_CHECKING:
    from rich.table import Table

    from glocal.data.cases import Dataset
    from glocal.data.splits import Splits

__all__ = ["TASK_HELP", "Task", "progress_bar", "run"]

COMMANDS = {
    "download": "fetch a public data set from its makers, or say how to get it",
    "inspect": "say what a folder of images or volumes holds and what is wrong with it",
    "prepare": "convert a data set as its makers distribute it, or to nnU-Net's format",
    "mend": "write a copy of a data set in which the usual mistakes are mended",
    "splits": "make or show the train, val and test parts of a data set",
    "phantom": "draw ultrasound phantoms with exactly known masks and angle of progression",
}

_SPLITS_WIDTH = 70
"""Titles of classes that fit beside each other in a terminal, in characters."""

Task: TypeAlias = Literal["segmentation", "classification"]
TASK_HELP = "segmentation or classification, where both are possible; default: segmentation where there are masks"


def run(arguments: list[str]) -> None:
    """Run ``glocal data`` with the words after it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<8}  {text}" for name, text in COMMANDS.items())
        print(f"usage: glocal data COMMAND [ARGUMENTS]   (glocal data COMMAND --help explains one)\n\n{lines}")
        return
    command, *rest = arguments
    if command not in COMMANDS:
        raise UserError(f"no command 'data {command}'.{nearest(command, COMMANDS)} `glocal data --help` lists them")
    _command(command)(rest)


def _command(name: str) -> Callable[[list[str]], None]:
    """The function of a command; those in modules of their own are imported when they run."""
    if name == "download":
        from glocal.cli import _data_download

        return _data_download.run
    if name == "inspect":
        from glocal.cli import _data_inspect

        return _data_inspect.run
    if name in ("prepare", "mend"):
        from glocal.cli import _data_prepare

        return _data_prepare.prepare if name == "prepare" else _data_prepare.mend
    return {"splits": _splits, "phantom": _phantom}[name]


@contextlib.contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr while there is something to wait for."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _splits(arguments: list[str]) -> None:
    parser = Parser(
        "data splits",
        "Make the train, val and test parts of a data set, by group and stratified, and write them to splits.json; "
        "or show those that are there. Existing splits are never made anew without --remake. Training uses the "
        "splits.json in the folder of the data.",
        """
        glocal data splits polyps
        glocal data splits polyps --fractions '[0.7, 0.1, 0.2]' --seed 1 --output polyps-70.json
        glocal data splits polyps --folds 5 --output polyps-5fold.json
        glocal data splits breast --task classification --output breast-classes.json
        """,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data set")
    parser.add_argument("--task", type=Task | None, help=TASK_HELP)
    parser.add_argument("--seed", type=int, help="seed of the draw (0)")
    parser.add_argument("--fractions", type=list[float], help="shares of train, val and test ('[0.8, 0.1, 0.1]')")
    parser.add_argument("--folds", type=int, help="cross-validation with so many folds beside the test part")
    parser.add_argument("--output", type=Path, help="the file; default: splits.json in DIR")
    parser.add_argument("--remake", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="print the content of the file instead of a table")
    given = parser.parse_args(arguments)

    from glocal.data import open_dataset, open_splits

    dataset = open_dataset(given.folder, given.task)
    with progress_bar("reading masks") as progress:
        dataset.scan(progress)
    path = given.output or given.folder / "splits.json"
    splits = open_splits(path, dataset, given.seed, given.fractions, given.folds, given.remake)
    if given.json:
        print(json.dumps(splits.to_json(), indent=2, ensure_ascii=False))
        return
    _print_splits(path, dataset, splits)


def _print_splits(path: Path, dataset: Dataset, splits: Splits) -> None:
    from rich.console import Console
    from rich.markup import escape

    of_class = dataset.task == "classification"
    strata = dataset.classes if of_class else sorted({case.stratum for case in dataset.cases if case.stratum})
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    if splits.folds:
        parts = {f"fold {number} val": fold.val for number, fold in enumerate(splits.folds)} | {"test": splits.test}
    rows = []
    for ids in parts.values():
        cases = dataset.select(ids)
        members = Counter(dataset.classes[label] for case in cases for label in case.labels)
        members = members if of_class else Counter(case.stratum for case in cases if case.stratum)
        counts = [members[stratum] for stratum in strata]
        rows.append([str(len(cases)), str(len({case.group for case in cases})), *map(str, counts)])
    table = _turned(list(parts), ["cases", "groups", *strata], rows)
    console = Console(highlight=False, emoji=False)
    origin = "came with the data" if splits.ready_made else f"seed {splits.seed}"
    console.print(f"[bold]{escape(str(path))}[/bold]: {counted(len(dataset), 'case')}, {origin}")
    for note in splits.notes:
        console.print(f"  {escape(note)}")
    console.print(table)


def _turned(parts: list[str], titles: list[str], rows: list[list[str]]) -> Table:
    """A part of the split in each row; where there are many classes, or long names, in each column."""
    from rich.markup import escape
    from rich.table import Table

    if len("".join(titles)) + 3 * len(titles) <= _SPLITS_WIDTH:
        table = Table("part", header_style="bold")
        heads, body, lines = titles, parts, rows
    else:
        table = Table("", header_style="bold")
        heads, body, lines = parts, titles, [list(column) for column in zip(*rows, strict=True)]
    for title in heads:
        table.add_column(escape(title), justify="right")
    for name, cells in zip(body, lines, strict=True):
        table.add_row(escape(name), *cells)
    return table


def _phantom(arguments: list[str]) -> None:
    parser = Parser(
        "data phantom",
        "Draw intrapartum-ultrasound phantoms (pubic symphysis and fetal head) as a data set: images, masks, and "
        "cases.csv with the ellipses, the angle of progression, the station of the head as class of the image, "
        "and the pixel size. The same seed draws the same cases.",
        """
        glocal data phantom phantoms
        glocal data phantom phantoms --count 40 --size 128 --seed 7
        glocal data phantom phantoms --size '[240, 320]'
        """,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write; must not exist or be empty")
    parser.add_argument("--count", type=int, default=200, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="seed of the whole set")
    parser.add_argument("--size", type=int | tuple[int, int], default=256, help="side in pixels, or [height, width]")
    given = parser.parse_args(arguments)

    from glocal.data.phantom import write_phantoms

    size = given.size if isinstance(given.size, int) else tuple(given.size)
    with progress_bar("drawing phantoms") as progress:
        folder = write_phantoms(given.folder, given.count, given.seed, size, progress)
    print(f"{given.count} phantoms in {folder}: images, masks, cases.csv (geometry and angle of progression)")
