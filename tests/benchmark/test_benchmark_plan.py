"""What is held equal, what is refused, and that a plan survives its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glocal.benchmark import BenchmarkFolder, Plan, Variant, choose_variants, make_plan, read_benchmark
from glocal.benchmark.merging import merged
from glocal.benchmark.plan import slug
from glocal.benchmark.probe import USED, Probe, epochs_within
from glocal.benchmark.recipes import cell_recipe
from glocal.data import make_splits, open_dataset
from glocal.errors import UserError

Small = Callable[..., Plan]


def test_patterns_are_expanded_and_nothing_comes_twice() -> None:
    labels = [variant.label for variant in choose_variants(["unet", "*dssaunet_tiny", "UNET*"], ["quick"])]
    assert labels[:3] == ["unet", "dssaunet_tiny", "star_dssaunet_tiny"]
    assert len(labels) == len(set(labels))
    assert "unet_tiny" in labels


def test_several_recipes_are_in_the_labels() -> None:
    chosen = choose_variants(["unet_tiny", "lmnet_tiny"], ["quick", "my recipes/long.yaml"])
    assert [v.label for v in chosen] == ["unet_tiny@quick", "lmnet_tiny@quick", "unet_tiny@long", "lmnet_tiny@long"]
    assert chosen[-1].recipe == "my recipes/long.yaml"


@pytest.mark.parametrize(
    ("models", "recipes", "said"),
    [
        (["lmnt"], ["quick"], "Did you mean 'lmnet'"),
        (["lmnet", "*nothing*"], ["quick"], r"no network matches '\*nothing\*'"),
        (["lmnet", "pvt_nano"], ["quick"], "lmnet is for segmentation and pvt_nano for classification"),
        ([], ["quick"], "at least one network"),
        (["lmnet"], [], "at least one network and one recipe"),
    ],
)
def test_unknown_names_and_mixed_tasks_are_refused(models: list[str], recipes: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose_variants(models, recipes)


def test_every_variant_sees_a_fold_and_a_seed_before_the_next(small: Small) -> None:
    plan = small("lmnet_tiny", "unet_tiny", folds=2, seeds=(0, 7))
    assert [cell.id for cell in plan.cells] == [
        f"{model}-f{fold}-s{seed}" for seed in (0, 7) for fold in (0, 1) for model in ("lmnet_tiny", "unet_tiny")
    ]


def test_cells_differ_in_network_fold_and_seed_alone(small: Small, tmp_path: Path) -> None:
    plan = small("lmnet_tiny", "unet_tiny", folds=2, seeds=(0, 7), set={"data.size": [32, 48]})
    recipes = [cell_recipe(plan, cell, tmp_path / "splits.json") for cell in plan.cells]
    assert {recipe.data.height_width for recipe in recipes} == {(32, 48)}
    assert {recipe.data.channels for recipe in recipes} == {1}
    assert {recipe.data.splits for recipe in recipes} == {str(tmp_path / "splits.json")}
    assert {(recipe.data.fold, recipe.train.seed) for recipe in recipes} == {(0, 0), (1, 0), (0, 7), (1, 7)}
    same = {
        replace(
            recipe, model="", data=replace(recipe.data, fold=None), train=replace(recipe.train, seed=0), model_args={}
        ).__repr__()
        for recipe in recipes
    }
    assert len(same) == 1


def test_a_plan_is_what_its_files_say(small: Small, tmp_path: Path) -> None:
    plan = small("lmnet_tiny", folds=2, seeds=(3,), budget_s=60.0).with_epochs({"lmnet_tiny": 5})
    bench = BenchmarkFolder(tmp_path / "bench")
    bench.write_plan(plan)
    assert bench.read_plan() == plan
    assert [result.status for result in read_benchmark(bench.path)] == ["waiting", "waiting"]


def test_options_and_weights_of_a_recipe_are_for_its_own_network(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodel: lmnet_tiny\nmodel_args: {rel_pos_bias: true}\n")
    variants = [Variant(model, model, recipe=str(tmp_path / "mine.yaml")) for model in ("lmnet_tiny", "unet_tiny")]
    plan = make_plan(discs, variants)
    assert plan.recipes["lmnet_tiny"]["model_args"] == {"rel_pos_bias": True}
    assert plan.recipes["unet_tiny"]["model_args"] == {}
    assert any("unet_tiny" in note and "not used" in note for note in plan.notes)


def test_the_splits_of_the_data_are_respected(discs: Path, small: Small) -> None:
    own = make_splits(open_dataset(discs), seed=5, folds=3)
    own.write(discs / "splits.json")
    plan = small("lmnet_tiny")
    assert plan.folds == 3
    assert plan.splits == own.to_json()
    with pytest.raises(UserError, match=r"has 3 folds, not 2; leave --folds out"):
        small("lmnet_tiny", folds=2)


def test_without_a_test_part_the_validation_part_is_measured_and_that_is_said(small: Small) -> None:
    assert small("lmnet_tiny").evaluated == "test"
    plan = small("lmnet_tiny", set={"data.fractions": [0.8, 0.2, 0.0]})
    assert plan.evaluated == "val"
    assert any("no test part" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "use at least 2"),
        ({"folds": 40}, "cannot fill"),
        ({"seeds": ()}, "at least one network and one seed"),
        ({"seeds": (1, 1)}, "different whole numbers"),
        ({"budget_s": 0.0}, "above 0"),
        ({"set": {"train.seed": 3}}, "--seeds"),
        ({"set": {"data.fold": 1}}, "every fold is run"),
        ({"set": {"train.epoch": 1}}, "Did you mean 'train.epochs'"),
        ({"set": {"train.epochs": "many"}}, "train.epochs is 'many'"),
        ({"set": {"data.fractions": [0.9, 0.0, 0.1]}}, "validation part is empty"),
    ],
)
def test_what_cannot_be_planned_is_refused(small: Small, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small("lmnet_tiny", **options)


def test_unequal_conditions_are_refused(discs: Path) -> None:
    def plan(*settings: dict[str, object], **options: object) -> Plan:
        variants = [Variant(f"v{i}", "lmnet_tiny", recipe="quick", settings=s) for i, s in enumerate(settings)]
        return make_plan(discs, variants, **options)  # type: ignore[arg-type]

    with pytest.raises(UserError, match=r"data\.size is \[128,128\] for v0 and 64 for v1"):
        plan({}, {"data.size": 64})
    with pytest.raises(UserError, match=r"train\.epochs is 15 for v0 and 3 for v1.*--budget"):
        plan({}, {"train.epochs": 3})
    assert plan({}, {"train.epochs": 3}, budget_s=60).share_s == 30
    assert plan({"data.size": 128}, {"data.size": [128, 128]}).facts["size"] == [128, 128]
    assert any("augment.blur" in note for note in plan({}, {"augment.blur.p": 0.5}).notes)


def test_labels_that_would_share_a_folder_are_refused(discs: Path) -> None:
    assert slug("w/o LGFF + LFT (ours)") == "w-o-LGFF-+-LFT-ours"
    assert slug("../..") == "variant"
    for labels in (("a b", "a/b"), ("x", "x")):
        with pytest.raises(UserError, match="would share a folder"):
            make_plan(discs, [Variant(label, "lmnet_tiny", recipe="quick") for label in labels])


def test_cells_may_be_added_and_nothing_may_change(small: Small) -> None:
    old = small("lmnet_tiny", folds=2)
    more = merged(Path("bench"), old, small("unet_tiny", folds=2, seeds=(0, 1)))
    assert {cell.id for cell in more.cells} > {cell.id for cell in old.cells}
    assert len(more.cells) == 8
    assert merged(Path("bench"), more, old) == more
    for new, said in (
        (small("lmnet_tiny", folds=3), "fold"),
        (small("lmnet_tiny", folds=2, set={"train.epochs": 9}), r"train\.epochs 2, not 9"),
        (small("lmnet_tiny", folds=2, set={"data.split_seed": 1}), "other splits"),
        (small("lmnet_tiny", folds=2, budget_s=60), "no budget"),
        (replace(old, facts={**old.facts, "fingerprint": "0" * 16}), "other data"),
    ):
        with pytest.raises(UserError, match=said):
            merged(Path("bench"), old, new)


def test_a_variant_keeps_its_label_when_recipes_are_added(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("name: slow\ndata: {size: 128}\ntrain: {epochs: 15}\noptimizer: {lr: 1e-5}\n")
    old = make_plan(discs, choose_variants(["lmnet_tiny"], ["quick"]))
    new = make_plan(discs, choose_variants(["lmnet_tiny"], ["quick", str(tmp_path / "slow.yaml")]))
    assert [v.label for v in merged(Path("bench"), old, new).variants] == ["lmnet_tiny", "lmnet_tiny@slow"]


def test_added_cells_keep_the_share_of_the_budget(small: Small) -> None:
    old = small("lmnet_tiny", seeds=(0, 1), budget_s=100.0)
    with pytest.raises(UserError, match="give --budget 200s to add cells"):
        merged(Path("bench"), old, small("lmnet_tiny", "unet_tiny", seeds=(0, 1), budget_s=100.0))
    more = merged(Path("bench"), old, small("lmnet_tiny", "unet_tiny", seeds=(0, 1), budget_s=200.0))
    assert more.share_s == old.share_s == 50


def test_the_schedule_is_made_for_the_epochs_that_fit_the_share(small: Small) -> None:
    assert epochs_within(100.0, 1.0, None) == int(100 * USED)
    assert epochs_within(100.0, 1.0, 5) == 5
    assert epochs_within(1.0, 100.0, None) == 1
    assert Probe(2.0, 0, 0, 3).seconds == 6
    plan = small("lmnet_tiny", "unet_tiny", budget_s=10.0).with_epochs({"lmnet_tiny": 9, "unet_tiny": 4})
    recipes = {cell.variant.label: cell_recipe(plan, cell, None) for cell in plan.cells}
    assert {label: recipe.train.epochs for label, recipe in recipes.items()} == {"lmnet_tiny": 9, "unet_tiny": 4}
    assert {recipe.train.max_time for recipe in recipes.values()} == {5.0}


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", '{"format": 2}', '{"format": 1, "data": {}}'])
def test_damaged_plans_are_named(small: Small, tmp_path: Path, text: str) -> None:
    BenchmarkFolder(tmp_path).write_plan(small("lmnet_tiny"))
    (tmp_path / "benchmark.json").write_text(text)
    with pytest.raises(UserError, match=r"benchmark\.json: not"):
        read_benchmark(tmp_path)


def test_what_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a benchmark"):
        read_benchmark(tmp_path)


def test_a_damaged_cell_is_named(small: Small, tmp_path: Path) -> None:
    plan, bench = small("lmnet_tiny"), BenchmarkFolder(tmp_path)
    bench.write_plan(plan)
    bench.write_cell(plan.cells[0], "running", {})
    assert read_benchmark(tmp_path)[0].status == "running"
    path = tmp_path / "cells/lmnet_tiny-f0-s0/cell.json"
    path.write_text(json.dumps({"format": 1, "status": "finished"}))
    with pytest.raises(UserError, match=r"cell\.json: not the state of a cell"):
        read_benchmark(tmp_path)
