"""Training classifiers end to end: what is learned and left, and what goes wrong clearly."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_resume import require_same_runs, stopped

from glocal.errors import UserError
from glocal.models import create_model
from glocal.models.weights import load_model, save_model
from glocal.training import Recipe, load_recipe, resume, train
from glocal.training.module import ClassificationTraining
from glocal.training.recipe import settle
from glocal.training.recipe_files import dump_recipe

Small = Callable[..., Recipe]

CLASSIFIER = "pvt_nano"
EVERYTHING = {
    "augment__crop__p": 1.0,
    "augment__turn__p": 0.5,
    "augment__rand_augment__p": 0.5,
    "augment__erase__p": 0.5,
    "augment__mix__p": 0.7,
    "loss__label_smoothing": 0.1,
    "loss__weights": "balanced",
    "optimizer__decay": "matrices",
    "train__ema": 0.9,
    "train__balanced_sampling": True,
    "train__accumulate": 2,
}


@pytest.fixture
def small() -> Small:
    def make(**changes: Any) -> Recipe:
        base: dict[str, Any] = {"model": CLASSIFIER, "model_args": {"drop_path": 0.2}, "data.size": 32}
        base |= {"data.fractions": (0.5, 0.25, 0.25), "data.cache": "memory", "train.device": "cpu"}
        base |= {"train.epochs": 2, "train.batch_size": 3, "optimizer.lr": 1e-3}
        return load_recipe("quick", {**base, **{name.replace("__", "."): v for name, v in changes.items()}})

    return make


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_of_a_classifier_leaves_what_any_run_does(shapes: Path, tmp_path: Path, small: Small) -> None:
    result = train(shapes, small(), tmp_path / "run")
    found = rows(tmp_path / "run")
    scores = ["accuracy", "balanced_accuracy", "macro_f1", "auroc"]
    assert list(found[0]) == ["epoch", "learning_rate", "train_loss", "val_loss", *scores]
    assert max(float(row["balanced_accuracy"]) for row in found) == result.best["balanced_accuracy"]
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["selected_by"] == "balanced_accuracy"
    assert manifest["data"]["task"] == "classification"
    assert (manifest["data"]["classes"], manifest["data"]["multi_label"]) == (["disc", "square"], False)
    recipe = load_recipe(tmp_path / "run/recipe.yaml")
    assert recipe == settle(small(), "classification")
    assert (recipe.loss.name, recipe.train.select_by) == ("cross_entropy", "balanced_accuracy")


def test_the_model_is_the_best_epoch_with_a_temperature(shapes: Path, tmp_path: Path, small: Small) -> None:
    result = train(shapes, small(), tmp_path / "run")
    loaded = load_model(tmp_path / "run")
    assert (loaded.record.task, loaded.record.classes) == ("classification", ("disc", "square"))
    assert loaded.record.temperature > 0
    assert not loaded.record.multi_label
    splits = json.loads((tmp_path / "run/splits.json").read_text())["splits"]
    right = []
    for name in splits["val"]:
        pixels = np.asarray(
            Image.open(shapes / name.split()[0] / f"{name}.png").resize((32, 32), Image.Resampling.BILINEAR)
        )
        x = torch.tensor(pixels / 255, dtype=torch.float32)[None, None]
        x = (x - loaded.record.preprocessing.mean[0]) / loaded.record.preprocessing.std[0]
        right.append(loaded.record.classes[int(loaded.network(x).argmax())] == name.split()[0])
    assert np.mean(right) == pytest.approx(result.best["accuracy"])


def test_a_classifier_learns_to_tell_discs_from_squares(shapes: Path, tmp_path: Path, small: Small) -> None:
    plain = {"augment__affine__p": 0.0, "augment__color_jitter__p": 0.0, "model_args": {}}
    train(shapes, small(train__epochs=12, **plain), tmp_path / "run")
    losses = [float(row["train_loss"]) for row in rows(tmp_path / "run")]
    assert min(losses[-3:]) < 0.5 * losses[0]


@pytest.mark.slow
def test_killed_and_resumed_is_bit_for_bit_unbroken(shapes: Path, tmp_path: Path, small: Small) -> None:
    recipe = small(train__epochs=3, data__cache=str(tmp_path / "cache"), **EVERYTHING)
    train(shapes, recipe, tmp_path / "unbroken")
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    words = [str(shapes), "--recipe", f"{tmp_path}/r.yaml", "--output", f"{tmp_path}/run"]
    killed = stopped("SIGKILL", 1, 1, words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resume(tmp_path / "run", changes={"train.workers": 1})
    require_same_runs(tmp_path / "unbroken", tmp_path / "run")
    records = [load_model(tmp_path / name).record for name in ("unbroken", "run")]
    assert records[0].temperature == records[1].temperature


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Images with a bright upper half, a bright left half, both or neither, in a table."""
    root, table = tmp_path / "several", ["image,upper,left"]
    root.mkdir()
    for index in range(16):
        upper, left = index % 2, index // 2 % 2
        image = np.random.default_rng(index).normal(60, 10, (32, 32))
        image[:16] += 80 * upper
        image[:, :16] += 80 * left
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"{index}.png")
        table.append(f"{index}.png,{upper},{left}")
    (root / "labels.csv").write_text("\n".join(table))
    return root


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_several_classes_an_image(several: Path, tmp_path: Path, small: Small, loss: str) -> None:
    changes = {
        "loss__name": loss,
        "loss__weights": "balanced",
        "augment__mix__p": 0.5,
        "train__balanced_sampling": True,
    }
    result = train(several, small(**changes), tmp_path / "run")
    record = load_model(tmp_path / "run").record
    assert (record.classes, record.multi_label) == (("upper", "left"), True)
    assert load_recipe(tmp_path / "run/recipe.yaml").train.select_by == "auroc"
    assert 0 <= result.best["auroc"] <= 1
    assert len(resume(tmp_path / "run").history) == 2


