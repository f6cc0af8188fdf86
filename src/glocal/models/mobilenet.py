"""MobileNetV2 (Sandler et al., arXiv 1801.04381) as a classifier, and so as a backbone with ImageNet weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import ConvNorm, MobileNetV2Encoder

__all__ = ["MobileNetV2"]

_CHANNELS = (16, 24, 32, 96, 320)
_LAST = 1280


@register(
    ModelInfo(
        name="mobilenet_v2",
        family="mobilenet_v2",
        task="classification",
        summary="MobileNetV2",
        input_size=(224, 224),
        in_channels=3,
        num_classes=1000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=3_504_872,
        multiply_adds=300_774_272,
        feature_channels=_CHANNELS,
        feature_strides=(2, 4, 8, 16, 32),
        paper=Paper(
            title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            year=2018,
            url="https://arxiv.org/abs/1801.04381",
        ),
    )
)
class MobileNetV2(Network):
    """MobileNetV2 at width 1: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes.
        dropout: Before the last layer, in training.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 1
        self.feature_info = tuple(FeatureInfo(c, 2 * 2**i) for i, c in enumerate(_CHANNELS))
        self.encoder = MobileNetV2Encoder(in_channels)
        self.last = ConvNorm(nn.Conv2d(_CHANNELS[-1], _LAST, 1, bias=False))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(_LAST, num_classes)
        nn.init.kaiming_normal_(self.last.conv.weight, mode="fan_out")

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 2, 4, 8, 16, 32."""
        maps: list[Tensor] = self.encoder(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """The last convolution, the mean of its map, and the head: ``(N, num_classes)``."""
        x = F.relu6(self.last(features[-1]))
        logits: Tensor = self.head(self.dropout(x.mean((2, 3))))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.head = nn.Linear(_LAST, num_classes).to(self.head.weight)
        self.num_classes = num_classes
