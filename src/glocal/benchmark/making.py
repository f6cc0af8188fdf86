"""Making a plan: every recipe resolved, held equal where a comparison needs it, and splits made once for all cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.benchmark.plan import Part, Plan, Variant, slug
from glocal.benchmark.recipes import plain_settings
from glocal.data import Dataset, Splits, make_splits, open_dataset, read_splits
from glocal.data.splits import DEFAULT_FRACTIONS
from glocal.errors import UserError, nearest
from glocal.models import model_info
from glocal.models.registry import build
from glocal.training import load_recipe
from glocal.training.recipe import DataConfig, Recipe, settle
from glocal.training.recipe_files import settings_of

__all__ = ["make_plan"]

log = logging.getLogger("glocal")

_REFUSED = {
    "data.fold": "every fold is run",
    "data.folds": "give the number of folds: --folds",
    "data.splits": "give the file of the splits: --splits",
    "train.seed": "give the seeds: --seeds",
    "train.max_time": "give the time of the whole benchmark: --budget",
    "model": "give the networks: --models",
    "model_args": "options of networks belong to the variants",
    "name": "a run is called by its cell",
}
"""Settings that may not be overridden for all cells, with what to do instead."""

_OWN = ("data.mean", "data.std", "data.cache", "data.splits", "data.fold", "data.folds")
"""Settings of the data that recipes may differ in, or that the plan makes; in all others the comparison would be one of
data."""

_SAMPLE = 64
"""Images looked at to decide between grey and colour."""


def make_plan(
    data: str | Path,
    variants: Sequence[Variant],
    *,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    budget_s: float | None = None,
    settings: Mapping[str, Any] | None = None,
    splits: str | Path | None = None,
) -> Plan:
    """Decide everything that is decided before the first training; nothing is written.

    Args:
        data: A folder that :func:`glocal.data.open_dataset` recognises.
        variants: What is compared, each with a label of its own; all for one task.
        folds: Folds of a cross-validation beside the common test part. None: those of existing splits, else one split.
        seeds: One training of every variant and fold for each.
        budget_s: Seconds of training, shared equally by all cells. None: equal epochs.
        settings: Recipe settings for all cells by dotted name, such as ``{"train.epochs": 3}``.
        splits: A ``splits.json`` to use. Default: that in the data folder where there is one; else splits are made
            (a split the data set came with is kept).

    Raises:
        UserError: The data, a recipe, a network or a setting cannot be used, or the variants would not be trained
            under equal conditions.
    """
    settings = dict(settings or {})
    _check(variants, folds, seeds, budget_s, settings)
    task = model_info(variants[0].model).task
    recipes, notes = {}, []
    for variant in variants:
        if model_info(variant.model).task != task:
            raise UserError(f"{variants[0].model} is for {task}, {variant.model} is not; a benchmark has one task")
        recipe, told = _resolved(variant, settings)
        settle(recipe, task)
        build(variant.model, recipe.model_args)
        recipes[variant.label] = recipe
        notes += told
    notes += _require_equal(recipes, budget_s)
    config = next(iter(recipes.values())).data
    dataset = _dataset(Path(data), task, config.masks)
    found = _splits(dataset, folds, config, splits)
    notes += [*dataset.notes, *found.notes]
    channels = _channels(dataset, config)
    part: Part = "test" if found.test else "val"
    if part == "val":
        notes.append("the splits have no test part: scores are of the validation cases, on which the epoch was chosen")
    facts = {
        "fingerprint": dataset.fingerprint,
        "task": task,
        "multi_label": dataset.multi_label,
        "classes": list(dataset.classes),
        "cases": len(dataset),
        "channels": channels,
        "size": list(config.height_width),
    }
    plain = {label: plain_settings(recipe) for label, recipe in recipes.items()}
    if config.neighbours == 1:
        plain = {label: {**settings, "data.channels": channels} for label, settings in plain.items()}
    return Plan(
        Path(data).absolute(),
        facts,
        tuple(variants),
        plain,
        found.to_json(),
        len(found.folds) or 1,
        tuple(seeds),
        budget_s,
        settings,
        part,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check(
    variants: Sequence[Variant],
    folds: int | None,
    seeds: Sequence[int],
    budget_s: float | None,
    settings: Mapping[str, Any],
) -> None:
    if not variants or not seeds:
        raise UserError("a benchmark needs at least one network and one seed (--models lmnet,unet --seeds 1)")
    if folds is not None and folds < 2:
        raise UserError(f"{folds} folds cannot be; use at least 2, or leave --folds out for a single split")
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds are {', '.join(map(str, seeds))}; give different whole numbers from 0 (--seeds)")
    if budget_s is not None and not budget_s > 0:
        raise UserError(f"budget is {budget_s:g} s; it must be above 0 (--budget 2h)")
    known = settings_of(Recipe())
    for name in settings:
        if name not in known:
            raise UserError(f"no recipe setting {name!r}.{nearest(name, known)} `glocal train --help` lists them")
        if name in _REFUSED:
            raise UserError(f"{name} cannot be set for a benchmark: {_REFUSED[name]}")
    names: dict[str, str] = {}
    for variant in variants:
        other = names.setdefault(slug(variant.label), variant.label)
        if other is not variant.label or [v.label for v in variants].count(variant.label) > 1:
            raise UserError(f"variants {other!r} and {variant.label!r} would share a folder; give them other labels")


def _resolved(variant: Variant, settings: Mapping[str, Any]) -> tuple[Recipe, list[str]]:
    """The recipe of a variant for its network, and what of the recipe was meant for another one."""
    recipe = load_recipe(variant.recipe, {**settings, **variant.settings})
    notes, arguments, weights = [], dict(recipe.model_args), recipe.weights
    if recipe.model != variant.model and (arguments or weights):
        notes.append(f"{variant.label}: model_args and weights of {variant.recipe} are for {recipe.model}: not used")
        arguments, weights = {}, None
    if weights is not None:
        weights = str(Path(weights).absolute())
    arguments |= variant.arguments
    return replace(recipe, model=variant.model, model_args=arguments, weights=weights), notes


def _require_equal(recipes: Mapping[str, Recipe], budget_s: float | None) -> list[str]:
    """Refuse variants that would see other data or train longer; say what else their recipes do differently."""
    first, *others = recipes
    settings = {label: settings_of(recipe) for label, recipe in recipes.items()}
    must = [name for name in settings[first] if name.startswith("data.") and name not in _OWN]
    must += [] if budget_s is not None else ["train.epochs"]
    for other in others:
        for name in must:
            one, two = settings[first][name], settings[other][name]
            if one != two and not (
                name == "data.size" and recipes[first].data.height_width == recipes[other].data.height_width
            ):
                cure = f"--set {name}={_shown(one)}" + (
                    ", or share a time: --budget 2h" if name == "train.epochs" else ""
                )
                raise UserError(
                    f"{name} is {_shown(one)} for {first} and {_shown(two)} for {other}; make it equal: {cure}"
                )
    free = {*must, "name", "model", "model_args", "train.epochs"}
    different = sorted(
        {
            name.rpartition(".")[0] if name.count(".") > 1 else name
            for other in others
            for name, value in settings[other].items()
            if name not in free and value != settings[first][name]
        }
    )
    return [f"the recipes differ in {', '.join(different)}"] if different else []


def _shown(value: Any) -> str:
    return str(list(value)).replace(" ", "") if isinstance(value, tuple | list) else str(value)


def _dataset(root: Path, task: Any, masks: Any) -> Dataset:
    dataset = open_dataset(root, masks=masks)
    if dataset.task != task == "segmentation":
        raise UserError(
            f"{root}: no masks were found, only classes; choose networks for classification (`glocal models --task "
            "classification` lists them), or add masks"
        )
    return dataset if dataset.task == task else open_dataset(root, task)


def _splits(dataset: Dataset, folds: int | None, config: DataConfig, given: str | Path | None) -> Splits:
    beside = dataset.root / "splits.json"
    path = Path(given) if given is not None else beside if beside.exists() else None
    if path is None:
        splits = make_splits(dataset, config.split_seed or 0, config.fractions or DEFAULT_FRACTIONS, folds)
    else:
        splits = read_splits(path, dataset)
        if folds is not None and folds != len(splits.folds):
            there = f"{len(splits.folds)} folds" if splits.folds else "no folds"
            raise UserError(
                f"{path}: has {there}, not {folds}; leave --folds out to use it, or name another file (--splits)"
            )
        splits = replace(splits, notes=(f"splits of {path}",))
    parts = [splits.fold(i) for i in range(len(splits.folds))] or [splits]
    if not all(part.train and part.val for part in parts):
        raise UserError(
            f"{path or dataset.root}: the training or the validation part is empty, and the best epoch is never chosen "
            "on the test part; make other splits (--set data.fractions=[0.8,0.1,0.1])"
        )
    return splits


def _channels(dataset: Dataset, config: DataConfig) -> int:
    """Grey or colour, decided once for all cells; of volumes as many as training takes."""
    if config.neighbours > 1:
        return config.neighbours
    if config.channels != "auto":
        return config.channels
    if dataset.volumes is not None:
        return max(volume.channels for volume in dataset.volumes.volumes.values())
    picks = np.unique(np.linspace(0, len(dataset) - 1, _SAMPLE).astype(int))
    return 1 if all(dataset.read_image(dataset.cases[i]).is_grey for i in picks) else 3
