"""Where a network runs, and how running out of its memory is told from other errors."""

from __future__ import annotations

import torch

from glocal.errors import UserError

__all__ = ["choose_device", "out_of_memory"]


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


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or on a CPU."""
    told = ("can't allocate memory", "not enough memory", "allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in told)
