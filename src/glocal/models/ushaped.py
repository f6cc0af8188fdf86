"""What the U-shaped comparison networks share: an encoder that halves, and a 1×1 convolution at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import ModelInfo, Paper
from glocal.nn import DoubleConv

__all__ = ["UShapedNetwork", "comparison_record", "double_conv_encoder", "fresh_head"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def comparison_record(
    name: str,
    family: str,
    summary: str,
    counts: tuple[int, int],
    features: Mapping[int, int],
    paper: Paper,
    arguments: Mapping[str, Any] = _NOTHING,
) -> ModelInfo:
    """The record of a comparison network as the LM-Net paper measures it: two classes, 3×256×256.

    All have one normalisation, that of ImageNet, so that they are compared on equal images.

    Args:
        name: Name of the variant.
        family: Name of the network.
        summary: One sentence.
        counts: Parameters and multiply-adds.
        features: Stride of each map of ``encode`` -> its channels.
        paper: Where it was published.
        arguments: What makes the variant.
    """
    return ModelInfo(
        name=name,
        family=family,
        task="segmentation",
        summary=summary,
        input_size=(256, 256),
        in_channels=3,
        num_classes=2,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        parameters=counts[0],
        multiply_adds=counts[1],
        feature_channels=tuple(features.values()),
        feature_strides=tuple(features),
        paper=paper,
        arguments=MappingProxyType(dict(arguments)),
    )


class UShapedNetwork(SegmentationNetwork):
    """Maps at strides 1, 2, 4 … on the way down, skips on the way up, and a 1×1 convolution at full size.

    A subclass defines ``decoder``, steps that take a map and the skip of twice its size, and ``head``; or what it has
    in their place.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of the maps on the way down.

    Raises:
        ValueError: A width is no whole number of at least 1.
    """

    encoder: nn.ModuleList
    decoder: nn.ModuleList
    head: nn.Conv2d

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        if not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ValueError(f"the widths are {', '.join(map(str, widths))}; give whole numbers of at least 1")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 2 ** (len(widths) - 1)
        self.feature_info = tuple(FeatureInfo(width, 2**i) for i, width in enumerate(widths))

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 1, 2, 4 …, halved by max-pooling."""
        maps: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            maps.append(stage(F.max_pool2d(maps[-1], 2) if level else x))
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        *skips, x = features
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        logits: Tensor = self.head(x)
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes


def double_conv_encoder(in_channels: int, widths: Sequence[int], *, bias: bool = False) -> nn.ModuleList:
    """The way down of a U-Net: two convolutions a level."""
    inputs = (in_channels, *widths[:-1])
    return nn.ModuleList(DoubleConv(a, b, bias=bias) for a, b in zip(inputs, widths, strict=True))


def fresh_head(head: nn.Conv2d, num_classes: int) -> nn.Conv2d:
    """A 1×1 convolution like ``head``, freshly initialised, with ``num_classes`` outputs.

    Raises:
        ValueError: ``num_classes`` is below 1.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
    return nn.Conv2d(head.in_channels, num_classes, 1).to(head.weight)
