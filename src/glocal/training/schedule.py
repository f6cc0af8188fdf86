"""The learning rate as a function of epoch and step alone, so that a resumed run needs no state to go on."""

from __future__ import annotations

import math

from glocal.training.recipe import ScheduleConfig

__all__ = ["learning_rate"]


def learning_rate(config: ScheduleConfig, highest: float, epoch: int, step: int, steps: int, epochs: int) -> float:
    """The learning rate of one step.

    Args:
        config: Shape of the schedule.
        highest: The rate after warm-up.
        epoch: From 0.
        step: Batch of the epoch, from 0.
        steps: Batches in an epoch.
        epochs: Epochs of the whole training.

    Returns:
        cosine: from ``highest`` to ``minimum`` along half a cosine, by epoch as torch's ``CosineAnnealingLR`` with
        ``T_max = epochs``. poly: ``highest * (1 - t) ** power`` with t from 0 to 1. During warm-up: a straight line.
    """
    by_epoch = config.interval == "epoch"
    position = float(epoch) if by_epoch else epoch + step / steps
    unit = 1.0 if by_epoch else 1.0 / steps
    if position < config.warmup_epochs:
        return highest * (position + unit) / (config.warmup_epochs + unit)
    share = (position - config.warmup_epochs) / (epochs - config.warmup_epochs)
    if config.name == "cosine":
        return config.minimum + (highest - config.minimum) * (1 + math.cos(math.pi * share)) / 2
    if config.name == "poly":
        return highest * math.pow(1 - share, config.power)
    return highest
