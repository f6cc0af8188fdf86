"""Doubling by repetition followed by a 3×3 convolution, computed on the small map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["NearestUpsampleConv"]


class NearestUpsampleConv(nn.Module):
    """Twice the size (every pixel repeated), 3×3 convolution, and batch norm and ReLU unless they are not wanted.

    Behind the doubling, the three taps of a row meet only two different pixels. So each of the four places of a
    doubled pixel is a 2×2 convolution of the small map whose taps are sums: 4 products an output in place of 9. On
    maps of fewer pixels than channels, where summing taps costs more than it saves, the map is doubled first.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        norm: Whether batch norm and ReLU follow.

    Example:
        >>> import torch
        >>> from glocal.nn import NearestUpsampleConv
        >>> NearestUpsampleConv(24, 12)(torch.rand(1, 24, 5, 6)).shape
        torch.Size([1, 12, 10, 12])
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.layer = ConvNorm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.activated = norm
        if not norm:
            self.layer.norm = None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, 2H, 2W)``."""
        conv, norm = self.layer.conv, self.layer.norm
        if x.shape[2] * x.shape[3] < x.shape[1]:
            y: Tensor = conv(F.interpolate(x, scale_factor=2))
        else:
            y = _doubled_then_convolved(x, conv.weight, conv.bias)
        if norm is not None:
            y = norm(y)
        return F.relu(y, inplace=True) if self.activated else y

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: 1 a doubled element, the convolution, and 4 an element of the norm."""
        return output.numel() * (9 * inputs[0].shape[1] + (4 if self.activated else 0)) + 4 * inputs[0].numel()


def _doubled_then_convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``(N, I, H, W)``, ``(O, I, 3, 3)`` -> ``(N, O, 2H, 2W)``."""
    height, width = x.shape[-2:]
    kernels = _summed_taps(_summed_taps(weight, 2), 4).permute(2, 4, 0, 1, 3, 5).flatten(0, 2)  # (4·O, I, 2, 2)
    y = F.conv2d(x, kernels, None if bias is None else bias.repeat(4), padding=1).chunk(4, 1)
    places = [y[2 * p + q][..., p : p + height, q : q + width] for p in range(2) for q in range(2)]
    return F.pixel_shuffle(torch.stack(places, 2).flatten(1, 2), 2)


def _summed_taps(weight: Tensor, axis: int) -> Tensor:
    """Three taps along an axis -> (2 places, 2 taps) there: of the pixel before and this one, of this and the next."""
    before, here, after = weight.unbind(axis)
    places = [torch.stack([before, here + after], axis), torch.stack([before + here, after], axis)]
    return torch.stack(places, axis)
