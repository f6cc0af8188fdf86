"""Convolution with standardised filters (Qiao et al., arXiv 1903.10520)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import require_eval

__all__ = ["WeightStandardizedConv2d"]


class WeightStandardizedConv2d(nn.Conv2d):
    """2-D convolution each of whose filters is shifted and scaled to mean 0 and variance 1 before it is used.

    ``(w − mean) / sqrt(var + eps)``, mean and biased variance over the inputs and taps of a filter. :meth:`merge` does
    it once and for all.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel.
        stride: Of the convolution.
        padding: Zeros on each side.
        bias: Whether there is one.
        eps: Added to the variance.

    Example:
        >>> import torch
        >>> from glocal.nn import WeightStandardizedConv2d
        >>> conv = WeightStandardizedConv2d(12, 24, 3, padding=1)
        >>> conv(torch.rand(2, 12, 5, 7)).shape
        torch.Size([2, 24, 5, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.eps = eps
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H', W')``, sizes as a convolution's."""
        weight = self.weight if self.merged else self.standardized()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    def standardized(self) -> Tensor:
        """The filters that are used, ``(out, in, k, k)``."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        return (self.weight - mean) * torch.rsqrt(variance + self.eps)

    @torch.no_grad()
    def merge(self) -> None:
        """Standardise the filters in place; a second call changes nothing.

        Raises:
            ValueError: The module is in training mode.
        """
        if self.merged:
            return
        require_eval(self)
        self.weight = nn.Parameter(self.standardized())
        self.merged = True
