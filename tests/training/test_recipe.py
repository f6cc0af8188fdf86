"""Recipes: shipped files are whole and true, hostile and mistyped ones give one line that names file and cure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from glocal.cli.train import _parser as train_parser
from glocal.errors import UserError
from glocal.models import model_info
from glocal.training.losses import LOSS_OPTIONS
from glocal.training.recipe import DataConfig, Recipe, settle
from glocal.training.recipe_files import (
    dump_recipe,
    load_recipe,
    recipe_from,
    recipe_settings,
    shipped_recipes,
)
from glocal.training.schedule import learning_rate


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


SHIPPED = ["default", "dssaunet", "hifuse", "hiperformer", "lmnet", "lmnet_paper", "pvt", "quick"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_and_come_back_the_same(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    again = load_recipe(written(tmp_path, dump_recipe(recipe)))
    assert again == recipe
    settled = settle(recipe, model_info(recipe.model).task)
    assert load_recipe(written(tmp_path, dump_recipe(settled))) == settled


def test_all_shipped_recipes_are_tested() -> None:
    assert set(shipped_recipes()) == set(SHIPPED)


def test_the_published_recipe_says_what_the_specification_says() -> None:
    r = load_recipe("lmnet")
    assert (r.augment.crop.p, r.augment.crop.scale, r.augment.crop.ratio) == (1.0, (0.8, 1.0), (0.75, 4 / 3))
    affine = r.augment.affine
    assert (affine.p, affine.together, affine.shift, affine.scale, affine.rotate) == (0.5, True, 0.1, 0.1, 30.0)
    assert (r.augment.flip.horizontal, r.augment.flip.vertical) == (0.5, 0.5)
    assert r.augment.color_jitter.p == 0.4
    assert (r.augment.one_of.p, len(r.augment.one_of.transforms)) == (0.4, 9)
    assert r.augment.blur.p == 0
    assert (r.loss.name, r.loss.label_smoothing) == ("lmnet", 0.001)
    assert (r.optimizer.name, r.optimizer.lr, r.optimizer.weight_decay) == ("adamw", 1e-3, 1e-4)
    assert (r.schedule.name, r.schedule.interval, r.schedule.minimum) == ("cosine", "epoch", 1e-6)
    assert (r.train.epochs, r.train.batch_size, r.train.seed) == (200, 2, 42)


def test_the_recipe_of_hifuse_says_what_the_specification_says() -> None:
    r = load_recipe("hifuse")
    assert (r.data.size, r.data.channels, r.data.mean, r.data.std) == ((224, 224), 3, [0.5] * 3, [0.5] * 3)
    assert (r.augment.crop.p, r.augment.crop.scale, r.augment.crop.ratio) == (1.0, (0.08, 1.0), (0.75, 4 / 3))
    assert (r.augment.flip.horizontal, r.augment.flip.vertical) == (0.5, 0.0)
    assert (r.loss.name, r.optimizer.lr, r.optimizer.weight_decay) == ("cross_entropy", 1e-4, 1e-2)
    assert (r.optimizer.decay, r.train.epochs, r.train.batch_size) == ("matrices", 100, 32)
    rates = [learning_rate(r.schedule, r.optimizer.lr, x // 10, x % 10, 10, 5) for x in (0, 1, 10, 30)]
    assert rates == pytest.approx([1e-7, 1.009e-5, 1e-4, 5.05e-5])


def test_the_recipe_of_hiperformer_says_what_the_specification_says() -> None:
    r = load_recipe("hiperformer")
    assert (r.data.size, r.train.batch_size, r.train.epochs, r.train.seed) == ((224, 224), 16, 300, 1234)
    assert (r.augment.turn.p, r.augment.affine.p, r.augment.affine.rotate) == (0.5, 0.5, 20.0)
    assert (r.augment.affine.shift, r.augment.affine.scale, r.augment.flip.horizontal) == (0.0, 0.0, 0.0)
    assert (r.loss.name, r.optimizer.decay, r.optimizer.weight_decay) == ("hiperformer", "all", 5e-4)
    assert (r.train.gradient_clip, r.train.drop_last, r.train.freeze_norm_after) == (1.0, False, None)
    rates = [learning_rate(r.schedule, r.optimizer.lr, epoch, 0, 7, 300) for epoch in (0, 100, 200, 299)]
    assert rates == pytest.approx([1e-4, 1e-6, 1e-4, 1.024e-6], rel=1e-3)


def test_the_recipe_of_dssaunet_says_what_the_specification_says() -> None:
    r = load_recipe("dssaunet")
    assert (r.data.size, r.train.epochs, r.train.batch_size, r.train.seed) == ((256, 256), 10, 20, 2024)
    assert (r.augment.affine.p, r.augment.affine.rotate, r.augment.flip.horizontal) == (0.5, 30.0, 0.5)
    assert (r.loss.name, r.loss.argmax_dice) == ("dssaunet", False)
    assert (r.optimizer.lr, r.optimizer.weight_decay, r.optimizer.decay) == (1e-4, 0.1, "all")
    assert r.schedule.name == "constant"


def test_the_recipe_of_pvt_says_what_the_specification_says() -> None:
    r = load_recipe("pvt")
    assert r.optimizer.lr == pytest.approx(5e-4 * r.train.batch_size / 512)
    assert (r.optimizer.weight_decay, r.optimizer.decay, r.loss.label_smoothing) == (0.05, "matrices", 0.1)
    some, mix = r.augment.rand_augment, r.augment.mix
    assert (some.p, some.changes, some.magnitude, some.spread) == (0.5, 2, 9.0, 0.5)
    assert (mix.p, mix.mixup, mix.cutmix, mix.switch, r.augment.erase.p) == (1.0, 0.8, 1.0, 0.5, 0.25)
    rates = [learning_rate(r.schedule, 1.0, epoch, 0, 7, r.train.epochs) for epoch in (0, 5, 300, 309)]
    assert rates == pytest.approx([1e-6, 1.0, 1e-5, 1e-5])


def test_a_dumped_recipe_names_every_setting() -> None:
    def leaves(value: object, prefix: str = "") -> set[str]:
        if not isinstance(value, dict) or prefix == "model_args.":
            return {prefix.rstrip(".")}
        return set().union(*(leaves(inner, f"{prefix}{key}.") for key, inner in value.items()))

    dumped = yaml.safe_load(dump_recipe(Recipe()))
    assert {"train.epochs", "augment.crop.scale", "loss.gamma", "model_args", "data.cache"} <= leaves(dumped)


def test_changes_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {epochs: 7, seed: 3}")
    recipe = load_recipe(path, {"train.epochs": 9})
    assert (recipe.train.epochs, recipe.train.seed, recipe.train.batch_size) == (9, 3, Recipe().train.batch_size)


def test_size_is_one_number_or_two(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "data: {size: 96}")).data.height_width == (96, 96)
    assert load_recipe(written(tmp_path, "data: {size: [64, 96]}")).data.height_width == (64, 96)
    assert DataConfig().height_width == (256, 256)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 3}", r"no setting 'train\.epoch'\. Did you mean 'epochs'\?"),
        ("trian: {epochs: 3}", r"no setting 'trian'\. Did you mean 'train'\?"),
        ("augment: {flip: {horizontl: 0.5}}", r"Did you mean 'horizontal'\?"),
        ("epochs: 3", r"no setting 'epochs'\. Did you mean 'train\.epochs'\?"),
        ("train: 3", r"train is a section"),
        ("augment: {crop: 0.5}", r"augment\.crop is a section"),
        ("train: {epochs: many}", r"train\.epochs is 'many', which is not a whole number"),
        ("train: {epochs: 3.5}", r"train\.epochs is 3\.5"),
        ("train: {precision: fp8}", r"one of fp32, tf32, bf16, fp16"),
        ("augment: {crop: {scale: [0.5]}}", r"augment\.crop\.scale is \[0\.5\]"),
        ("loss: {name: hinge}", r"loss\.name is 'hinge'"),
        ("train: {epochs: 0}", r"train\.epochs is 0; it must be at least 1"),
        ("optimizer: {lr: .nan}", r"optimizer\.lr is nan"),
        ("loss: {name: dice_ce, gamma: 2}", r"loss\.gamma has no effect"),
        ("data: {folds: 5, fold: 5}", r"from 0 to 4"),
        ("data: {size: 8}", r"data\.size is 8"),
        ("train: {early_stopping: 0}", r"train\.early_stopping"),
        ("- a\n- b", "not a recipe"),
        ("train: {epochs: !!python/object/apply:os.system [touch pwned]}", "not a usable YAML file"),
        ("a: &a [x, x]\nb: &b [*a, *a]", "aliases"),
        ("train: {epochs: 3", "not a usable YAML file"),
        ("\x00", "not a usable YAML file"),
        ("", "empty"),
    ],
)
def test_a_wrong_recipe_gives_one_line_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(path)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_a_short_training_shortens_its_warm_up_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert load_recipe("default", {"train.epochs": 1}).schedule.warmup_epochs == 0.25
    assert "schedule.warmup_epochs: 0.25 instead of 2" in caplog.text
    assert load_recipe("default", {"train.epochs": 3}).schedule.warmup_epochs == 2


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no recipe 'lmnt'\. Did you mean 'lmnet'\?"):
        recipe_settings("lmnt")
    with pytest.raises(UserError, match=r"gone\.yaml: no such file"):
        recipe_settings("gone.yaml")


def test_values_are_checked_from_python_too() -> None:
    with pytest.raises(UserError, match=r"train\.ema is 1\.0"):
        recipe_from({"train.ema": 1.0})


DOCS = Path(__file__).parents[2] / "docs/recipes.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_recipe_in_the_documentation_is_one(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    assert load_recipe(written(tmp_path, text)).loss.name == "tversky"
    assert "{mean: [0.406, 0.456, 0.485], std: [0.225, 0.224, 0.229]}" in DOCS.read_text(encoding="utf-8")


def test_the_commands_in_the_documentation_are_understood() -> None:
    for line in "".join(blocks("bash")).strip().splitlines():
        _, command, *words = shlex.split(line)
        assert command == "train"
        assert train_parser().parse_args(words)


def test_the_documentation_names_every_loss_with_its_options_and_every_recipe() -> None:
    recipes, losses = DOCS.read_text(encoding="utf-8").split("## Losses")
    for name in LOSS_OPTIONS:
        row = next(line for line in losses.splitlines() if line.startswith(f"| `{name}` |"))
        assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == set(LOSS_OPTIONS[name])
    for name in shipped_recipes():
        assert f"| `{name}` |" in recipes
