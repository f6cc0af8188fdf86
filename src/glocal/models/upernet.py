"""UPerNet on any backbone (Xiao et al., Unified Perceptual Parsing for Scene Understanding, arXiv 1807.10221)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor

from glocal.models.dense import BackboneNetwork
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import FCNHead, UPerNetHead

__all__ = ["UPerNet"]

_PAPER = Paper(
    title="Unified Perceptual Parsing for Scene Understanding", year=2018, url="https://arxiv.org/abs/1807.10221"
)


@register(
    ModelInfo(
        name="upernet",
        family="upernet",
        task="segmentation",
        summary="UPerNet on any backbone; default: PVT-Tiny with Stepwise Patch Merging",
        input_size=(512, 512),
        in_channels=3,
        num_classes=150,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=44_002_796,
        multiply_adds=223_768_477_696,
        feature_channels=(64, 128, 320, 512),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
    ),
    ModelInfo(
        name="upernet_nano",
        family="upernet",
        task="segmentation",
        summary="UPerNet on PVT-Nano with Stepwise Patch Merging, for small machines and demonstrations",
        input_size=(256, 256),
        in_channels=3,
        num_classes=2,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=3_953_860,
        multiply_adds=1_249_828_864,
        feature_channels=(32, 64, 160, 256),
        feature_strides=(4, 8, 16, 32),
        paper=_PAPER,
        arguments=MappingProxyType({"backbone": "pvt_nano_spm", "channels": 48, "auxiliary_channels": 32}),
    ),
)
class UPerNet(BackboneNetwork):
    """Pyramid pooling and a feature pyramid on a backbone: ``(N, in_channels, H, W)`` -> ``(N, num_classes, H, W)``.

    In training a fully convolutional head on the second coarsest map gives logits of its own, whose loss counts
    ``auxiliary_weight`` (:meth:`training_outputs`); it has no part in prediction and is dropped by ``deploy``.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: Any registered network whose maps have strides that double, at whatever stride they begin.
        backbone_args: Options of the backbone, such as ``{"drop_path": 0.3}``.
        channels: Width of the head.
        pool_scales: Sides of the grids of the pyramid pooling.
        auxiliary_weight: Of the auxiliary head's loss; 0: no auxiliary head.
        auxiliary_channels: Width of the auxiliary head.
        dropout: Of whole channels before the last layer of both heads, in training.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such maps; or ``auxiliary_weight`` is
            negative.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 150,
        *,
        backbone: str = "pvt_tiny_spm",
        backbone_args: Mapping[str, Any] | None = None,
        channels: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        auxiliary_weight: float = 0.4,
        auxiliary_channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels, num_classes, backbone, backbone_args)
        if auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight is {auxiliary_weight}; it must be at least 0")
        widths = [info.channels for info in self.feature_info]
        self.head = UPerNetHead(widths, num_classes, channels=channels, pool_scales=pool_scales, dropout=dropout)
        self.auxiliary_weight = auxiliary_weight
        self.auxiliary: FCNHead | None = None
        if auxiliary_weight:
            self.auxiliary = FCNHead(widths[-2], num_classes, channels=auxiliary_channels, dropout=dropout)

    def merge(self) -> None:
        """Drop the auxiliary head, which only training needs."""
        self.auxiliary = None

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits of the size of the finest."""
        logits: Tensor = self.head(features)
        return logits

    def training_outputs(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """``(N, in_channels, H, W)`` -> the logits of both heads, ``(N, num_classes, H, W)``, with their weights."""
        features = self.encode(self.to_grid(x))
        outputs = [(self.decode(features), 1.0)]
        if self.auxiliary is not None:
            outputs.append((self.enlarged(self.auxiliary(features[-2]), features), self.auxiliary_weight))
        height, width = x.shape[-2:]
        return [(logits[..., :height, :width], weight) for logits, weight in outputs]

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layers by freshly initialised ones with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head.classifier.reset(num_classes)
        if self.auxiliary is not None:
            self.auxiliary.classifier.reset(num_classes)
        self.num_classes = num_classes
