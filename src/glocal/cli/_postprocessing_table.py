"""What was tried and chosen of post-processing, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glocal.errors import counted

if TYPE_CHECKING:
    from glocal.inference.postprocessing import Choice

__all__ = ["print_trials"]


def print_trials(choice: Choice) -> None:
    """Print a row for each step that was tried on a class, then what is stored in the model."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Post-processing tried on {counted(choice.cases, 'validation case')}")
    for name in ("class", "step", "Dice before", "after", "better", "worse", "kept"):
        table.add_column(name, justify="left" if name in ("class", "step") else "right")
    for trial in choice.trials:
        numbers = (f"{trial.before:.4f}", f"{trial.after:.4f}", str(trial.better), str(trial.worse))
        table.add_row(trial.name, trial.step, *numbers, "yes" if trial.kept else "no")
    Console().print(table)
    if choice.postprocessing:
        names = ["background", *dict.fromkeys(trial.name for trial in choice.trials)]
        print("stored in the model: " + "; ".join(choice.postprocessing.describe(names)))
    else:
        print("nothing helped: the model mends nothing")
