"""Options of the commands that run grids of trainings: lists, seeds, times and settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from glocal.cli._parser import Parser
from glocal.errors import UserError

__all__ = ["add_running_options", "seconds", "seeds", "settings", "words"]


def add_running_options(parser: Parser) -> None:
    """Where the cells of a grid are computed, and whether they are at all."""
    add = parser.add_argument
    add(
        "--engine",
        type=Literal["local", "ray", "slurm"],
        default="local",
        help="here one by one, a Ray cluster, or an array of Slurm jobs that is written and not submitted",
    )
    add("--cell_cpus", type=int, default=1, help="ray, slurm: processors of a cell")
    add("--cell_gpus", type=int, help="ray, slurm: GPUs of a cell (default: ray 1 where there are any, slurm none)")
    add("--ray_address", type=str, default="auto", help="of the cluster; auto: the one this machine belongs to")
    add("--retry_failed", action="store_true", help="try trainings that failed again")
    add("--dry_run", action="store_true", help="print trainings, time and memory, measured here; write nothing")


def words(text: str) -> list[str]:
    """``"a, b"`` as a list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def seeds(text: str) -> list[int]:
    """``"3"`` as 0, 1, 2; ``"7,8"`` as it is.

    Raises:
        UserError: Neither a number nor numbers.
    """
    found = words(text)
    if not found or not all(re.fullmatch(r"\d{1,9}", word) for word in found):
        raise UserError(f"seeds are {text!r}; give how many (--seeds 3), or which (--seeds 7,8,9)")
    numbers = [int(word) for word in found]
    return numbers if "," in text else list(range(numbers[0]))


def seconds(text: str) -> float:
    """``"1h30m"`` in seconds.

    Raises:
        UserError: No time with a unit.
    """
    match = re.fullmatch(r"(?:([\d.]+)\s*h)?\s*(?:([\d.]+)\s*m(?:in)?)?\s*(?:([\d.]+)\s*s)?", text.strip())
    try:
        if match is None or not any(match.groups()):
            raise ValueError
        hours, minutes, rest = (float(part or 0) for part in match.groups())
    except ValueError:
        raise UserError(f"budget is {text!r}; give a time with its unit: 2h, 90m, 1h30m or 45s (--budget)") from None
    return 3600 * hours + 60 * minutes + rest


def settings(given: Sequence[str]) -> dict[str, Any]:
    """``train.epochs=3`` as a setting; values are YAML.

    Raises:
        UserError: No setting with a value.
    """
    import yaml

    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--set {word}: give a setting and its value, such as --set train.epochs=3")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {word}: the value cannot be read; write it as in a recipe") from None
    return found
