"""``glocal data download``: public data sets from their makers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.cli._parser import Parser

if TYPE_CHECKING:
    from rich.progress import TaskID

    from glocal.data.download import Downloaded, PublicSet

__all__ = ["run"]


def run(arguments: list[str]) -> None:
    """Run ``glocal data download`` with the words after it."""
    parser = Parser(
        "data download",
        "Fetch a public data set from its makers: shows their licence, continues what was interrupted, checks size "
        "and checksum, and unpacks. Without a name, lists what there is. Nothing else in glocal uses the network.",
        """
        glocal data download
        glocal data download kvasir_seg
        glocal data download kvasir_seg --accept-licence --output data/kvasir
        glocal data download msd_hippocampus --accept-licence --json
        """,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the data set; default: list them")
    parser.add_argument("--output", type=Path, help="the folder to make; default: NAME, here")
    parser.add_argument("--accept-licence", action="store_true", help="accept the makers' licence, which is shown")
    parser.add_argument("--keep-archives", action="store_true", help="keep the archives after unpacking")
    parser.add_argument("--json", action="store_true", help="print the list, or what was done, as JSON")
    given = parser.parse_args(arguments)
    if given.name is None:
        _list(given.json)
        return

    from glocal.data.download import download
    from glocal.data.download.downloading import find_set

    entry = find_set(given.name)
    if not given.json:
        _introduce(entry)
    with _Bars() as bars:
        done = download(
            entry,
            given.output or Path(entry.name),
            accept_licence=given.accept_licence,
            keep_archives=given.keep_archives,
            watch=bars,
        )
    _report(entry, done, given.json)


def _list(as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from glocal.data.download import CATALOGUE, ON_REQUEST

    if as_json:
        free = [
            {"name": name, "title": one.title, "home": one.home, "cite": one.citation, "licence": one.licence}
            for name, one in CATALOGUE.items()
        ]
        asked = [
            {"name": name, "title": one.title, "home": one.home, "steps": list(one.steps)}
            for name, one in ON_REQUEST.items()
        ]
        print(json.dumps({"download": free, "on_request": asked}, indent=2))
        return
    table = Table("name", "what", "makers' page", header_style="bold")
    for name, one in CATALOGUE.items():
        table.add_row(name, escape(one.title), one.home)
    table.add_section()
    for name, other in ON_REQUEST.items():
        table.add_row(name, f"{escape(other.title)} [dim](on request)[/]", other.home)
    Console(highlight=False, emoji=False).print(table)
    print("glocal data download NAME shows the licence, or the steps to take")


def _introduce(entry: PublicSet) -> None:
    print(f"{entry.title}\n{entry.home}\ncite: {entry.citation}\nlicence: {entry.licence}\n")


def _report(entry: PublicSet, done: Downloaded, as_json: bool) -> None:
    then = entry.then.format(folder=done.folder)
    if as_json:
        facts = {"name": entry.name, "folder": str(done.folder), "files": done.files, "fresh": done.fresh}
        print(json.dumps({**facts, "unverified": list(done.unverified), "next": then}, indent=2))
        return
    if not done.fresh:
        print(f"{done.folder}: complete already ({done.files} files); next: {then}")
        return
    for name in done.unverified:
        print(f"{name}: its makers publish no checksum; what came was taken as it is")
    print(f"{done.files} files in {done.folder}; next: {then}")


class _Bars:
    """A progress bar per file on stderr."""

    def __enter__(self) -> _Bars:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.progress.start()
        return self

    def __call__(self, name: str, so_far: int, total: int | None) -> None:
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(task, completed=so_far, total=total)

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
