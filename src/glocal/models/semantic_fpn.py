"""Semantic FPN on any backbone (Kirillov et al., Panoptic Feature Pyramid Networks, arXiv 1901.02446)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from glocal.models.dense import BackboneNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import FeaturePyramid, SemanticFPNHead

__all__ = ["SemanticFPN"]

_PAPER = Paper(title="Panoptic Feature Pyramid Networks", year=2019, url="https://arxiv.org/abs/1901.02446")


@register(
    ModelInfo(
        name="semantic_fpn",
        family="semantic_fpn",
        task="segmentation",
        summary="Semantic FPN on any backbone; default: PVT-Tiny with Stepwise Patch Merging",
        input_size=(512, 512),
        in_channels=3,
        num_classes=150,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=17_781_590,
        multiply_adds=34_596_454_400,
        feature_channels=(64, 128, 320, 512),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
    ),
    ModelInfo(
        name="semantic_fpn_nano",
        family="semantic_fpn",
        task="segmentation",
        summary="Semantic FPN on PVT-Nano with Stepwise Patch Merging, for small machines and demonstrations",
        input_size=(256, 256),
        in_channels=3,
        num_classes=2,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=3_788_898,
        multiply_adds=1_112_375_296,
        feature_channels=(32, 64, 160, 256),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType({"backbone": "pvt_nano_spm", "neck_channels": 64, "channels": 32}),
    ),
)
class SemanticFPN(BackboneNetwork):
    """A feature pyramid on a backbone, its levels summed: ``(N, in_channels, H, W)`` -> ``(N, num_classes, H, W)``.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: Any registered network whose maps have strides that double, at whatever stride they begin.
        backbone_args: Options of the backbone, such as ``{"drop_path": 0.1}``.
        neck_channels: Width of the feature pyramid.
        channels: Width of the head.
        dropout: Of whole channels before the last layer, in training.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such maps.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 150,
        *,
        backbone: str = "pvt_tiny_spm",
        backbone_args: Mapping[str, Any] | None = None,
        neck_channels: int = 256,
        channels: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels, num_classes, backbone, backbone_args)
        widths = [info.channels for info in self.feature_info]
        self.neck = FeaturePyramid(widths, neck_channels)
        self.head = SemanticFPNHead(neck_channels, num_classes, levels=len(widths), channels=channels, dropout=dropout)

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits of the size of the finest."""
        logits: Tensor = self.head(self.neck(features))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head.classifier.reset(num_classes)
        self.num_classes = num_classes