def test_weights_to_start_from(shapes: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture) -> None:
    network = create_model(CLASSIFIER, in_channels=1, num_classes=5)
    preprocessing = load_model(train(shapes, small(train__epochs=1), tmp_path / "any").folder).record.preprocessing
    save_model(
        tmp_path / "other",
        network,
        name=CLASSIFIER,
        arguments={},
        classes=tuple("abcde"),
        task="classification",
        preprocessing=preprocessing,
    )
    recipe = small(weights=str(tmp_path / "other"), model_args={}, optimizer__lr=1e-9, train__epochs=1)
    with caplog.at_level("INFO", "glocal"):
        train(shapes, recipe, tmp_path / "run")
    assert any("weights to start from" in line for line in caplog.messages)
    assert any("of another shape" in line and "head" in line for line in caplog.messages)
    before, after = network.state_dict(), load_model(tmp_path / "run").network.state_dict()
    same = [key for key in before if before[key].shape == after[key].shape and before[key].is_floating_point()]
    assert len(same) > 0.9 * len(before)
    for key in same:
        torch.testing.assert_close(after[key], before[key], atol=1e-4, rtol=1e-3)
    facts = json.loads((tmp_path / "run/manifest.json").read_text())["weights"]
    assert facts["file"] == "model.safetensors"
    assert len(facts["sha256"]) == 64


def test_weights_that_are_gone_or_others_are_told(
    shapes: Path, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="nowhere"):
        train(shapes, small(weights=str(tmp_path / "nowhere")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    first = train(shapes, small(model_args={}, train__epochs=1), tmp_path / "first").folder

    def stopping(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTraining, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(shapes, small(weights=str(first), model_args={}), tmp_path / "run")
    weights = first / "model/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="other weights than those the run began with"):
        resume(tmp_path / "run")
    weights.write_bytes(whole)
    assert len(resume(tmp_path / "run").history) == 2


def test_norms_keep_their_statistics_once_they_are_frozen(shapes: Path, tmp_path: Path, small: Small) -> None:
    options = {"model": "hifuse_micro", "model_args": {}, "train__epochs": 1}

    def statistics(run: str, **changes: Any) -> list[torch.Tensor]:
        train(shapes, small(**options, **changes), tmp_path / run)
        state = torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        return [value for key, value in state.items() if key.endswith("running_mean")]

    assert all(not bool(value.any()) for value in statistics("frozen", train__freeze_norm_after=0))
    assert any(bool(value.any()) for value in statistics("moving", train__freeze_norm_after=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss__name": "dice_ce"}, "loss.name is 'dice_ce', which is not for classification.*cross_entropy"),
        (
            {"train__select_by": "mdice"},
            "train.select_by is 'mdice', which is not for classification.*balanced_accuracy",
        ),
        ({"model": "lmnet_tiny", "model_args": {}}, "no masks were found, only classes; choose a network for classif"),
        ({"loss__weights": [1.0, 2.0, 3.0]}, "loss.weights has 3 values; the data has 2 classes"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    shapes: Path, tmp_path: Path, small: Small, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(shapes, small(**changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.select_by": "auroc"}, "train.select_by is 'auroc', which is not for segmentation.*mdice"),
        ({"augment.mix.p": 1.0}, "augment.mix is for classification"),
        ({"augment.erase.p": 1.0}, "augment.erase is for classification"),
    ],
)
def test_what_is_for_classifiers_is_refused_of_a_segmentation(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settle(load_recipe("quick", changes), "segmentation")


def test_options_that_the_data_decide_and_those_of_masks_are_refused() -> None:
    for changes, message in (
        ({"model_args": {"num_classes": 5}}, "model_args.num_classes is what the data say"),
        ({"data.masks": "keep"}, "data.masks is for segmentation"),
    ):
        with pytest.raises(UserError, match=message):
            settle(load_recipe("quick", {"model": "hifuse_micro", **changes}), "classification")


def test_a_class_without_training_images_is_told(
    shapes: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    rare = shapes / "rare"
    rare.mkdir()
    (rare / "only.png").write_bytes((shapes / "disc/disc 00.png").read_bytes())
    with caplog.at_level("WARNING", "glocal"):
        train(shapes, small(train__epochs=1), tmp_path / "run")
    assert any("(rare) has no" in line for line in caplog.messages)
