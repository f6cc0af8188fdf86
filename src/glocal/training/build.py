"""From recipe and data to what Lightning needs: device, module, loaders."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from glocal.data.cache import Item
from glocal.data.slices import VolumeSet
from glocal.devices import choose_device
from glocal.errors import UserError, counted
from glocal.files import require_regular_file
from glocal.models import create_model, model_info
from glocal.models.network import Network
from glocal.models.registry import default_options
from glocal.models.weights import Preprocessing, find_model, read_record
from glocal.training.augment import Augment
from glocal.training.estimate import Estimate, estimate_training
from glocal.training.losses import make_classification_loss, make_loss
from glocal.training.module import ClassificationTraining, SegmentationTraining, Training
from glocal.training.prepare import TrainingData, class_facts
from glocal.training.recipe import Recipe, TrainConfig
from glocal.training.sampling import EpochSampler, balancing_weights

__all__ = ["Loader", "build_module", "estimate", "loaders", "normalisation", "training_device", "weights_facts"]

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


def normalisation(recipe: Recipe, channels: int, volumes: VolumeSet | None = None) -> Preprocessing:
    """Size, mean and standard deviation as the recipe says, or else as the record of the network says.

    Args:
        recipe: What is asked for.
        channels: Of the images.
        volumes: Which the images are slices of; how they are seen goes with the model. Of neighbouring slices all
            channels are alike.

    Raises:
        UserError: The recipe does not give one number per channel.
    """
    info = model_info(recipe.model)
    values = {}
    for what, asked, own in (("mean", recipe.data.mean, info.mean), ("std", recipe.data.std, info.std)):
        if asked is not None and len(asked) != channels:
            raise UserError(
                f"data.{what} has {counted(len(asked), 'number')}; the images have {counted(channels, 'channel')}, "
                "give one for each, or choose the channels: --data.channels"
            )
        given = tuple(asked if asked is not None else own)
        alike = asked is None and volumes is not None and volumes.neighbours > 1
        values[what] = given if len(given) == channels and not alike else (float(np.mean(given)),) * channels
    seen = {} if volumes is None else volumes.facts()
    return Preprocessing(recipe.data.height_width, channels, values["mean"], values["std"], **seen)


def build_module(recipe: Recipe, data: TrainingData, *, weights: bool = True) -> Training:
    """Network with initial weights drawn from the seed or read from a file, loss and augmentation.

    Args:
        recipe: Settled for the task of its network.
        data: For the same task.
        weights: Read the weights the recipe names; not needed where a checkpoint brings them.

    Raises:
        UserError: The network is unknown, the recipe does not fit the data, or the weights do not fit the network.
    """
    classes = len(data.classes)
    preprocessing = normalisation(recipe, data.channels, data.dataset.volumes)
    augment = Augment(recipe.augment, data.channels, recipe.train.seed, coloured=recipe.data.neighbours == 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        network = _network(recipe, data.channels, classes, recipe.weights if weights else None)
    kind = ClassificationTraining if data.dataset.task == "classification" else SegmentationTraining
    return kind(
        network,
        _loss(recipe, data),
        augment,
        recipe,
        preprocessing.mean,
        preprocessing.std,
        data.train.scale,
        data.val.scale,
        _steps(recipe.train, len(data.train)),
    )


def _loss(recipe: Recipe, data: TrainingData) -> torch.nn.Module:
    classes, dataset = len(data.classes), data.dataset
    if dataset.task == "classification":
        counts = class_facts(data.train.labels, classes)[0]
        return make_classification_loss(recipe.loss, classes, counts, len(data.train), dataset.multi_label)
    counting = recipe.loss.name == "class_balanced" or recipe.loss.weights == "balanced"
    return make_loss(recipe.loss, classes, class_facts(data.train.labels, classes)[0] if counting else None)


def _network(recipe: Recipe, channels: int, classes: int, weights: str | None) -> Network:
    """The network of a recipe; with ``weights`` what fits of them is loaded, and the rest is told in the log."""
    numbers: dict[str, Any] = {"in_channels": channels, "num_classes": classes}
    if weights is None:
        network = create_model(recipe.model, **recipe.model_args, **numbers)
    else:  # every option is given, so that none is adopted from the weights that the model folder would not know
        options = {**default_options(recipe.model), **recipe.model_args, **numbers}
        _require_same_options(recipe, options, weights)
        network = create_model(recipe.model, weights=weights, strict=False, **options)
        log.info("weights to start from: %s", weights)
    assert isinstance(network, Network)
    return network.train()


def _require_same_options(recipe: Recipe, options: Mapping[str, Any], weights: str) -> None:
    """Refuse weights of a model folder that was made with other options, and merged ones, which are not trained on."""
    path = find_model(weights)[1]
    if path is None:
        return
    record = read_record(path)
    if record.deployed:
        raise UserError(f"{path}: a deployed network cannot be trained; name the model it was made of")
    for name, value in {**default_options(record.name), **record.arguments}.items():
        numbers = name in ("in_channels", "num_classes")
        if record.name == recipe.model and not numbers and _plain(value) != _plain(options.get(name)):
            cure = f"give --model_args '{{{name}: {value}}}'"
            raise UserError(f"{path}: made with {name} {value!r}, not {options.get(name)!r}; {cure}")


def _plain(value: Any) -> Any:
    """A list for a tuple, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def weights_facts(weights: str | None) -> dict[str, Any] | None:
    """What the manifest says about the weights a training started from.

    Raises:
        UserError: There are none.
    """
    if weights is None:
        return None
    path = require_regular_file(find_model(weights)[0])
    with path.open("rb") as stream:
        return {"source": weights, "file": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


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
        present = class_facts(data.train.labels, len(data.classes))[1]
        weights = balancing_weights(present, empty=data.dataset.volumes is not None)
    shared: dict[str, Any] = {
        "num_workers": config.workers,
        "persistent_workers": config.workers > 0,
        "pin_memory": device.type == "cuda",
    }
    sampler = EpochSampler(len(data.train), config.seed, weights)
    training = Loader(data.train, size, sampler=sampler, drop_last=config.drop_last, **shared)
    return training, Loader(data.val, size, **shared)


def estimate(module: Training, data: TrainingData, device: torch.device) -> Estimate:
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
