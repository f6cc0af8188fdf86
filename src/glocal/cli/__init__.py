"""The command line: ``glocal COMMAND …``. One file per command, imported only when that command runs."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from glocal.errors import UserError, nearest

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "models": "list the networks, or give the facts of one",
    "data": "inspect a folder of images, prepare splits, draw phantoms",
    "train": "train a network on a folder of images",
    "benchmark": "train and evaluate several networks under equal conditions",
    "ablate": "run a declared ablation, or count the cost of its rows",
    "evaluate": "measure a run on one of its splits and write a report",
    "reproduce": "do a table of a publication again, by its protocol and by an honest one",
    "compare": "compare models on the same cases: table, tests, ranks, costs",
    "predict": "segment or classify images with a trained run",
    "measure": "angle of progression and head-symphysis distance, from masks or through a run",
    "explain": "draw where in images the scores of classes come from",
    "profile": "parameters, multiply-adds, latency and memory of a network",
    "convert": "turn a published checkpoint into a model folder",
    "demo": "make phantoms, train, evaluate and predict, end to end",
}
"""Command -> one line of help. Each is a module of this package with ``run(arguments: list[str]) -> None``."""


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: glocal COMMAND [ARGUMENTS]   (glocal COMMAND --help explains one, with examples)",
            "",
            *lines,
            "",
            "  --version, --help",
            "exit codes: 0 done, 1 a bug of ours (with traceback), 2 something you can mend (one line says what)",
        ]
    )


def _dispatch(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return
    command, *rest = arguments
    if command in ("-V", "--version"):
        from glocal import __version__

        print(f"glocal {__version__}")
        return
    if command not in COMMANDS:
        raise UserError(f"no command {command!r}.{nearest(command, COMMANDS)} `glocal --help` lists them")
    importlib.import_module(f"glocal.cli.{command}").run(rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words after ``glocal``; default: those of this process.

    Returns:
        The exit code: 0 done, 1 a bug of ours, 2 something the user can mend, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # a file name need not be printable in the terminal's encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _dispatch(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, where a closed pipe can still be dealt with
    except UserError as error:
        print(f"glocal: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("glocal: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 0
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # Rich's way to say it
            return 0
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except Exception:
        traceback.print_exc()
        print("glocal: this is a bug of ours; please report it with the traceback above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
