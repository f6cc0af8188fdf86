"""The command line as a whole: help, versions, exit codes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import glocal
from glocal.cli import COMMANDS, main


def test_help_lists_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command, line in COMMANDS.items():
        assert command in shown
        assert line in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_helps_with_examples(command, capsys) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"glocal {command}" in shown
    assert "class '" not in shown


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"glocal {glocal.__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("glocal: error: no command 'trian'. Did you mean 'train'?")
    assert error.count("\n") == 1


def test_an_unknown_option_names_the_nearest(capsys) -> None:
    assert main(["models", "--max-parms", "1e6"]) == 2
    assert "Did you mean '--max_params'?" in capsys.readouterr().err


def test_options_take_hyphens_and_underscores(capsys) -> None:
    assert main(["models", "--names", "--max-params=1e6"]) == 0
    hyphens = capsys.readouterr().out
    assert main(["models", "--names", "--max_params", "1e6"]) == 0
    assert capsys.readouterr().out == hyphens


def test_a_bug_of_ours_exits_with_1_and_a_traceback(capsys, monkeypatch) -> None:
    def broken(arguments: list[str]) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(importlib.import_module("glocal.cli.models"), "run", broken)
    assert main(["models"]) == 1
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_an_interruption_exits_with_130(capsys, monkeypatch) -> None:
    def interrupted(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("glocal.cli.models"), "run", interrupted)
    assert main(["models"]) == 130


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "glocal", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("glocal: error: ")


@pytest.mark.parametrize("words", [["models"], ["models", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_stops_reading_is_no_error(words) -> None:
    """As with ``glocal models | head -1``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "glocal", *words], stdout=stream, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b""
    assert done.returncode == 0
