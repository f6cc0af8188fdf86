"""Running Lightning's loop: quiet where it has nothing to say, and clear where something goes wrong."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging

from glocal.devices import out_of_memory
from glocal.errors import UserError
from glocal.training.bar import Bar
from glocal.training.build import Loader
from glocal.training.keeper import Keeper
from glocal.training.module import Training
from glocal.training.run_folder import Row, RunFolder
from glocal.training.sampling import EpochSampler

__all__ = ["fit", "naming_memory"]

log = logging.getLogger("glocal")

_PRECISION = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@contextlib.contextmanager
def naming_memory(device: torch.device) -> Iterator[None]:
    """Turn running out of memory, and too few values for a batch norm, into one line with the flags that help.

    Raises:
        UserError: One of these happened.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        half = "" if device.type == "cpu" else ", --train.precision bf16"
        raise UserError(
            f"out of memory on {device}; lower --train.batch_size (and raise --train.accumulate by as much to keep "
            f"the effective batch), or --data.size{half}"
        ) from error
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch of one image leaves a batch norm a single value; use --train.drop_last true, another "
            "--train.batch_size, or a larger --data.size"
        ) from error


@contextlib.contextmanager
def _quiet(tf32: bool) -> Iterator[None]:
    """Hide what Lightning and torch say to programmers; set the precision of float32 products for the time being."""
    logger = logging.getLogger("lightning.pytorch")
    level, products = logger.level, torch.get_float32_matmul_precision()
    logger.setLevel(logging.ERROR)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with warnings.catch_warnings():
            for module in (
                r"lightning\..*",
                r"torch\.utils\.data\..*",
                r"torch\.optim\..*",
                r"kornia\..*",
                r"monai\..*",
            ):
                warnings.filterwarnings("ignore", module=module)
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        logger.setLevel(level)
        torch.set_float32_matmul_precision(products)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns SIGINT and SIGTERM into an exit, and leaves SIGINT ignored; make them an interrupt again."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


def fit(
    module: Training,
    training: Loader,
    validation: Loader,
    run: RunFolder,
    device: torch.device,
    checkpoint: Path | None,
    done: int,
) -> list[Row]:
    """Train to the last epoch of the recipe.

    Args:
        module: What is trained; its weights are afterwards those of the last epoch.
        training: Batches in the order of an :class:`~glocal.training.sampling.EpochSampler`.
        validation: In order.
        run: Where checkpoints and metrics go.
        device: Where to compute.
        checkpoint: To go on from.
        done: Epochs before the checkpoint.

    Returns:
        One row an epoch, those before the checkpoint included.

    Raises:
        UserError: Out of memory, disk full, a loss that is not finite.
        KeyboardInterrupt: On SIGINT; the run can be resumed.
    """
    config = module.recipe.train
    assert isinstance(training.sampler, EpochSampler)
    training.sampler.set_epoch(done)  # Lightning takes the first batch before it says which epoch it is
    bar = Bar(done) if sys.stderr.isatty() else None
    say = log.info if bar is None else bar.say
    keeper = Keeper(run, config.select_by, config.early_stopping, say, config.max_time)
    callbacks: list[Callback] = [keeper]
    if config.ema is not None:
        callbacks.append(EMAWeightAveraging(decay=config.ema))
    if bar is not None:
        callbacks.append(bar)
    on_gpu = device.type != "cpu"
    with naming_memory(device), _quiet(config.precision == "tf32" and on_gpu), _interruptible():
        trainer = Trainer(
            max_epochs=config.epochs,
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=_PRECISION[config.precision],  # type: ignore[arg-type]  # a Literal there
            gradient_clip_val=config.gradient_clip,
            accumulate_grad_batches=config.accumulate,
            benchmark=device.type == "cuda",
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=run.path,
        )
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)
    return keeper.history
