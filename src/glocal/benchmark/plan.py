"""What a benchmark is to do: variants × folds × seeds, and what all of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from glocal.errors import UserError, nearest

__all__ = ["FORMAT", "Cell", "Part", "Plan", "Variant", "slug"]

FORMAT = 1
"""Of ``benchmark.json`` and ``cell.json``."""

Part = Literal["test", "val"]


def slug(label: str) -> str:
    """A label as a name of a folder: letters, digits and ``. _ + @ -``; everything else becomes one ``-``."""
    return re.sub(r"[^\w.+@-]+", "-", label, flags=re.ASCII).strip("-.") or "variant"


@dataclass(frozen=True)
class Variant:
    """One line of the table: a network, its options, and how it is trained.

    Attributes:
        label: What it is called in tables; different for every variant of a plan.
        model: Registered name of the network.
        arguments: Options of the network.
        recipe: Name of a shipped recipe, or path of a YAML file.
        settings: Settings that go before those of the recipe, by dotted name, such as ``{"train.batch_size": 4}``.
    """

    label: str
    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``benchmark.json``."""
        return {
            "label": self.label,
            "model": self.model,
            "arguments": dict(self.arguments),
            "recipe": self.recipe,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation."""

    variant: Variant
    fold: int
    """From 0; 0 where there are no folds."""
    seed: int

    @property
    def id(self) -> str:
        """Name of its folder below ``cells/``: ``lmnet-f0-s1``."""
        return f"{slug(self.variant.label)}-f{self.fold}-s{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first training; :func:`glocal.benchmark.make_plan` makes it.

    Attributes:
        data: Root of the data, absolute.
        facts: Of the data: ``fingerprint``, ``task``, ``classes``, ``cases``, ``channels``.
        variants: The lines of the table.
        recipes: Every setting of each variant's recipe by dotted name, under its label; fold, seed and splits are
            those of the cell.
        splits: Content of ``splits.json``, the same for all cells.
        folds: Number of folds; 1 where there is a single split.
        seeds: Of initial weights, order of cases, augmentation and dropout.
        budget_s: Seconds of training that all cells share equally. None: every cell trains as many epochs as its
            recipe says.
        settings: Settings that go before those of all recipes, by dotted name.
        evaluated: The part that is measured: ``"test"``, or ``"val"`` where the splits have no test part.
        epochs: Under a budget the number of epochs of each label, once :func:`glocal.benchmark.probe_plan` has
            estimated how many fit the share of a cell.
        notes: What a reader must be told, a sentence each.
    """

    data: Path
    facts: Mapping[str, Any]
    variants: tuple[Variant, ...]
    recipes: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, Any]
    folds: int
    seeds: tuple[int, ...]
    budget_s: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluated: Part = "test"
    epochs: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order in which they are run: every variant sees a fold and a seed before the next one."""
        return tuple(
            Cell(variant, fold, seed) for seed in self.seeds for fold in range(self.folds) for variant in self.variants
        )

    @property
    def share_s(self) -> float | None:
        """Seconds of training that each cell gets of the budget."""
        return None if self.budget_s is None else self.budget_s / len(self.cells)

    def cell(self, id: str) -> Cell:
        """The cell with this id.

        Raises:
            UserError: There is none; the nearest is named.
        """
        cells = {cell.id: cell for cell in self.cells}
        if id not in cells:
            raise UserError(f"no cell {id!r} in this benchmark.{nearest(id, cells)} --dry-run lists them")
        return cells[id]

    def with_epochs(self, epochs: Mapping[str, int]) -> Plan:
        """The same plan with estimated numbers of epochs."""
        return replace(self, epochs={**self.epochs, **epochs})

    def to_json(self) -> dict[str, Any]:
        """The content of ``benchmark.json``; the splits are kept in ``splits.json`` beside it."""
        return {
            "format": FORMAT,
            "data": {"root": str(self.data), **self.facts},
            "variants": [variant.to_json() for variant in self.variants],
            "folds": self.folds,
            "seeds": list(self.seeds),
            "budget_seconds": self.budget_s,
            "share_seconds": self.share_s,
            "settings": dict(self.settings),
            "evaluated": self.evaluated,
            "recipes": {label: dict(settings) for label, settings in self.recipes.items()},
            "epochs": dict(self.epochs),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, plain: Any, splits: Any) -> Plan:
        """The plan that :meth:`to_json` wrote.

        Args:
            plain: Content of ``benchmark.json``.
            splits: Content of ``splits.json``.

        Raises:
            ValueError: Another format, or values of the wrong kind.
        """
        try:
            if plain["format"] != FORMAT:
                raise ValueError(f"format {plain['format']!r}")
            facts = dict(plain["data"])
            if plain["evaluated"] not in ("test", "val") or not isinstance(splits, dict):
                raise ValueError("evaluated or splits")
            return cls(
                Path(facts.pop("root")),
                facts,
                tuple(Variant(**variant) for variant in plain["variants"]),
                {str(label): dict(settings) for label, settings in plain["recipes"].items()},
                splits,
                int(plain["folds"]),
                tuple(int(seed) for seed in plain["seeds"]),
                None if plain["budget_seconds"] is None else float(plain["budget_seconds"]),
                dict(plain["settings"]),
                plain["evaluated"],
                {str(label): int(number) for label, number in plain["epochs"].items()},
                tuple(map(str, plain["notes"])),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
