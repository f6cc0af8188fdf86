"""Recipes: how to train, as typed dataclasses. YAML files, command-line flags and Python are views of one tree."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from glocal.data.intensity import Intensity
from glocal.errors import UserError, counted
from glocal.models.registry import Task
from glocal.training.augment_config import AugmentConfig, check_augment
from glocal.training.losses import LOSSES, LossConfig, resolve_loss
from glocal.training.scores import SCORES

log = logging.getLogger("glocal")

__all__ = [
    "DataConfig",
    "IntensityConfig",
    "OptimizerConfig",
    "Recipe",
    "ScheduleConfig",
    "TrainConfig",
    "check_recipe",
    "settle",
]


@dataclass(frozen=True)
class IntensityConfig:
    """How the values of volumes come to [0, 1].

    Attributes:
        kind: window (low and high in the units of the files), percentiles (low-th and high-th of each volume), zscore
            (low and high standard deviations from the mean of each volume), full (its whole range), or auto: for CT a
            window that holds 99 % of the values inside the training masks, otherwise percentiles 0.5 and 99.5.
        low: What becomes 0. Default: that of the kind.
        high: What becomes 1. Default: that of the kind.
    """

    kind: Literal["auto", "full", "window", "percentiles", "zscore"] = "auto"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DataConfig:
    """How images are read and divided.

    Attributes:
        size: Training size in pixels: one number for a square, or [height, width]. Images are resized to it.
        channels: 1 (grey), 3 (RGB), or auto: 1 where all images are grey, else 3.
        splits: A splits.json; made if it does not exist. Default: splits.json in the data folder where there is one;
            else splits are made for this run.
        fractions: Shares of training, validation and test cases. Default: 0.8, 0.1, 0.1, or those of existing splits.
        split_seed: Seed of the splits. Default: 0, or that of existing splits.
        folds: Number of folds for cross-validation. Default: none.
        fold: Which fold validates, from 0.
        masks: Whether several masks of one image are united, or each kept as a case of its own.
        mean: Normalisation of images in [0, 1], one number per channel. Default: that of the network.
        std: Normalisation of images in [0, 1], one number per channel. Default: that of the network.
        cache: Folder for decoded images, or "memory". Default: $GLOCAL_CACHE or ~/.cache/glocal.
        neighbours: Volumes: slices seen at once, as channels, of which the middle one is segmented (2.5-D); odd.
        intensity: How the values of volumes come to [0, 1].
    """

    size: int | tuple[int, int] = (256, 256)
    channels: Literal["auto", 1, 3] = "auto"
    splits: str | None = None
    fractions: tuple[float, float, float] | None = None
    split_seed: int | None = None
    folds: int | None = None
    fold: int | None = None
    masks: Literal["unite", "keep"] = "unite"
    mean: list[float] | None = None
    std: list[float] | None = None
    cache: str | None = None
    neighbours: int = 1
    intensity: IntensityConfig = field(default_factory=IntensityConfig)

    @property
    def height_width(self) -> tuple[int, int]:
        """Training size (H, W)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser.

    Attributes:
        name: adamw or sgd.
        lr: Learning rate at its highest.
        weight_decay: Decoupled for adamw, added to the gradient for sgd.
        momentum: sgd: Nesterov momentum. adamw ignores it.
        decay: What weight decay applies to: all parameters, or matrices: none for biases, for tensors of one dimension
            (norms) and for those the network lists (class tokens).
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    decay: Literal["all", "matrices"] = "all"


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes.

    Attributes:
        name: cosine, poly or constant.
        interval: Whether the rate changes every epoch or every step.
        warmup_epochs: Epochs over which the rate rises linearly to its highest, before the schedule starts.
        minimum: cosine: the rate at the end.
        power: poly: exponent.
        warmup_start: Rate of the first step of the warm-up. Default: one step above 0.
        period: cosine: epochs from the highest to the minimum, after which it rises again, with no restart. Default:
            what warm-up and cool-down leave.
        cooldown_epochs: Epochs at the end that stay at the last rate of the schedule.
    """

    name: Literal["cosine", "poly", "constant"] = "cosine"
    interval: Literal["epoch", "step"] = "epoch"
    warmup_epochs: float = 0.0
    minimum: float = 1e-6
    power: float = 0.9
    warmup_start: float | None = None
    period: float | None = None
    cooldown_epochs: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """The training loop.

    Attributes:
        epochs: Passes over the training cases.
        batch_size: Images in a batch.
        accumulate: Batches whose gradients are added up before a step.
        drop_last: Leave out a last batch that is smaller than the others.
        seed: Of the initial weights, the order of cases, augmentation and dropout.
        precision: fp32; tf32 (fp32 with faster, coarser products on GPUs that have them); bf16; fp16 (GPU).
        device: auto (a GPU where there is one), cpu, cuda, cuda:1, mps.
        workers: Processes that load data. The cache is so fast that 0 (none) is best on small machines.
        gradient_clip: Largest norm of the gradients. Default: no limit.
        ema: Decay of an exponential moving average of the weights, which is then validated and kept. Default: none.
        early_stopping: Stop when so many epochs brought no better value of select_by. Default: never.
        max_time: Stop at the end of the epoch in which so many seconds are spent; finished epochs before an
            interruption count. The schedule knows nothing of it, and a repeated run may stop elsewhere. Default: never.
        balanced_sampling: Draw cases so that rare classes are seen more often; of volumes, empty slices count as a
            class, too.
        select_by: What the best epoch is chosen by, on the validation split. Segmentation: mdice (mean Dice of all
            classes, pooled over the split; the default), foreground_iou (the same without background, IoU) or
            image_dice (per image, foreground). Classification: accuracy, balanced_accuracy (the default), macro_f1 or
            auroc (the default for multi-label sets).
        freeze_norm_after: From this many epochs on the network is trained in eval mode: norms keep their statistics,
            and nothing is dropped. Default: never.
    """

    epochs: int = 100
    batch_size: int = 8
    accumulate: int = 1
    drop_last: bool = True
    seed: int = 42
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    device: str = "auto"
    workers: int = 0
    gradient_clip: float | None = None
    ema: float | None = None
    early_stopping: int | None = None
    max_time: float | None = None
    balanced_sampling: bool = False
    select_by: Literal[
        "auto", "mdice", "foreground_iou", "image_dice", "accuracy", "balanced_accuracy", "macro_f1", "auroc"
    ] = "auto"
    freeze_norm_after: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that was asked for.

    Attributes:
        name: Of the recipe; also of the run where no output folder is given.
        model: Registered name of the network; `glocal models` lists them.
        model_args: Options of the network, such as {preset: paper}.
        weights: Weights to start from: a model or run folder, or a published checkpoint. What does not fit, such as the
            head for other classes, starts fresh. Default: none.
        data: How images are read and divided.
        augment: What is done to training images.
        loss: What is minimised.
        optimizer: AdamW or SGD.
        schedule: How the learning rate changes.
        train: The training loop.
    """

    name: str = "default"
    model: str = "lmnet"
    model_args: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def check_recipe(recipe: Recipe) -> Recipe:
    """Refuse values that make no sense, fill in the options of the loss, and fit the warm-up into a short training.

    Raises:
        UserError: One line that names the setting.
    """
    check_augment(recipe.augment)
    augment = recipe.augment
    height, width = recipe.data.height_width
    train, schedule, optimizer, data = recipe.train, recipe.schedule, recipe.optimizer, recipe.data
    at_least = {
        "data.size": (min(height, width), 16),
        "data.folds": (data.folds if data.folds is not None else 2, 2),
        "data.fold": (data.fold or 0, 0),
        "data.split_seed": (data.split_seed or 0, 0),
        "train.epochs": (train.epochs, 1),
        "train.batch_size": (train.batch_size, 1),
        "train.accumulate": (train.accumulate, 1),
        "train.seed": (train.seed, 0),
        "train.workers": (train.workers, 0),
        "train.early_stopping": (1 if train.early_stopping is None else train.early_stopping, 1),
        "optimizer.weight_decay": (optimizer.weight_decay, 0),
        "schedule.minimum": (schedule.minimum, 0),
        "schedule.power": (schedule.power, 0),
        "schedule.warmup_epochs": (schedule.warmup_epochs, 0),
        "schedule.cooldown_epochs": (schedule.cooldown_epochs, 0),
        "schedule.warmup_start": (schedule.warmup_start or 0, 0),
        "train.freeze_norm_after": (train.freeze_norm_after or 0, 0),
    }
    for name, (value, least) in at_least.items():
        if not value >= least:
            raise UserError(f"{name} is {value}; it must be at least {least}")
    above_zero: dict[str, float | None] = {"optimizer.lr": optimizer.lr, "train.gradient_clip": train.gradient_clip}
    above_zero |= {"schedule.period": schedule.period, "train.max_time": train.max_time}
    for name, number in above_zero.items():
        if number is not None and not number > 0:
            raise UserError(f"{name} is {number}; it must be above 0")
    for name, share in {"train.ema": train.ema, "optimizer.momentum": optimizer.momentum}.items():
        if share is not None and not 0 <= share < 1:
            raise UserError(f"{name} is {share}; it must be at least 0 and below 1")
    for name in ("in_channels", "num_classes"):
        if name in recipe.model_args:
            raise UserError(f"model_args.{name} is what the data say; leave it out (data.channels chooses grey or RGB)")
    if data.std is not None and min(data.std, default=0) <= 0:
        raise UserError(f"data.std is {data.std}; its numbers must be above 0")
    if data.fold is not None and data.folds is not None and data.fold >= data.folds:
        raise UserError(f"data.fold is {data.fold}; with data.folds {data.folds} it goes from 0 to {data.folds - 1}")
    _check_volumes(data)
    if augment.turn.p and height != width:
        raise UserError(f"augment.turn turns by 90 degrees, which a data.size of {height}x{width} does not allow")
    if schedule.period is not None and schedule.name != "cosine":
        raise UserError(f"schedule.period has no effect on {schedule.name!r}; remove it, or use schedule.name cosine")
    if schedule.cooldown_epochs >= train.epochs and schedule.cooldown_epochs:
        log.warning("schedule.cooldown_epochs: none instead of %g in a short training", schedule.cooldown_epochs)
        schedule = replace(schedule, cooldown_epochs=0.0)
    if schedule.warmup_epochs >= train.epochs - schedule.cooldown_epochs and schedule.warmup_epochs:
        shorter = (train.epochs - schedule.cooldown_epochs) / 4
        log.warning(
            "schedule.warmup_epochs: %g instead of %g, which leaves nothing of %s for the schedule itself",
            shorter,
            schedule.warmup_epochs,
            counted(train.epochs, "epoch"),
        )
        schedule = replace(schedule, warmup_epochs=shorter)
    loss = recipe.loss if recipe.loss.name == "auto" else resolve_loss(recipe.loss)
    return replace(recipe, loss=loss, schedule=schedule)


