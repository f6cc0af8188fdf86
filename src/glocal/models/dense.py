"""What networks for dense prediction on a backbone share: any registered network that gives a feature pyramid."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from glocal.models import registry
from glocal.models.network import Features, PretrainedPart, SegmentationNetwork

__all__ = ["BackboneNetwork", "make_backbone"]


def make_backbone(
    name: str,
    arguments: Mapping[str, Any] | None,
    in_channels: int,
    *,
    min_stride: int = 1,
) -> Features:
    """A registered network reduced to the maps of a feature pyramid whose strides double.

    Args:
        name: A registered name.
        arguments: Options of that network, beside ``in_channels`` and ``num_classes``.
        in_channels: Channels of the image.
        min_stride: Finer maps are left out.

    Raises:
        UserError: No network has this name, or it has not these options.
        ValueError: Its maps are no such pyramid, or ``arguments`` gives what is given by the network around it.
    """
    if not isinstance(arguments, Mapping | None):
        raise ValueError(f"backbone_args is {arguments!r}; give options by name, such as {{'drop_path': 0.1}}")
    options = dict(arguments or {})
    for given in ("in_channels", "num_classes"):
        if given in options:
            raise ValueError(f"backbone_args gives {given}; give it to the network around the backbone")
    network = registry.build(name, {**options, "in_channels": in_channels})
    strides = [info.stride for info in network.feature_info]
    if len(strides) < 2 or any(after != 2 * before for before, after in itertools.pairwise(strides)):
        raise ValueError(
            f"the maps of backbone {name} have strides {', '.join(map(str, strides))}; a pyramid needs at least two, "
            "each twice the one before"
        )
    levels = [level for level, stride in enumerate(strides) if stride >= min_stride]
    if not levels:
        raise ValueError(f"backbone {name} has no map of stride {min_stride} or more; its coarsest has {strides[-1]}")
    return Features(network, levels)


class BackboneNetwork(SegmentationNetwork):
    """A backbone and a head on its maps: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``.

    The logits have the size of the finest map and are enlarged to the image (bilinear, corners not aligned). Images
    are padded, as the backbone pads, until the strides of all maps divide their sides.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: A registered network whose maps have strides that double.
        backbone_args: Options of the backbone.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such pyramid.
    """

    def __init__(
        self, in_channels: int, num_classes: int, backbone: str, backbone_args: Mapping[str, Any] | None
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.backbone = make_backbone(backbone, backbone_args, in_channels)
        self.pretrained_parts = {registry.model_info(backbone).family: PretrainedPart("", "backbone.network.")}
        self.feature_info = self.backbone.feature_info
        self.padding = self.backbone.network.padding
        self.grid = math.lcm(self.backbone.network.grid, self.feature_info[-1].stride)

    @abstractmethod
    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits of the size of the finest."""

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the backbone, finest first."""
        maps: list[Tensor] = self.backbone(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of the backbone -> logits ``(N, num_classes, H, W)`` of the padded image."""
        return self.enlarged(self.classify(features), features)

    def enlarged(self, logits: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Logits of any size, at the size of the padded image."""
        height, width = (side * self.feature_info[0].stride for side in features[0].shape[-2:])
        if logits.shape[-2:] == (height, width):
            return logits
        return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
