"""A plan for a folder that is a benchmark already: cells may be added, nothing that is there may change."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from glocal.benchmark.plan import Plan, Variant
from glocal.benchmark.recipes import different_settings
from glocal.errors import UserError

__all__ = ["merged"]


def merged(folder: Path, old: Plan, new: Plan) -> Plan:
    """The plan that has the cells of both.

    Args:
        folder: Of the benchmark, for messages.
        old: That the folder has.
        new: That is asked for now.

    Raises:
        UserError: They contradict each other: other data, splits, settings, folds, or another share of the budget.
    """

    def refuse(what: str) -> NoReturn:
        raise UserError(f"{folder}: {what}; choose another --output, or give what this benchmark was begun with")

    if new.facts["fingerprint"] != old.facts["fingerprint"]:
        refuse(f"this benchmark is of other data ({old.data}), or that was changed since")
    if new.folds != old.folds:
        refuse(f"this benchmark has {old.folds} fold(s), not {new.folds}")
    if dict(new.splits) != dict(old.splits):
        refuse("this benchmark has other splits")
    variants, recipes = list(old.variants), dict(old.recipes)
    for variant in new.variants:
        if _there(old, variant, new):
            continue
        if variant.label in old.recipes:
            refuse(f"this benchmark has {variant.label} with {_difference(old, variant, new)}")
        variants.append(variant)
        recipes[variant.label] = new.recipes[variant.label]
    seeds = (*old.seeds, *(seed for seed in new.seeds if seed not in old.seeds))
    plan = replace(
        old,
        data=new.data,
        variants=tuple(variants),
        recipes=recipes,
        seeds=seeds,
        budget_s=new.budget_s,
        settings={**old.settings, **new.settings},
        notes=tuple(dict.fromkeys((*old.notes, *new.notes))),
    )
    if (old.share_s is None) != (new.budget_s is None):
        refuse(f"this benchmark has {'no budget' if old.share_s is None else f'a budget ({old.share_s:g} s a cell)'}")
    if (
        old.share_s is not None
        and plan.share_s is not None
        and not math.isclose(old.share_s, plan.share_s, rel_tol=1e-4)
    ):
        wanted = old.share_s * len(plan.cells)
        raise UserError(
            f"{folder}: each cell has {old.share_s:g} s, but {len(plan.cells)} cells would have {plan.share_s:g} s of "
            f"this budget; give --budget {wanted:g}s to add cells, or choose another --output"
        )
    return plan


def _there(old: Plan, variant: Variant, new: Plan) -> bool:
    """Whether a variant of the old plan is this one, whatever it is called; a recipe holds network and options too."""
    wanted = new.recipes[variant.label]
    return any(not different_settings(recipe, wanted) for recipe in old.recipes.values())


def _difference(old: Plan, variant: Variant, new: Plan) -> str:
    """The first thing in which a variant is not what it was."""
    there, here = old.recipes[variant.label], new.recipes[variant.label]
    name = different_settings(there, here)[0]
    return f"{name} {there.get(name)!r}, not {here.get(name)!r}"
