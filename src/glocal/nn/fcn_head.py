"""A fully convolutional head on one map, as auxiliary heads are."""

from __future__ import annotations

from torch import Tensor, nn

from glocal.nn.conv_norm_relu import ConvNormReLU
from glocal.nn.pixel_classifier import PixelClassifier

__all__ = ["FCNHead"]


class FCNHead(nn.Module):
    """3×3 convolution, batch norm, ReLU, dropout of channels, 1×1 convolution to classes.

    In training it tells a map inside a network what it should know (auxiliary loss, weight 0.4 in UPerNet's recipe).

    Args:
        in_channels: Channels of the map.
        num_classes: Channels of the logits.
        channels: Width of the head.
        dropout: Of whole channels, in training.

    Example:
        >>> import torch
        >>> from glocal.nn import FCNHead
        >>> FCNHead(48, num_classes=5, channels=24)(torch.rand(2, 48, 5, 6)).shape
        torch.Size([2, 5, 5, 6])
    """

    def __init__(self, in_channels: int, num_classes: int, *, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, channels)
        self.classifier = PixelClassifier(channels, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``."""
        logits: Tensor = self.classifier(self.conv(x))
        return logits
