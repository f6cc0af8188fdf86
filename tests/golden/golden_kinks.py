"""Gradients on the other side of a ReLU's kink.

Where the input of a ReLU is zero but for rounding, a reference computed in float32 may have the other one-sided
derivative there: no better precision of ours can agree. Crossing that one kink must, then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RELUS = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
NEAR = 2e-6
"""Of the root mean square of a ReLU's input: what float32 cannot tell from zero behind a few layers."""


class Kink(NamedTuple):
    distance: float
    """Of the input from zero, over its root mean square."""
    call: int
    """Which ReLU it is, in the order of the calls."""
    at: int
    """Which of its inputs."""


class Kinks(TorchFunctionMode):
    """Notes the inputs of ReLUs next to zero, and takes one on the other side of zero."""

    def __init__(self, crossed: Kink | None = None) -> None:
        super().__init__()
        self.crossed = crossed
        self.found: list[Kink] = []
        self.calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        x: Tensor = args[0].contiguous()
        self.calls += 1
        distance = x.detach().flatten().abs() / x.detach().square().mean().sqrt()
        for value, at in zip(*(t.tolist() for t in distance.topk(min(4, len(distance)), largest=False)), strict=True):
            self.found += [Kink(value, self.calls, at)] if value < NEAR else []
        passed = x.detach() > 0
        if self.crossed is not None and self.crossed.call == self.calls:
            passed.view(-1)[self.crossed.at] ^= True
        return x * passed


def across_kinks(
    gradients: Callable[[], dict[str, float]], most: int = 3
) -> Iterator[tuple[Kink | None, dict[str, float]]]:
    """What ``gradients`` computes, first as it is, then with the nearest kinks crossed, one at a time."""
    with Kinks() as here:
        computed = gradients()
    yield None, computed
    for kink in sorted(here.found)[:most]:
        with Kinks(kink):
            computed = gradients()
        yield kink, computed
