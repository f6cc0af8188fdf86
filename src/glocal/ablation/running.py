"""Running an ablation: its rows as the variants of a benchmark, then the table beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glocal.ablation.counting import count_ablation, networks_of, same_options
from glocal.ablation.declared import Ablation
from glocal.ablation.measuring import measure
from glocal.ablation.table import FILES, AblationTable
from glocal.benchmark import Plan, Variant, make_plan, run_plan
from glocal.files import writing

__all__ = ["plan_ablation", "read_ablation", "run_ablation"]


def plan_ablation(
    ablation: Ablation,
    data: str | Path,
    *,
    model: str | None = None,
    recipe: str | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    budget_s: float | None = None,
    settings: Mapping[str, Any] | None = None,
    splits: str | Path | None = None,
) -> Plan:
    """The benchmark of the rows that are trained; nothing is written.

    A row that is another one for this variant (``hifuse_micro`` is depth-wise as it is) is not trained twice.

    Args:
        ablation: Declared.
        data: Folder of the data.
        model: A variant of the ablation's network, such as a small one; default: the first declared.
        recipe: Name of a shipped recipe, or path of a YAML file, for all rows; default: the ablation's.
        folds: As :func:`glocal.benchmark.make_plan`.
        seeds: As there.
        budget_s: As there.
        settings: As there.
        splits: As there.

    Raises:
        UserError: As :func:`glocal.benchmark.make_plan`, or the network is not a variant of the ablation's.
    """
    network = networks_of(ablation, model)[0]
    variants: list[Variant] = []
    for row in ablation.rows:
        name, options = row.model or network, dict(row.arguments)
        twins = (v for v in variants if v.model == name and same_options(name, v.arguments, options))
        if row.trained and next(twins, None) is None:
            variants.append(Variant(row.label, name, options, recipe=recipe or ablation.recipe))
    shared: dict[str, Any] = {"folds": folds, "seeds": seeds, "budget_s": budget_s, "settings": settings}
    return make_plan(data, variants, splits=splits, **shared)


def run_ablation(
    ablation: Ablation, plan: Plan, folder: str | Path, *, model: str | None = None, **options: Any
) -> AblationTable:
    """Train and evaluate what is not done yet, measure as the paper does, and write the table.

    The process may be killed at any moment: the same call goes on.

    Args:
        ablation: Declared.
        plan: Of :func:`plan_ablation`.
        folder: Of the benchmark; the table is written beside it.
        model: As for the plan.
        options: Of :func:`glocal.benchmark.run_plan`.

    Raises:
        UserError: As :func:`glocal.benchmark.run_plan`. What goes wrong in a training is in the notes of the table.
    """
    folder = Path(folder)
    _make_room(folder)
    run_plan(plan, folder, **options)
    table = read_ablation(ablation, folder, model)
    table.write(folder)
    return table


def read_ablation(ablation: Ablation, folder: str | Path, model: str | None = None) -> AblationTable:
    """The table of what is there.

    Args:
        ablation: Declared.
        folder: Of its benchmark.
        model: As for the plan.

    Raises:
        UserError: It is no benchmark, or its files are damaged.
    """
    network = networks_of(ablation, model)[0]
    measured, notes = measure(ablation, folder, network)
    return AblationTable(ablation, count_ablation(ablation, model), network, measured, notes)


def _make_room(folder: Path) -> None:
    """Remove a table of counts alone, which would keep the benchmark out of its folder; it is written again."""
    if folder.is_dir():
        inside = {path.name for path in folder.iterdir()}
        if inside <= set(FILES):
            for name in inside:
                with writing(folder / name):
                    (folder / name).unlink()