def _check_volumes(data: DataConfig) -> None:
    if data.neighbours < 1 or data.neighbours % 2 == 0:
        raise UserError(
            f"data.neighbours is {data.neighbours}; it must be odd: the slice itself and as many on each side"
        )
    if data.neighbours > 1 and data.channels != "auto":
        raise UserError(
            f"data.channels is {data.channels}, but with data.neighbours {data.neighbours} each slice is a channel; "
            "leave it out, or set --data.channels auto"
        )
    given = data.intensity
    if given.kind == "auto":
        if given.low is not None or given.high is not None:
            raise UserError("data.intensity has low or high, but its kind is auto; choose one: --data.intensity.kind")
        return
    try:
        Intensity(given.kind, given.low, given.high)
    except ValueError as error:
        raise UserError(f"data.{error}") from None


def settle(recipe: Recipe, task: Task, multi_label: bool = False) -> Recipe:
    """Fill in what depends on the task: the loss, and the score the best epoch is chosen by.

    Args:
        recipe: Of :func:`check_recipe`.
        task: Of the network.
        multi_label: Whether an image may show several classes, or none.

    Raises:
        UserError: The loss, the score or the augmentation is for the other task.
    """
    loss, by = recipe.loss, recipe.train.select_by
    if loss.name == "auto":
        loss = replace(loss, name="cross_entropy" if task == "classification" else "dice_ce")
    if by == "auto":
        by = "mdice" if task == "segmentation" else "auroc" if multi_label else "balanced_accuracy"
    for name, value, known in (("loss.name", loss.name, LOSSES[task]), ("train.select_by", by, SCORES[task])):
        if value not in known:
            other = f"{name} is {value!r}, which is not for {task}, the task of {recipe.model}"
            raise UserError(f"{other}; choose from {', '.join(known)}")
    if task == "classification" and recipe.data.masks != "unite":
        raise UserError(f"data.masks is for segmentation; {recipe.model} is for classification: leave it out")
    for name, p in (("erase", recipe.augment.erase.p), ("mix", recipe.augment.mix.p)):
        if task == "segmentation" and p:
            raise UserError(
                f"augment.{name} is for classification; {recipe.model} is for {task}: set augment.{name}.p to 0"
            )
    return replace(recipe, loss=resolve_loss(loss), train=replace(recipe.train, select_by=by))
