"""FCN (Long et al., arXiv 1411.4038) on a dilated ResNet-50, as torchvision has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, PretrainedPart, SegmentationNetwork
from glocal.models.registry import Paper, register
from glocal.models.ushaped import comparison_record, fresh_head
from glocal.nn import ConvNormReLU, ResNetEncoder

__all__ = ["FCN"]

_PAPER = Paper(
    title="Fully Convolutional Networks for Semantic Segmentation", year=2015, url="https://arxiv.org/abs/1411.4038"
)


@register(
    comparison_record(
        "fcn_resnet50",
        "fcn",
        "FCN on a ResNet-50 of output stride 8",
        (32_947_266, 34_582_036_480),
        {4: 256, 8: 2048},
        _PAPER,
    ),
    comparison_record(
        "fcn_nano",
        "fcn",
        "FCN on a ResNet of four bottlenecks at a quarter of the width, for small machines and demonstrations",
        (1_096_722, 1_174_405_120),
        {4: 64, 8: 512},
        _PAPER,
        {"width": 16, "depths": (1, 1, 1, 1)},
    ),
)
class FCN(SegmentationNetwork):
    """FCN on a ResNet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The last two stages keep the stride 8 and dilate instead; the logits are enlarged eightfold (bilinear). Images are
    padded to multiples of 8. Nothing is downloaded: ImageNet weights come by ``weights=`` (see ``pretrained_parts``).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the ResNet's stem.
        depths: Blocks of its four stages.
        auxiliary_weight: Of the loss of a second head, on the third stage, in training; 0: no second head.
        dropout: Before the last layer of both heads, in training.

    Raises:
        ValueError: ``depths`` are not four whole numbers above 0, or ``auxiliary_weight`` is negative.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        width: int = 64,
        depths: Sequence[int] = (3, 4, 6, 3),
        auxiliary_weight: float = 0.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or not all(isinstance(depth, int) and depth > 0 for depth in depths):
            raise ValueError(f"depths is {list(depths)}; give four whole numbers above 0, one a stage")
        if auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight is {auxiliary_weight}; it must be at least 0")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 8
        self.pretrained_parts = {"resnet": PretrainedPart("encoder.", "backbone.")}
        self.backbone = ResNetEncoder(in_channels, width, depths, output_stride=8)
        first, _, third, last = self.backbone.channels
        self.feature_info = (FeatureInfo(first, 4), FeatureInfo(last, 8))
        self.head = _Head(last, num_classes, dropout)
        self.auxiliary_weight = auxiliary_weight
        self.auxiliary = _Head(third, num_classes, dropout) if auxiliary_weight else None

    def merge(self) -> None:
        """Drop the second head, which only training needs."""
        self.auxiliary = None

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the first and the last stage, strides 4 and 8."""
        maps = self.backbone(x)
        return [maps[0], maps[-1]]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        return _enlarged(self.head(features[-1]))

    def training_outputs(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """``(N, in_channels, H, W)`` -> the logits of the heads, ``(N, num_classes, H, W)``, with their weights."""
        if self.auxiliary is None:
            return [(self(x), 1.0)]
        *_, third, last = self.backbone(self.to_grid(x))
        height, width = x.shape[-2:]
        outputs = [(self.head(last), 1.0), (self.auxiliary(third), self.auxiliary_weight)]
        return [(_enlarged(logits)[..., :height, :width], weight) for logits, weight in outputs]

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layers by freshly initialised ones with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        for head in (self.head, self.auxiliary):
            if head is not None:
                head.classifier = fresh_head(head.classifier, num_classes)
        self.num_classes = num_classes


class _Head(nn.Module):
    """3×3 convolution to a quarter of the channels, batch norm, ReLU, dropout, 1×1 convolution to classes."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = ConvNormReLU(in_channels, in_channels // 4)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(in_channels // 4, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, h, w)`` -> logits ``(N, num_classes, h, w)``."""
        logits: Tensor = self.classifier(self.dropout(self.conv(x)))
        return logits


def _enlarged(logits: Tensor) -> Tensor:
    return F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False)
