"""Squeeze-excitation: one gate a channel, from its mean over the map (Hu et al., CVPR 2018)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SqueezeExcitation"]


class SqueezeExcitation(nn.Module):
    """Mean over the map -> C/r -> ReLU -> C -> sigmoid, hard or smooth -> multiply.

    The two layers act on one vector an image, so they are computed as matrix products; their weights keep the shape
    ``(out, in, 1, 1)`` of the 1×1 convolutions that published checkpoints hold.

    Args:
        channels: Channels in and out.
        reduction: How much narrower the middle is (LM-Net: 4 in the published code, 16 in the paper's counts).
        inplace: Overwrite the input where no gradient is recorded.
        bias: Whether the two layers have biases.
        gate: ``"hard_sigmoid"`` (LM-Net) or ``"sigmoid"`` (the paper).

    Raises:
        ValueError: ``reduction`` leaves no channel in the middle, or ``gate`` is neither of the two.

    Example:
        >>> import torch
        >>> from glocal.nn import SqueezeExcitation
        >>> gate = SqueezeExcitation(24, reduction=4)
        >>> gate(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        inplace: bool = False,
        bias: bool = True,
        gate: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid",
    ) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"reduction {reduction} of {channels} channels leaves none; use 1 to {channels}")
        if gate not in ("hard_sigmoid", "sigmoid"):
            raise ValueError(f"gate is {gate!r}; use hard_sigmoid or sigmoid")
        self.inplace = inplace
        self.gate = gate
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=bias)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=bias)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        pooled = x.mean((2, 3))
        hidden = F.relu(F.linear(pooled, self.fc1.weight.flatten(1), self.fc1.bias))
        gate = F.linear(hidden, self.fc2.weight.flatten(1), self.fc2.bias)
        gate = (gate.sigmoid() if self.gate == "sigmoid" else F.hardsigmoid(gate))[:, :, None, None]
        return x.mul_(gate) if self.inplace and not torch.is_grad_enabled() else x * gate

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: the pooling module (H·W + 1 a channel) and the two 1×1 convolutions."""
        batch, channels, height, width = inputs[0].shape
        return batch * channels * (height * width + 1 + 2 * self.fc1.out_channels)
