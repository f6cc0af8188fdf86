"""From recipe and data to what Lightning needs: device, module, loaders."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from glocal.data.cache import Item
from glocal.devices import choose_device
from glocal.errors import UserError, counted
from glocal.models import create_model, model_info
from glocal.models.network import Network
from glocal.models.weights import Preprocessing
from glocal.training.augment import Augment
from glocal.training.estimate import Estimate, estimate_training
from glocal.training.losses import make_loss
from glocal.training.module import SegmentationTraining
from glocal.training.prepare import TrainingData, class_facts
from glocal.training.recipe import Recipe, TrainConfig
from glocal.training.sampling import EpochSampler, balancing_weights

__all__ = ["Loader", "build_module", "estimate", "loaders", "normalisation", "training_device"]

log = logging.getLogger("glocal")

Loader = DataLoader[Item]

_MEASURED_ON_CPU = 2
"""Images of the steps that are measured before a training on a processor."""


def training_device(config: TrainConfig) -> torch.device:
    """The device a recipe asks for; ``auto`` is a GPU where there is one.

    Raises:
        UserError: There is no such device, or it cannot compute in the precision that is asked for.
    """
    device = choose_device(config.device)
    if config.precision == "fp16" and device.type == "cpu":
        raise UserError("train.precision fp16 needs a GPU; use --train.precision bf16 or fp32 on a processor")
    if device.type == "cpu":
        why = "no GPU found" if config.device == "auto" else "as asked"
        log.info("training on the CPU with %s (%s)", counted(torch.get_num_threads(), "thread"), why)
    else:
        log.info("training on %s", torch.cuda.get_device_name(device) if device.type == "cuda" else device)
    return device


def normalisation(recipe: Recipe, channels: int) -> Preprocessing:
    """Size, mean and standard deviation as the recipe says, or else as the record of the network says.

    Raises:
        UserError: The recipe does not give one number per channel.
    """
    info = model_info(recipe.model)
    values = {}
    for what, asked, own in (("mean", recipe.data.mean, info.mean), ("std", recipe.data.std, info.std)):
        if asked is not None and len(asked) != channels:
            raise UserError(
                f"data.{what} has {counted(len(asked), 'number')}; the images have {counted(channels, 'channel')}, "
                "give one for each"
            )
        given = tuple(asked if asked is not None else own)
        values[what] = given if len(given) == channels else (float(np.mean(given)),) * channels
    return Preprocessing(recipe.data.height_width, channels, values["mean"], values["std"])


def build_module(recipe: Recipe, data: TrainingData) -> SegmentationTraining:
    """Network with initial weights drawn from the seed, loss and augmentation.

    Raises:
        UserError: The network is unknown or for another task, or the recipe does not fit the data.
    """
    info = model_info(recipe.model)
    if info.task != data.dataset.task:
        raise UserError(
            f"{recipe.model} is for {info.task}, the data is for {data.dataset.task}; choose another --model"
        )
    classes = len(data.classes)
    pixels = class_facts(data.train.labels, classes)[0] if recipe.loss.name == "class_balanced" else None
    loss = make_loss(recipe.loss, classes, pixels)
    preprocessing = normalisation(recipe, data.channels)
    augment = Augment(recipe.augment, data.channels, recipe.train.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        network = create_model(recipe.model, in_channels=data.channels, num_classes=classes, **recipe.model_args)
    return SegmentationTraining(
        cast(Network, network),
        loss,
        augment,
        recipe,
        preprocessing.mean,
        preprocessing.std,
        data.train.scale,
        data.val.scale,
        _steps(recipe.train, len(data.train)),
    )


def _batch_size(config: TrainConfig, cases: int) -> int:
    if cases < config.batch_size:
        log.info("only %s: batches of %d instead of %d", counted(cases, "training case"), cases, config.batch_size)
    return min(config.batch_size, cases)


def _steps(config: TrainConfig, cases: int) -> int:
    size = min(config.batch_size, cases)
    return cases // size if config.drop_last else -(-cases // size)


def loaders(recipe: Recipe, data: TrainingData, device: torch.device) -> tuple[Loader, Loader]:
    """Batches for training, in an order that is a function of seed and epoch, and for validation."""
    config = recipe.train
    size = _batch_size(config, len(data.train))
    weights = None
    if config.balanced_sampling:
        weights = balancing_weights(class_facts(data.train.labels, len(data.classes))[1])
    shared: dict[str, Any] = {
        "num_workers": config.workers,
        "persistent_workers": config.workers > 0,
        "pin_memory": device.type == "cuda",
    }
    sampler = EpochSampler(len(data.train), config.seed, weights)
    training = Loader(data.train, size, sampler=sampler, drop_last=config.drop_last, **shared)
    return training, Loader(data.val, size, **shared)


def estimate(module: SegmentationTraining, data: TrainingData, device: torch.device) -> Estimate:
    """Memory and time, measured on the first training cases."""
    size = min(module.recipe.train.batch_size, len(data.train))
    measured = min(size, _MEASURED_ON_CPU) if device.type == "cpu" else size
    batch = default_collate([data.train[i] for i in range(measured)])
    found = estimate_training(module, batch, size, len(data.val), device)
    log.info("%s", found)
    if found.bytes > found.available:
        log.warning(
            "this is more memory than is free; lower --train.batch_size (with --train.accumulate) or --data.size"
        )
    return found
