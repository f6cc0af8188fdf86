"""Training end to end on a handful of small images: what is left on disk, what is learned, what goes wrong clearly."""

from __future__ import annotations

import csv
import json
import logging
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glocal.errors import UserError
from glocal.models.weights import load_model
from glocal.training import Recipe, load_recipe, resume, train
from glocal.training import build as build_file
from glocal.training.module import SegmentationTraining
from glocal.training.recipe import settle

Small = Callable[..., Recipe]
Make = Callable[..., Path]
PLAIN = {"augment__affine__p": 0.0, "augment__flip__horizontal": 0.0, "augment__color_jitter__p": 0.0}

CURVE = [2.4032857418060303, 2.1643242835998535, 1.9844576120376587]
"""Training loss of the recipe of ``test_the_loss_curve_stays_what_it_is``; changes only when the function does."""


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as stream:
        return [float(row["train_loss"]) for row in csv.DictReader(stream)]


def test_a_run_leaves_everything_the_design_names(discs: Path, tmp_path: Path, small: Small) -> None:
    result = train(discs, small(), tmp_path / "run")
    run = tmp_path / "run"
    present = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    events = {name for name in present if name.startswith("logs/events")}
    assert len(events) == 1
    assert present - events - {".lock"} == {
        "recipe.yaml",
        "manifest.json",
        "splits.json",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "model/model.safetensors",
        "model/model.json",
    }
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["data"]["cases"] == {"train": 6, "val": 2, "test": 2}
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["seeds"] == {"train": 42, "splits": 0}
    assert manifest["duration_seconds"] > 0
    assert manifest["best"]["epoch"] == result.best["epoch"]
    assert load_recipe(run / "recipe.yaml") == settle(small(), "segmentation")
    with (run / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert max(float(row["mdice"]) for row in rows) == result.best["mdice"]


def test_the_model_is_that_of_the_best_epoch(discs: Path, tmp_path: Path, small: Small) -> None:
    train(discs, small(), tmp_path / "run")
    loaded = load_model(tmp_path / "run")
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, best[f"network.{name}"])
    assert loaded.record.classes == ("background", "foreground")
    assert loaded.record.preprocessing.size == (32, 32)
    assert loaded.record.preprocessing.channels == 1


def test_four_images_are_learned_by_heart(tmp_path: Path, small: Small, make_discs: Make) -> None:
    data = make_discs(tmp_path / "data", count=6)
    recipe = small(**PLAIN, train__epochs=25, train__batch_size=4, data__fractions=(0.7, 0.3, 0.0))
    train(data, recipe, tmp_path / "run")
    curve = losses(tmp_path / "run")
    assert curve[-1] < 0.35 * curve[0]


def test_the_loss_curve_stays_what_it_is(discs: Path, tmp_path: Path) -> None:
    changes = {"data.size": 32, "data.fractions": (0.6, 0.2, 0.2), "train.epochs": 3, "train.device": "cpu"}
    train(discs, load_recipe("lmnet", {**changes, "model": "lmnet_tiny"}), tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(CURVE, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"train__precision": "bf16"},
        {"train__ema": 0.9, "optimizer__name": "sgd", "optimizer__lr": 0.05},
        {"schedule__name": "poly", "schedule__interval": "epoch", "train__accumulate": 2, "train__drop_last": False},
        {"loss__name": "class_balanced", "train__balanced_sampling": True, "data__channels": 3},
        {"loss__name": "boundary", "data__cache": "memory", "train__select_by": "image_dice"},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_the_settings_train(changes: dict[str, Any], tmp_path: Path, small: Small, make_discs: Make) -> None:
    data = make_discs(tmp_path / "data", classes=3)
    result = train(data, small(**changes, train__epochs=2), tmp_path / "run")
    assert len(result.history) == 2
    assert all(np.isfinite(row["train_loss"]) for row in result.history)
    assert len(load_model(tmp_path / "run").record.classes) == 3


def test_a_training_stops_at_the_end_of_the_epoch_in_which_its_time_is_spent(
    discs: Path, tmp_path: Path, small: Small
) -> None:
    result = train(discs, small(train__epochs=9, train__max_time=1e-6), tmp_path / "run")
    assert len(result.history) == 1
    assert json.loads((tmp_path / "run/manifest.json").read_text())["status"] == "finished"


def test_early_stopping_stops_after_epochs_without_gain(discs: Path, tmp_path: Path, small: Small) -> None:
    result = train(discs, small(optimizer__lr=1e-12, train__epochs=9, train__early_stopping=2), tmp_path / "run")
    assert len(result.history) < 9
    assert len(result.history) == result.best["epoch"] + 2
    assert len(resume(tmp_path / "run").history) == len(result.history)


def test_fewer_cases_than_a_batch_make_one_batch(
    discs: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="glocal"):
        train(discs, small(train__batch_size=64, train__epochs=1), tmp_path / "run")
    assert "only 6 training cases: batches of 6 instead of 64" in caplog.text


def test_what_happens_is_said(discs: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="glocal"):
        train(discs, small(train__device="auto" if not torch.cuda.is_available() else "cpu"), tmp_path / "run")
    lines = caplog.messages
    assert any("training on the CPU with 1 thread" in line for line in lines)
    assert any(line.startswith("estimate: ") and "an epoch" in line for line in lines)
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 3
    assert "val mDice" in epochs[0]
    first, estimated = lines.index(epochs[0]), next(i for i, line in enumerate(lines) if line[:8] == "estimate")
    assert estimated < first


def test_a_folder_with_something_in_it_is_refused(discs: Path, tmp_path: Path, small: Small) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"run: the folder is not empty; choose another --output"):
        train(discs, small(), tmp_path / "run")
    with pytest.raises(UserError, match="a file where the run folder should go"):
        train(discs, small(), tmp_path / "run/thesis.txt")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__fractions": (0.8, 0.0, 0.2)}, "no validation split .* the test split is never used for that"),
        ({"model": "lmnt"}, "Did you mean 'lmnet'"),
        ({"model_args": {"presett": "paper"}}, "no option 'presett'"),
        ({"data__channels": 1, "data__mean": [0.5, 0.5, 0.5]}, r"data\.mean has 3 numbers; the images have 1 channel,"),
        ({"loss__weights": [1.0, 2.0, 3.0]}, r"loss\.weights has 3 values; the data has 2 classes"),
        ({"train__device": "cuda:7"}, "'cuda:7' is not there"),
        ({"train__device": "gpu0"}, "use auto, cpu, cuda"),
        ({"train__precision": "fp16"}, "fp16 needs a GPU"),
        ({"data__folds": 3}, r"choose one to validate on: --data\.fold 0"),
        ({"data__fold": 1}, "there are no folds"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    discs: Path, tmp_path: Path, small: Small, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(discs, small(**changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_fold_of_a_cross_validation(discs: Path, tmp_path: Path, small: Small) -> None:
    train(discs, small(data__folds=3, data__fold=1, train__epochs=1), tmp_path / "run")
    parts = json.loads((tmp_path / "run/splits.json").read_text())["splits"]
    assert {name: len(ids) for name, ids in parts.items()}["val"] >= 2
    assert not set(parts["val"]) & (set(parts["train"]) | set(parts["test"]))


def test_splits_beside_the_data_are_used(discs: Path, tmp_path: Path, small: Small) -> None:
    train(discs, small(train__epochs=1, data__split_seed=5), tmp_path / "one")
    (discs / "splits.json").write_text((tmp_path / "one/splits.json").read_text())
    train(discs, small(train__epochs=1), tmp_path / "two")
    assert (tmp_path / "two/splits.json").read_text() == (tmp_path / "one/splits.json").read_text()


def test_a_loss_that_is_no_number_stops_the_run(
    discs: Path, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SegmentationTraining.training_step

    def poisoned(self: SegmentationTraining, batch: Any, index: int) -> Any:
        if self.current_epoch == 1:
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))
        return forward(self, batch, index)

    monkeypatch.setattr(SegmentationTraining, "training_step", poisoned)
    with pytest.raises(UserError, match=r"the loss became nan in epoch 2, batch 1; try --optimizer\.lr 0\.0003"):
        train(discs, small(), tmp_path / "run")
    assert losses(tmp_path / "run")
    kept = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in kept.values())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["before the first epoch", "while training"])
