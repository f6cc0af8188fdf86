"""The temperature of a classifier, fitted on the validation split with the weights of the best epoch."""

from __future__ import annotations

import logging

import torch
from torch.utils.data import DataLoader

from glocal.errors import counted
from glocal.evaluation.calibration import fit_temperature
from glocal.training.module import Training
from glocal.training.prepare import TrainingData

__all__ = ["temperature"]

log = logging.getLogger("glocal")


def temperature(module: Training, data: TrainingData, device: torch.device) -> float:
    """What the logits are to be divided by so that the probabilities of the validation split are as they come true.

    Guo et al., *On calibration of modern neural networks*, ICML 2017. The predicted classes stay the same.

    Args:
        module: With the weights that are kept; its network comes back on the CPU in eval mode.
        data: Of a classification.
        device: Where to compute.
    """
    size = min(module.recipe.train.batch_size, len(data.val))
    network = module.network.to(device).eval()
    logits, truth = [], []
    with torch.inference_mode():
        for batch in DataLoader(data.val, size):
            images = module.normalised(batch["image"].to(device).float() / module.val_scale)
            logits.append(network(images).float().cpu())
            truth.append(batch["label"])
    network.cpu()
    found = fit_temperature(torch.cat(logits).numpy(), torch.cat(truth).numpy(), multi_label=data.dataset.multi_label)
    log.info("temperature %.3f, fitted on %s", found, counted(len(data.val), "validation case"))
    return found
