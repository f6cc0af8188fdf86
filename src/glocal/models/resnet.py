"""ResNet-50 (He et al., arXiv 1512.03385) as a classifier, and so as a backbone with ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import ResNetEncoder

__all__ = ["ResNet"]

_PAPER = Paper(title="Deep Residual Learning for Image Recognition", year=2016, url="https://arxiv.org/abs/1512.03385")


def _record(name: str, summary: str, counts: tuple[int, int], width: int, arguments: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        name=name,
        family="resnet",
        task="classification",
        summary=summary,
        input_size=(224, 224),
        in_channels=3,
        num_classes=1000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=counts[0],
        multiply_adds=counts[1],
        feature_channels=tuple(4 * width * 2**i for i in range(4)),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType(dict(arguments)),
    )


@register(
    _record("resnet50", "ResNet-50", (25_557_032, 4_089_184_256), 64, {}),
    _record(
        "resnet_nano",
        "ResNet of four bottlenecks at a quarter of the width, for small machines and demonstrations",
        (1_019_384, 114_311_168),
        16,
        {"width": 16, "depths": (1, 1, 1, 1)},
    ),
)
class ResNet(Network):
    """ResNet of bottlenecks: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes.
        width: Channels of the stem; the last map has 32 times as many.
        depths: Blocks of the four stages.

    Raises:
        ValueError: ``depths`` are not four whole numbers above 0.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        width: int = 64,
        depths: Sequence[int] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        if len(depths) != 4 or not all(isinstance(depth, int) and depth > 0 for depth in depths):
            raise ValueError(f"depths is {list(depths)}; give four whole numbers above 0, one a stage")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 1
        self.encoder = ResNetEncoder(in_channels, width, depths)
        self.feature_info = tuple(FeatureInfo(c, 4 * 2**i) for i, c in enumerate(self.encoder.channels))
        self.head = nn.Linear(self.encoder.channels[-1], num_classes)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the four stages, strides 4, 8, 16, 32."""
        maps: list[Tensor] = self.encoder(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Mean of the last map, and the head: ``(N, num_classes)``."""
        logits: Tensor = self.head(features[-1].mean((2, 3)))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.head = nn.Linear(self.head.in_features, num_classes).to(self.head.weight)
        self.num_classes = num_classes
