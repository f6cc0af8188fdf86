"""What Lightning trains: one network, its loss, its augmentation, and Dice on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from glocal.errors import UserError
from glocal.models.network import Network
from glocal.training.augment import Augment, batch_generator
from glocal.training.losses import SegmentationLoss
from glocal.training.recipe import OptimizerConfig, Recipe
from glocal.training.schedule import learning_rate
from glocal.training.scores import Scores, confusion, scores

__all__ = ["SegmentationTraining", "make_optimizer"]

_DROPOUT = 2**32
"""Added to the step in the seed of dropout, so that augmentation draws from another stream."""

_CHECK_EVERY = 20
"""Steps between two looks at the loss on a GPU, each of which waits for it."""

Batch = dict[str, Any]


def make_optimizer(config: OptimizerConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a recipe; weight decay applies to all parameters."""
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )
    return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


class SegmentationTraining(LightningModule):
    """Training of a segmentation network.

    All that is random in a step is a function of (seed, epoch, step): a resumed run repeats what an unbroken one does.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K, H, W)``.
        loss: Of these logits and labels ``(N, H, W)``.
        augment: Applied to training batches on the device, in float32.
        recipe: Optimiser, schedule, seed.
        mean: One number per channel, of images in [0, 1].
        std: One number per channel.
        scale: What pixel values of training images are divided by to come to [0, 1].
        val_scale: The same for validation images.
        steps: Training batches in an epoch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        loss: SegmentationLoss,
        augment: Augment,
        recipe: Recipe,
        mean: Sequence[float],
        std: Sequence[float],
        scale: float,
        val_scale: float,
        steps: int,
    ) -> None:
        super().__init__()
        # A training step takes about 0.7 of the time it takes channels first. mypy does not know this overload.
        self.network: Network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = loss
        self.augment = augment
        self.recipe = recipe
        self.scale = scale
        self.val_scale = val_scale
        self.steps = steps
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.losses: list[Tensor] = []
        self.counts: list[Tensor] = []
        self.val_losses: list[Tensor] = []
        self.rate = 0.0
        self.scores: Scores | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch -> scalar loss."""
        epoch, seed = self.current_epoch, self.recipe.train.seed
        images, labels = batch["image"].float() / self.scale, batch["label"]
        with torch.autocast(images.device.type, enabled=False):
            images, labels = self.augment(images, labels, epoch=epoch, step=batch_idx)
        dropout = batch_generator(seed, epoch, _DROPOUT + batch_idx)
        torch.manual_seed(dropout.initial_seed())
        loss: Tensor = self.loss(self.network(self.normalised(images)), labels)
        self.losses.append(loss.detach())
        if self.device.type == "cpu" or batch_idx % _CHECK_EVERY == 0:
            self.require_finite(batch_idx)
        return loss

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] ``(N, C, H, W)`` -> what the network takes."""
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def require_finite(self, step: int) -> None:
        """Stop before weights that are no numbers are kept.

        Raises:
            UserError: A loss of this epoch is not finite.
        """
        if not bool(torch.stack(self.losses[-_CHECK_EVERY:]).isfinite().all()):
            raise UserError(
                f"the loss became {float(self.losses[-1])} in epoch {self.current_epoch + 1}, batch {step + 1}; "
                f"try --optimizer.lr {self.recipe.optimizer.lr / 10:g}, --train.gradient_clip 1, --train.precision fp32"
            )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate."""
        recipe = self.recipe
        self.rate = learning_rate(
            recipe.schedule, recipe.optimizer.lr, self.current_epoch, batch_idx, self.steps, recipe.train.epochs
        )
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the last epoch."""
        self.losses = []

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the last epoch."""
        self.counts, self.val_losses = [], []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count pixels by true and predicted class."""
        logits = self.network(self.normalised(batch["image"].float() / self.val_scale))
        self.val_losses.append(self.loss(logits, batch["label"]) * len(logits))
        self.counts.append(confusion(logits.argmax(dim=1), batch["label"], logits.shape[1]))

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole split."""
        self.scores = scores(torch.cat(self.counts))

    def train_loss(self) -> float:
        """Mean loss of the batches of this epoch."""
        return float(torch.stack(self.losses).mean())

    def val_loss(self) -> float:
        """Mean loss of the validation cases."""
        return float(torch.stack(self.val_losses).sum()) / sum(len(c) for c in self.counts)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe; the learning rate is set step by step."""
        return make_optimizer(self.recipe.optimizer, list(self.network.parameters()))
