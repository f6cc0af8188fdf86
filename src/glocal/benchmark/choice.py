"""From names and patterns of networks and recipes to the variants of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from glocal.benchmark.plan import Variant
from glocal.errors import UserError
from glocal.models import list_models, model_info

__all__ = ["choose_variants"]


def choose_variants(models: Sequence[str], recipes: Sequence[str]) -> tuple[Variant, ...]:
    """Every network with every recipe.

    Args:
        models: Registered names, and shell patterns such as ``"*dssa*"``.
        recipes: Names of shipped recipes, and paths of YAML files.

    Returns:
        Variants called by their network, and with several recipes ``network@recipe``.

    Raises:
        UserError: A name that is not registered (the nearest is named), a pattern without a match, networks for
            different tasks, or no network or recipe at all.
    """
    names: list[str] = []
    for model in models:
        found = _matching(model)
        names += [name for name in found if name not in names]
    if not names or not recipes:
        raise UserError("name at least one network and one recipe (--models lmnet,unet --recipes default)")
    tasks = {name: model_info(name).task for name in names}
    if len(set(tasks.values())) > 1:
        one = {task: name for name, task in tasks.items()}
        raise UserError(
            f"{one['segmentation']} is for segmentation and {one['classification']} for classification; a benchmark "
            "has one task: leave one of them out, or narrow the pattern"
        )
    chosen = list(dict.fromkeys(recipes))
    several = len(chosen) > 1
    return tuple(
        Variant(f"{name}@{_short(recipe)}" if several else name, name, recipe=recipe)
        for recipe in chosen
        for name in names
    )


def _matching(model: str) -> list[str]:
    if not any(sign in model for sign in "*?["):
        return [model_info(model).name]
    found = list_models(model)
    if not found:
        raise UserError(f"no network matches {model!r}; `glocal models` lists them")
    return found


def _short(recipe: str) -> str:
    """A recipe in a label: the stem of a file."""
    return recipe.replace("\\", "/").rpartition("/")[2].removesuffix(".yaml").removesuffix(".yml")
