"""What surrounds a pass through a network: arithmetic that is fast, and memory errors that are clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from glocal.devices import out_of_memory
from glocal.errors import UserError

__all__ = ["flushing_denormals", "naming_memory"]


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
        if not out_of_memory(error):
            raise
        raise UserError(
            f"not enough memory on {device}; use --batch_size 1, --tiling never, or --device cpu where there is more"
        ) from error
