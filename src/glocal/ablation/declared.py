"""What an ablation is: rows of options of one network, beside what a paper printed for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["Ablation", "Measure", "Printed", "Row"]

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Printed:
    """What a paper prints for a row, letter for letter; empty where it prints nothing.

    Attributes:
        parameters: As in ``"5.45 M"``.
        multiply_adds: As in ``"5.15 G"``, by the paper's counter; papers call it FLOPs.
        figures: By the title of the column, as in ``{"mDice %": "94.09±0.11"}``.
    """

    parameters: str = ""
    multiply_adds: str = ""
    figures: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True)
class Row:
    """One row of an ablation.

    Attributes:
        label: What it is called, in few words; unique in the ablation, also as a name of a folder.
        arguments: Options of the network, besides those of its variant.
        model: Another network than the ablation's, with its own options.
        printed: What the paper prints for the row; None: it has no such row.
        remark: What a reader must know, such as a contradiction in the paper.
        refused: The network refuses these options; the row says so, and nothing is counted or trained.
        merged_from: Label of the row whose trained networks this row takes, with their branches merged. Nothing is
            trained for it.
        deployed: Count the network as :func:`glocal.deploy` leaves it.
    """

    label: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    model: str | None = None
    printed: Printed | None = None
    remark: str = ""
    refused: bool = False
    merged_from: str | None = None
    deployed: bool = False

    @property
    def trained(self) -> bool:
        """Whether the row has trainings of its own."""
        return not self.refused and self.merged_from is None


@dataclass(frozen=True)
class Measure:
    """A column of what is measured here.

    Attributes:
        title: Of the column; that of the paper's where both measure the same.
        key: Name of a figure of the ablation's preset, or without one the dotted path of a number in ``summary.json``.
        percent: The number is a fraction, shown in per cent.
    """

    title: str
    key: str
    percent: bool = True


@dataclass(frozen=True)
class Ablation:
    """A declared ablation.

    Attributes:
        name: What ``glocal ablate`` calls it.
        title: One line.
        source: Of the printed figures: paper, table, data set.
        networks: Registered variants of one network that the rows are options of. All are counted; the first is trained
            unless another is asked for.
        rows: In the order of the paper's table, ours behind them.
        columns: Titles of the printed figures.
        measures: What is measured of trained rows.
        preset: Published evaluation that the measures are of; None: they are of our own evaluation.
        recipe: Shipped recipe that rows are trained with by default.
        papers_counter: Whether the paper's counter is known, so that its figures can be counted again.
        merged: Whether the counts of the merged form are of interest beside those of the training form.
        notes: Sentences on the whole table.
    """

    name: str
    title: str
    source: str
    networks: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    preset: str | None = None
    recipe: str = "default"
    papers_counter: bool = False
    merged: bool = False
    notes: tuple[str, ...] = ()

    def row(self, label: str) -> Row:
        """The row called ``label``."""
        return next(row for row in self.rows if row.label == label)
