"""Where a network runs, and what to do when its memory is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from glocal.errors import UserError

__all__ = ["choose_device", "flushing_denormals", "naming_memory"]


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``"auto"`` is a GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise UserError(f"device {name!r} is not there ({torch.cuda.device_count()} CUDA GPUs); use auto or cpu")
    return device


@contextlib.contextmanager
def flushing_denormals() -> Iterator[None]:
    """Count numbers too small for their format as 0 meanwhile: on a CPU they slow a network down and change nothing."""
    tiny = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    before = float(tiny / 2) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextlib.contextmanager
def naming_memory(device: torch.device) -> Iterator[None]:
    """Turn running out of memory into one line.

    Raises:
        UserError: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"not enough memory on {device}; use --batch_size 1, --tiling never, or --device cpu where there is more"
        ) from error
