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
        ``T_max = epochs``; with a ``period`` it goes down and up again without a restart, as torch's does.
        poly: ``highest * (1 - t) ** power`` with t from 0 to 1. During warm-up: a straight line; during the last
        ``cooldown_epochs`` the rate stays where the schedule ended.
    """
    by_epoch = config.interval == "epoch"
    position = float(epoch) if by_epoch else epoch + step / steps
    unit = 1.0 if by_epoch else 1.0 / steps
    if position < config.warmup_epochs and config.warmup_start is not None:
        return config.warmup_start + (highest - config.warmup_start) * position / config.warmup_epochs
    if position < config.warmup_epochs:
        return highest * (position + unit) / (config.warmup_epochs + unit)
    length = epochs - config.warmup_epochs - config.cooldown_epochs if config.period is None else config.period
    share = (position - config.warmup_epochs) / length
    if config.period is None:
        share = min(share, 1.0)
    if config.name == "cosine":
        return config.minimum + (highest - config.minimum) * (1 + math.cos(math.pi * share)) / 2
    if config.name == "poly":
        return highest * math.pow(1 - share, config.power)
    return highest
