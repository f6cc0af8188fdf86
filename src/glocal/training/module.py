"""What Lightning trains: one network, its loss, its augmentation, and scores on the validation split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from glocal.errors import UserError
from glocal.models.network import Network
from glocal.training._mix import erase, mix
from glocal.training.augment import Augment, batch_generator
from glocal.training.optimizer import make_optimizer
from glocal.training.recipe import Recipe
from glocal.training.schedule import learning_rate
from glocal.training.scores import SCORES, SHOWN, class_scores, confusion, scores

__all__ = ["Batch", "ClassificationTraining", "SegmentationTraining", "Training", "loss_of"]

_DROPOUT = 2**32
"""Added to the step in the seed of dropout, so that augmentation draws from another stream."""

_MIXING = 2**33
"""Likewise for erasing and mixing."""

_CHECK_EVERY = 20
"""Steps between two looks at the loss on a GPU, each of which waits for it."""

Batch = dict[str, Any]
Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(network: Network, loss: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Loss of one batch: the weighted sum over all outputs that the network has while it is trained."""
    return torch.stack([weight * loss(logits, labels) for logits, weight in network.training_outputs(images)]).sum()


class Training(LightningModule):
    """Training of a network; what depends on the task is in the two subclasses.

    All that is random in a step is a function of (seed, epoch, step): a resumed run repeats what an unbroken one does.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K, …)``.
        loss: Of these logits and the labels.
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
    columns: ClassVar[tuple[str, ...]]
    """Names of the scores."""
    shown: ClassVar[Mapping[str, str]]
    """The scores that are said after each epoch: words for the reader -> column."""

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
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
        self.val_losses: list[Tensor] = []
        self.val_cases = 0
        self.rate = 0.0
        self.scores: dict[str, float] | None = None

    @abstractmethod
    def prepared(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and labels of a batch -> what the network takes and what the loss compares it with."""

    @abstractmethod
    def note(self, logits: Tensor, labels: Tensor) -> None:
        """Keep of a validation batch what the scores need."""

    @abstractmethod
    def noted(self) -> dict[str, float]:
        """Scores of all that was noted in this epoch, which is forgotten."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch -> scalar loss."""
        epoch, seed = self.current_epoch, self.recipe.train.seed
        images, labels = batch["image"].float() / self.scale, batch["label"]
        with torch.autocast(images.device.type, enabled=False):
            images, labels = self.prepared(images, labels, epoch, batch_idx)
        dropout = batch_generator(seed, epoch, _DROPOUT + batch_idx)
        torch.manual_seed(dropout.initial_seed())
        loss = loss_of(self.network, self.loss, images, labels)
        self.losses.append(loss.detach())
        if self.device.type == "cpu" or batch_idx % _CHECK_EVERY == 0:
            self.require_finite(batch_idx)
        return loss

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] ``(N, C, H, W)`` -> what the network takes."""
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

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
        """Forget the losses of the last epoch; from ``train.freeze_norm_after`` on, train in eval mode."""
        self.losses = []
        frozen = self.recipe.train.freeze_norm_after
        if frozen is not None and self.current_epoch >= frozen:
            self.network.eval()

    def on_validation_epoch_start(self) -> None:
        """Forget the losses of the last epoch."""
        self.val_losses, self.val_cases = [], 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and what the scores need."""
        logits = self.network(self.normalised(batch["image"].float() / self.val_scale))
        self.val_losses.append(self.loss(logits, batch["label"]) * len(logits))
        self.val_cases += len(logits)
        self.note(logits, batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole split."""
        self.scores = self.noted()

    def train_loss(self) -> float:
        """Mean loss of the batches of this epoch."""
        return float(torch.stack(self.losses).mean())

    def val_loss(self) -> float:
        """Mean loss of the validation cases."""
        return float(torch.stack(self.val_losses).sum()) / self.val_cases

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe; the learning rate is set step by step."""
        return make_optimizer(self.recipe.optimizer, self.network)


class SegmentationTraining(Training):
    """Training of a segmentation network: logits ``(N, K, H, W)``, labels ``(N, H, W)``."""

    columns = SCORES["segmentation"]
    shown = SHOWN["segmentation"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counts: list[Tensor] = []

    def prepared(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Augment image and mask."""
        images, labels = self.augment(images, labels, epoch=epoch, step=step)
        return self.normalised(images), labels

    def note(self, logits: Tensor, labels: Tensor) -> None:
        """Count pixels by true and predicted class."""
        self.counts.append(confusion(logits.argmax(dim=1), labels, logits.shape[1]))

    def noted(self) -> dict[str, float]:
        """Overlap of the whole split."""
        counts, self.counts = torch.cat(self.counts), []
        return dict(vars(scores(counts)))


class ClassificationTraining(Training):
    """Training of a classifier: logits ``(N, K)``, labels ``(N,)`` or of a multi-label set ``(N, K)`` of 0 and 1."""

    columns = SCORES["classification"]
    shown = SHOWN["classification"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logits: list[tuple[Tensor, Tensor]] = []

    def prepared(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Augment, erase, and mix images with their labels."""
        config = self.recipe.augment
        images = self.normalised(self.augment.images(images, epoch=epoch, step=step))
        if not (config.erase.p or config.mix.p):
            return images, labels
        shares = labels.float() if labels.ndim == 2 else F.one_hot(labels, self.network.num_classes).float()
        random = np.random.default_rng([self.recipe.train.seed, epoch, _MIXING + step])
        return mix(erase(images, config.erase, random), shares, config.mix, random)

    def note(self, logits: Tensor, labels: Tensor) -> None:
        """Keep the logits."""
        self.logits.append((logits.float(), labels))

    def noted(self) -> dict[str, float]:
        """Scores of the whole split."""
        logits, labels = (torch.cat(tensors) for tensors in zip(*self.logits, strict=True))
        self.logits = []
        return dict(vars(class_scores(logits, labels)))
