"""What a table of a publication says, and by which protocol it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Column", "PaperTable", "Protocol", "Row", "rows_of"]


@dataclass(frozen=True)
class Column:
    """One metric of a table.

    Attributes:
        name: As the publication prints it.
        figure: Name of the :class:`~glocal.evaluation.preset.Figure` that computes it.
        factor: The publication prints this many times our value: 100 for per cent.
    """

    name: str
    figure: str
    factor: float = 1.0


@dataclass(frozen=True)
class Row:
    """One network of a table.

    Attributes:
        label: As the publication calls it.
        model: Registered name; None for a network that Glocal does not have, of which only the figures are shown.
        printed: The publication's figures by column, as they are printed.
        arguments: Options of the network.
    """

    label: str
    model: str | None
    printed: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """How data are divided, networks trained, epochs chosen and masks or classes measured.

    Attributes:
        recipe: A shipped recipe.
        fractions: Shares of train, validation and test.
        settings: Recipe settings that go before it.
        folds: Folds of a cross-validation. None: one split.
        grouped: Whether cases of one group stay together.
        chosen_on_test: Whether the best epoch is chosen on the part that is measured, as some publications do.
        split_seed: Of the split.
        preset: The published evaluation; None: ours, at the size of the images, with intervals.
        says: What is done, a sentence each.
    """

    recipe: str
    fractions: tuple[float, float, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    folds: int | None = None
    grouped: bool = True
    chosen_on_test: bool = False
    split_seed: int = 0
    preset: str | None = None
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaperTable:
    """A table of a publication.

    Attributes:
        name: ``paper/table`` on the command line.
        title: What it compares.
        source: Publication and table.
        data: The data set, and how many cases the publication had.
        classes: Number of classes, background included.
        columns: Its metrics.
        rows: Its networks.
        published: The publication's protocol.
        honest: Ours.
        seeds: Trainings of every network that its ± suggests.
        differences: Why our figures may differ from the printed ones, a sentence each.
        task: Of its networks.
    """

    name: str
    title: str
    source: str
    data: str
    classes: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    published: Protocol
    honest: Protocol
    seeds: tuple[int, ...] = (0,)
    differences: tuple[str, ...] = ()
    task: Literal["segmentation", "classification"] = "segmentation"

    def protocol(self, name: str) -> Protocol:
        """``"published"`` or ``"honest"``."""
        return {"published": self.published, "honest": self.honest}[name]


def rows_of(text: str, columns: Sequence[Column], models: Mapping[str, str | None]) -> tuple[Row, ...]:
    """Rows from lines ``label | figure | figure …``, in the order of the columns.

    Args:
        text: The lines.
        columns: Of the table.
        models: Registered name of each label.
    """
    rows = []
    for line in text.strip().splitlines():
        label, *figures = (cell.strip() for cell in line.split("|"))
        assert len(figures) == len(columns), line
        printed = {column.name: figure for column, figure in zip(columns, figures, strict=True) if figure}
        rows.append(Row(label, models.get(label), printed))
    return tuple(rows)