def test_running_out_of_memory_names_the_flags(
    discs: Path, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, error: Exception, when: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    if when == "while training":
        monkeypatch.setattr(SegmentationTraining, "training_step", full)
    else:
        monkeypatch.setattr(build_file, "estimate_training", full)
    with pytest.raises(UserError, match=r"out of memory on cpu; lower --train\.batch_size .*--data\.size"):
        train(discs, small(), tmp_path / "run")
    assert (tmp_path / "run").exists() == (when == "while training")


def test_another_runtime_error_is_ours_and_not_hidden(
    discs: Path, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(SegmentationTraining, "training_step", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(discs, small(), tmp_path / "run")


def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(discs: Path, tmp_path: Path, small: Small) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # less than a checkpoint
    try:
        with pytest.raises(UserError, match=r"no space left .*glocal train --resume") as caught:
            train(discs, small(), tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run/checkpoints").iterdir())
    assert len(resume(tmp_path / "run").history) == 3


def test_colour_and_16_bit_images_are_seen_as_they_are(tmp_path: Path, small: Small, make_discs: Make) -> None:
    data = make_discs(tmp_path / "data")
    for path in (data / "images").iterdir():
        grey = np.asarray(Image.open(path))
        colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
        Image.fromarray(colour).save(path)
    train(data, small(train__epochs=1), tmp_path / "colour")
    assert load_model(tmp_path / "colour").record.preprocessing.channels == 3
    deep = make_discs(tmp_path / "deep")
    for path in (deep / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 257).save(path)
    plain = train(make_discs(tmp_path / "plain"), small(), tmp_path / "eight")
    assert train(deep, small(), tmp_path / "sixteen").best["val_loss"] == pytest.approx(
        plain.best["val_loss"], rel=0.02
    )


def test_the_random_state_of_the_caller_is_left_alone(discs: Path, tmp_path: Path, small: Small) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(discs, small(train__epochs=1), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_a_class_that_no_mask_shows_is_refused(discs: Path, tmp_path: Path, small: Small) -> None:
    (discs / "classes.txt").write_text("background: 0\ndisc: 255\nring: 7\n")
    with pytest.raises(UserError, match=r"classes\.txt: class 2 \(ring\) is in no mask; .*take it out"):
        train(discs, small(), tmp_path / "run")
    for mask in (discs / "masks").iterdir():
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(mask)
    (discs / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"class 1 \(foreground\) is in no mask; check the masks$"):
        train(discs, small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stray_value_is_told_with_its_mask(
    discs: Path, tmp_path: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    path = next((discs / "masks").iterdir())
    mask = np.asarray(Image.open(path)).copy()
    mask[0, 0] = 77
    Image.fromarray(mask).save(path)
    with caplog.at_level("WARNING", "glocal"):
        train(discs, small(train__epochs=1), tmp_path / "run")
    assert any(line.startswith(f"{path}: the only mask with class 1") for line in caplog.messages)
