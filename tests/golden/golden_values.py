"""The deterministic weights and inputs of golden cases: a function of the tensor's published name and shape alone.

The stream is splitmix64, seeded by the CRC-32 of the name; the upper 53 bits of each number become a value in [-1, 1).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def unit(name: str, shape: Sequence[int]) -> NDArray[np.float64]:
    """Values in [-1, 1)."""
    start = np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
    with np.errstate(over="ignore"):
        z = (np.arange(math.prod(shape), dtype=np.uint64) + start) * GOLDEN_RATIO
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)) / 2.0**52 - 1.0).reshape(tuple(shape))


def weight(name: str, shape: Sequence[int]) -> NDArray[np.float32] | None:
    """The value of a published tensor; None: it keeps what the module gave it."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return None
    u = unit(name, shape)
    if last == "running_var":
        u = 1.25 + 0.25 * u
    elif last == "running_mean" or (len(shape) <= 1 and not (len(shape) == 1 and last == "weight")):
        u = 0.1 * u
    elif len(shape) == 1:
        u = 1.0 + 0.1 * u
    else:
        u = math.sqrt(3.0 / max(1, math.prod(shape[1:]))) * u
    return np.asarray(u, dtype=np.float32)


def image(case: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The input of a case, in [-1, 1)."""
    return unit(f"input:{case}", shape).astype(np.float32)
