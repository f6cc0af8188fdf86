"""What a training will take, told before it begins: measured on two steps of a copy of the network."""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glocal.errors import counted
from glocal.training.module import Batch, Training, loss_of

__all__ = ["Estimate", "available_memory", "estimate_training"]

_BESIDE = 1.6
"""Peak memory of a step over what it saves for the backward pass: gradients and buffers come on top (LM-Net, CPU)."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Estimate:
    """Memory and time of a training; ``str()`` gives one line to print."""

    bytes: int
    """Weights, gradients, optimiser and what the backward pass needs."""
    available: int
    """Free memory of the device before."""
    seconds_per_epoch: float
    epochs: int

    def __str__(self) -> str:
        total = self.seconds_per_epoch * self.epochs
        return (
            f"estimate: {_size(self.bytes)} of memory ({_size(self.available)} free), "
            f"{_duration(self.seconds_per_epoch)} an epoch, {_duration(total)} for {counted(self.epochs, 'epoch')}"
        )


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def available_memory(device: torch.device) -> int:
    """Bytes that are free on a device; for a processor, what the system could hand out."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as lines:
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def estimate_training(
    module: Training, batch: Batch, batch_size: int, val_cases: int, device: torch.device
) -> Estimate:
    """Run two training steps on a copy of the network and scale what they took to the whole training.

    Args:
        module: Not changed.
        batch: Some training cases; on a processor a few do, on a GPU a whole batch should be given.
        batch_size: Cases in a batch.
        val_cases: Validation cases.
        device: Where the training will run.
    """
    network = copy.deepcopy(module.network).to(device).train()
    loss = copy.deepcopy(module.loss).to(device)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    precision, available = module.recipe.train.precision, available_memory(device)
    count = len(batch["label"])

    def step(index: int) -> None:
        images, labels = batch["image"].to(device).float() / module.scale, batch["label"].to(device)
        images, labels = module.prepared(images, labels, 0, index)
        with torch.autocast(device.type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
            value = loss_of(network, loss, images, labels)
        torch.autograd.backward(value)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.random.fork_rng():
        saved = _saved_bytes(network, lambda: step(0))
        started = time.perf_counter()
        step(1)
        seconds = time.perf_counter() - started
    memory = 4 * weights + int(_BESIDE * saved * batch_size / count)
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) + 2 * weights
        del network, loss
        torch.cuda.empty_cache()
    per_image = seconds / count
    epoch = per_image * (batch_size * module.steps + val_cases / 3)
    return Estimate(memory, available, epoch, module.recipe.train.epochs)


def _saved_bytes(network: nn.Module, step: Callable[[], None]) -> int:
    """Bytes that a step keeps for its backward pass, weights not counted."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(seen.values())
