"""Attention between channels by how (un)like they are (DANet, arXiv 1809.02983; HiPerformer, arXiv 2509.20280)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["ChannelAffinity"]


class ChannelAffinity(nn.Module):
    """Each channel plus a mixture of all channels, weighted by the products of their maps (HiPerformer's ACI).

    With X the map as C rows of N = H·W values: E = X Xᵀ, A = softmax(−E) over the last axis, result γ·A X + X.
    The published code favours the *least* similar channels (it takes the softmax of rowmax(E) − E, which is that of −E)
    and learns γ from 0 on; equation 8 of HiPerformer's paper takes the softmax of E itself, without a gain.

    E is a plain sum over N values and grows with the size of the map, so it is kept in float32 also under autocast:
    the largest float16 is 65504, and the softmax is nearly one-hot.

    Args:
        similarity: ``"inverted"``, as published, or ``"direct"``, as in equation 8.
        gain: Whether γ is learnt, from 0 on; without it γ = 1.

    Raises:
        ValueError: ``similarity`` is neither of the two.

    Example:
        >>> import torch
        >>> from glocal.nn import ChannelAffinity
        >>> affinity = ChannelAffinity()
        >>> affinity(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, similarity: Literal["inverted", "direct"] = "inverted", *, gain: bool = True) -> None:
        super().__init__()
        if similarity not in ("inverted", "direct"):
            raise ValueError(f"similarity is {similarity!r}; use inverted or direct")
        self.similarity = similarity
        self.gamma = nn.Parameter(torch.zeros(1)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        rows = x.flatten(2)
        energy = _full_precision_products(rows)
        weights = torch.softmax(energy if self.similarity == "direct" else -energy, -1)
        mixed = torch.matmul(weights.to(x.dtype), rows).view_as(x)
        return mixed + x if self.gamma is None else self.gamma * mixed + x


def _full_precision_products(rows: Tensor) -> Tensor:
    """``(N, C, P)`` -> ``(N, C, C)`` products of rows, in at least float32 whatever autocast says."""
    device = rows.device.type
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if device == "meta" or not torch.is_autocast_enabled(device):  # exported graphs stay free of a context
        return rows @ rows.transpose(1, 2)
    with torch.autocast(device, enabled=False):
        return rows @ rows.transpose(1, 2)
