"""The last layer of a head that classifies pixels."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["PixelClassifier"]


class PixelClassifier(nn.Module):
    """Dropout of whole channels, then a 1×1 convolution to classes, weights from N(0, 0.01²).

    Args:
        channels: Channels of the input.
        num_classes: Channels of the logits.
        dropout: Probability that a channel of an image is dropped, in training.
    """

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv = _convolution(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, H, W)`` -> logits ``(N, num_classes, H, W)``."""
        logits: Tensor = self.conv(self.dropout(x))
        return logits

    def reset(self, num_classes: int) -> None:
        """Replace the convolution by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.conv = _convolution(self.conv.in_channels, num_classes).to(self.conv.weight)


def _convolution(channels: int, num_classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
