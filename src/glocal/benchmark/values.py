"""One number of several trainings: mean and spread."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev

__all__ = ["Values"]


@dataclass(frozen=True)
class Values:
    """What trainings came to in one measure: a number for each fold and seed, as the table shows it."""

    of_cells: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over folds and seeds."""
        return fmean(self.of_cells)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over folds and seeds; None of a single one."""
        return stdev(self.of_cells) if len(self.of_cells) > 1 else None

    def __str__(self) -> str:
        """``"94.09 ± 0.11"``, or of a single training ``"94.09"``."""
        return f"{self.mean:.2f}" + ("" if self.sd is None else f" ± {self.sd:.2f}")
