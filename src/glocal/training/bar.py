"""A progress bar on stderr: epoch, batches, loss, and the score of the last validation."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glocal.training.module import Training

__all__ = ["Bar"]

_INTERVAL = 0.2
"""Seconds between two looks at the loss, each of which waits for a GPU."""


class Bar(Callback):
    """One bar for the whole training; lines printed with :meth:`say` stay above it.

    Args:
        done: Epochs before this process.
    """

    def __init__(self, done: int) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.progress = Progress(
            *columns, TextColumn("{task.fields[scores]}"), console=Console(stderr=True), transient=True
        )
        self.done = done
        self.looked = 0.0

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        assert isinstance(pl_module, Training)
        steps, epochs = pl_module.steps, pl_module.recipe.train.epochs
        self.task = self.progress.add_task("", total=steps * epochs, completed=steps * self.done, scores="")
        self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance, and now and then show the loss."""
        assert isinstance(pl_module, Training)
        epoch, epochs = trainer.current_epoch, pl_module.recipe.train.epochs
        self.progress.update(self.task, advance=1, description=f"epoch {epoch + 1}/{epochs}")
        if time.monotonic() - self.looked > _INTERVAL:
            self.looked = time.monotonic()
            loss, last = float(torch.stack(pl_module.losses[-20:]).mean()), pl_module.scores
            words, name = next(iter(pl_module.shown.items()))
            score = "" if last is None else f"  val {words} {last[name]:.4f}"
            self.progress.update(self.task, scores=f"loss {loss:.4f}{score}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the bar."""
        self.progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the bar."""
        self.progress.stop()
