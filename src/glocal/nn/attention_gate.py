"""A gate a pixel on a skip connection, steered by the decoder (after Attention U-Net, arXiv 1804.03999)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["GroupedAttentionGate"]


class GroupedAttentionGate(nn.Module):
    """Decoder and skip, each through a grouped 1×1 convolution, summed; one sigmoid a pixel gates one of the two.

    ``p = σ(norm(conv(relu(norm(conv(decoder))) + relu(norm(conv(skip))))))``, result ``z·p + z`` (EAG of HiPerformer,
    arXiv 2509.20280). The published code gates the skip; equation 15 of the paper gates the decoder's map.

    Args:
        channels: Of decoder and skip, and of the result.
        hidden: Channels between.
        groups: Of the two convolutions. Where it does not divide ``channels`` and ``hidden``, the largest number that
            divides all three is taken, so that narrow networks work.
        gated: ``"skip"`` or ``"decoder"``.

    Raises:
        ValueError: ``gated`` is neither of the two.

    Example:
        >>> import torch
        >>> from glocal.nn import GroupedAttentionGate
        >>> gate = GroupedAttentionGate(64, 32)
        >>> gate(torch.rand(2, 64, 7, 9), torch.rand(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
    """

    def __init__(
        self, channels: int, hidden: int, groups: int = 32, *, gated: Literal["skip", "decoder"] = "skip"
    ) -> None:
        super().__init__()
        if gated not in ("skip", "decoder"):
            raise ValueError(f"gated is {gated!r}; use skip or decoder")
        self.gated = gated
        groups = math.gcd(groups, channels, hidden)
        self.decoder = ConvNorm(nn.Conv2d(channels, hidden, 1, groups=groups))
        self.skip = ConvNorm(nn.Conv2d(channels, hidden, 1, groups=groups))
        self.gate = ConvNorm(nn.Conv2d(hidden, 1, 1))

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Two maps ``(N, C, H, W)`` -> the gated one, ``(N, C, H, W)``."""
        gate = torch.sigmoid(self.gate(F.relu(self.decoder(decoder)) + F.relu(self.skip(skip))))
        z = skip if self.gated == "skip" else decoder
        return z * gate + z
