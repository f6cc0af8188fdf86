"""The recipe of one cell: that of its variant, with its fold, its seed and its share of the budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glocal.benchmark.plan import Cell, Plan
from glocal.training.recipe import Recipe
from glocal.training.recipe_files import load_recipe, settings_of

__all__ = ["OF_THE_CELL", "cell_recipe", "different_settings", "plain_settings"]

OF_THE_CELL = (
    "data.splits",
    "data.fold",
    "data.folds",
    "data.fractions",
    "data.split_seed",
    "train.seed",
    "train.max_time",
)
"""Settings that a cell gets from the plan."""


def plain_settings(recipe: Recipe) -> dict[str, Any]:
    """All settings by dotted name as JSON has them; those of the cell are left out."""
    settings = {name: value for name, value in settings_of(recipe).items() if name not in OF_THE_CELL}
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def different_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which two recipes differ; one that a recipe does not mention has its default."""
    usual = plain_settings(Recipe())
    first, second = {**usual, **one}, {**usual, **other}
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def cell_recipe(plan: Plan, cell: Cell, splits: Path | None) -> Recipe:
    """Everything that the training of a cell is asked for.

    Args:
        plan: With the epochs of the variant, if it has a budget; without them those of the recipe stand.
        cell: One of its cells.
        splits: File of the shared splits.
    """
    label = cell.variant.label
    settings = {
        **plain_settings(Recipe()),
        **plan.recipes[label],
        "data.splits": None if splits is None else str(splits.absolute()),
        "data.fold": cell.fold if plan.folds > 1 else None,
        "train.seed": cell.seed,
        "train.max_time": plan.share_s,
    }
    if plan.share_s is not None and label in plan.epochs:
        settings["train.epochs"] = plan.epochs[label]
    return load_recipe("default", settings)
