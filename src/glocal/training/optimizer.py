"""The optimiser of a recipe, and which parameters weight decay applies to."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from glocal.training.recipe import OptimizerConfig

__all__ = ["make_optimizer", "parameter_groups"]


def parameter_groups(network: nn.Module, decay: str, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of a network, those that decay apart from those that do not.

    Args:
        network: Any module in it may list, in ``no_weight_decay``, names of its parameters that do not decay.
        decay: ``"all"``, or ``"matrices"``: neither biases, nor tensors of one dimension, nor what the network lists.
        weight_decay: Of those that decay.
    """
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if decay == "all":
        return [{"params": [parameter for _, parameter in named], "weight_decay": weight_decay}]
    listed = {
        f"{path}.{name}".lstrip(".")
        for path, module in network.named_modules()
        for name in getattr(module, "no_weight_decay", ())
    }
    spared = {name for name, p in named if p.ndim <= 1 or name.endswith(".bias") or name in listed}
    kept = {"params": [p for name, p in named if name not in spared], "weight_decay": weight_decay}
    free = {"params": [p for name, p in named if name in spared], "weight_decay": 0.0}
    return [group for group in (kept, free) if group["params"]]


def make_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a recipe for the parameters of a network."""
    groups = parameter_groups(network, config.decay, config.weight_decay)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return torch.optim.AdamW(groups, lr=config.lr)
