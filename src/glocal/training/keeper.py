"""What is kept of every epoch: metrics, checkpoints, TensorBoard, and a line for the reader."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch.utils.tensorboard import SummaryWriter

from glocal.files import atomic, writing
from glocal.training.module import Training
from glocal.training.run_folder import Row, RunFolder, best_row

__all__ = ["Keeper", "stops_early", "time_is_up"]


def stops_early(history: list[Row], select_by: str, patience: int | None) -> bool:
    """Whether the last ``patience`` epochs brought nothing better than the best before them."""
    best = best_row(history, select_by)
    return patience is not None and best is not None and history[-1]["epoch"] - best["epoch"] >= patience


def time_is_up(history: list[Row], max_time: float | None) -> bool:
    """Whether the epochs took ``max_time`` seconds or more, in this process and those before it."""
    return max_time is not None and sum(row["seconds"] for row in history) >= max_time


class Keeper(Checkpoint):
    """Writes checkpoints and metrics at the end of every epoch, each file whole or not at all.

    The order (best, last, metrics) makes a run that is killed at any moment resumable: what comes after ``last.ckpt``
    is made again from it.

    Args:
        run: Where to write.
        select_by: Column the best epoch is chosen by.
        patience: Epochs without a better value before training stops.
        say: Called with one line an epoch.
        max_time: Seconds after which training stops, at the end of an epoch.
    """

    def __init__(
        self,
        run: RunFolder,
        select_by: str,
        patience: int | None,
        say: Callable[[str], None],
        max_time: float | None = None,
    ) -> None:
        self.run = run
        self.select_by = select_by
        self.patience = patience
        self.say = say
        self.max_time = max_time
        self.history: list[Row] = []
        self.writer: SummaryWriter | None = None
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, for the checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The epochs before a run was interrupted."""
        self.history = list(state_dict["history"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring ``metrics.csv`` to where the checkpoint is, and open the TensorBoard log."""
        assert isinstance(pl_module, Training)
        self.run.write_metrics(self.history, pl_module.columns)
        with writing(self.run.path / "logs"):
            self.writer = SummaryWriter(str(self.run.path / "logs"), purge_step=len(self.history) + 1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what the epoch has brought."""
        assert isinstance(pl_module, Training)
        assert pl_module.scores is not None
        pl_module.require_finite(len(pl_module.losses) - 1)
        row = {
            "epoch": float(trainer.current_epoch + 1),
            "learning_rate": pl_module.rate,
            "train_loss": pl_module.train_loss(),
            "val_loss": pl_module.val_loss(),
            **pl_module.scores,
            "seconds": time.perf_counter() - self.started,
        }
        self.history.append(row)
        best = best_row(self.history, self.select_by)
        assert best is not None
        if best is row:
            self._save(trainer, self.run.best)
        self._save(trainer, self.run.last)
        self.run.write_metrics(self.history, pl_module.columns)
        self._log(row)
        shown = "".join(f"val {words} {row[name]:.4f}  " for words, name in pl_module.shown.items())
        self.say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  {shown}"
            f"best {self.select_by} {best[self.select_by]:.4f} (epoch {best['epoch']:.0f})  {row['seconds']:.1f} s"
        )
        if stops_early(self.history, self.select_by, self.patience):
            trainer.should_stop = True
        if time_is_up(self.history, self.max_time):
            self.say(f"the time of the training is spent (train.max_time {self.max_time:g} s)")
            trainer.should_stop = True

    def _save(self, trainer: Trainer, path: Path) -> None:
        with atomic(path) as temporary:
            trainer.save_checkpoint(temporary, weights_only=False)

    def _log(self, row: Row) -> None:
        assert self.writer is not None
        with writing(self.run.path / "logs"):
            for name, value in row.items():
                if name != "epoch":
                    self.writer.add_scalar(name, value, int(row["epoch"]))
            self.writer.flush()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the TensorBoard log."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the TensorBoard log."""
        self._close()

    def _close(self) -> None:
        if self.writer is not None:
            with contextlib.suppress(OSError):  # on a full disk; what matters is kept elsewhere
                self.writer.close()
            self.writer = None
