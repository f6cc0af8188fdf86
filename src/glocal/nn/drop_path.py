"""Stochastic depth (Huang et al., ECCV 2016): whole branches of single samples left out in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DropPath", "drop_path_rates"]


class DropPath(nn.Module):
    """Sets samples to 0 with probability ``rate`` in training; kept ones are divided by the probability of keeping.

    Args:
        rate: Probability that a sample is dropped; 0: the module does nothing.

    Raises:
        ValueError: ``rate`` is not a probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import DropPath
        >>> x = torch.ones(4, 8, 5, 5)
        >>> (x + DropPath(0.2)(x)).shape
        torch.Size([4, 8, 5, 5])
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the drop-path rate is {rate}; it is a probability, at least 0 and below 1")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``(N, ...)`` -> ``(N, ...)``."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.empty((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * kept.bernoulli_(1 - self.rate).div_(1 - self.rate)

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"


def drop_path_rates(highest: float, depths: list[int] | tuple[int, ...]) -> list[list[float]]:
    """Rates that rise linearly from 0 over all blocks of all stages.

    Args:
        highest: Rate of the last block.
        depths: Blocks in each stage.

    Returns:
        One list of rates a stage.

    Example:
        >>> from glocal.nn import drop_path_rates
        >>> drop_path_rates(0.5, [1, 2, 3])
        [[0.0], [0.1, 0.2], [0.3, 0.4, 0.5]]
    """
    total, count = sum(depths), 0
    rates = []
    for depth in depths:
        rates.append([round(highest * i / max(1, total - 1), 12) for i in range(count, count + depth)])
        count += depth
    return rates
