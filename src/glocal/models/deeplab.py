"""DeepLabv3+ (Chen et al., arXiv 1802.02611) on MobileNetV2, in the two lineages of public code."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.network import FeatureInfo, PretrainedPart, SegmentationNetwork
from glocal.models.registry import Paper, register
from glocal.models.ushaped import comparison_record, fresh_head
from glocal.nn import AtrousPyramid, ConvNorm, MobileNetV2Encoder

__all__ = ["DeepLabV3Plus"]

_PAPER = Paper(
    title="Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
    year=2018,
    url="https://arxiv.org/abs/1802.02611",
)
_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
"""Output stride -> dilations of the pyramid."""
_LOW, _REDUCED, _HIGH, _WIDTH = 24, 48, 320, 256


@register(
    comparison_record(
        "deeplabv3plus_mobilenet",
        "deeplabv3plus",
        "DeepLabv3+ on MobileNetV2, shortened, as the LM-Net paper's comparison measures it",
        (5_220_834, 7_045_260_288),
        {4: 24, 8: 320},
        _PAPER,
    ),
    comparison_record(
        "deeplabv3plus_mobilenet_jfz",
        "deeplabv3plus",
        "DeepLabv3+ on MobileNetV2 as jfzhang95/pytorch-deeplab-xception has it",
        (5_811_170, 6_456_099_840),
        {4: 24, 8: 32, 16: 320},
        _PAPER,
        {"decoder_convs": 2, "output_stride": 16},
    ),
    comparison_record(
        "deeplabv3plus_mobilenet_vainf",
        "deeplabv3plus",
        "DeepLabv3+ on MobileNetV2 as VainF/DeepLabV3Plus-Pytorch has it",
        (5_220_834, 7_148_148_864),
        {4: 24, 8: 320},
        _PAPER,
        {"lineage": "vainf"},
    ),
)
class DeepLabV3Plus(SegmentationNetwork):
    """DeepLabv3+ on MobileNetV2: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Images are padded to multiples of 4; the published code does not pad, which is the same where nothing is to be
    padded. Training takes batches of two images at least (a batch norm of pooled maps).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        lineage: ``"jfzhang95"`` or ``"vainf"``, whose first convolution has no padding, which dilates one block
            earlier, aligns no corners, and concatenates in the other order.
        output_stride: 8 or 16, of the coarsest map; what is no stride becomes dilation.
        decoder_convs: Convolutions of the decoder before the last; 2 for ``"jfzhang95"`` alone.

    Raises:
        ValueError: An option that is not one of these.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        lineage: Literal["jfzhang95", "vainf"] = "jfzhang95",
        output_stride: int = 8,
        decoder_convs: int = 1,
    ) -> None:
        super().__init__()
        if lineage not in ("jfzhang95", "vainf"):
            raise ValueError(f"lineage is {lineage!r}; use jfzhang95 or vainf")
        if output_stride not in _RATES:
            raise ValueError(f"output_stride is {output_stride!r}; use 8 or 16")
        if decoder_convs not in ((1, 2) if lineage == "jfzhang95" else (1,)):
            raise ValueError(f"decoder_convs is {decoder_convs!r}; use 1, or with lineage jfzhang95 2")
        vainf = lineage == "vainf"
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 4
        self.lineage = lineage
        self.pretrained_parts = {"mobilenet_v2": PretrainedPart("encoder.", "backbone.")}
        self.backbone = MobileNetV2Encoder(
            in_channels,
            output_stride,
            dilate_early=vainf,
            pad_before_expansion=True,
            stem_padding=0 if vainf else 1,
        )
        self.backbone.published_places = 1 if vainf else 2  # once whole, once in halves
        self.levels = (1, 4) if output_stride == 8 else (1, 2, 4)
        channels = (16, _LOW, 32, 96, _HIGH)
        self.feature_info = tuple(FeatureInfo(channels[level], 4 * 2**i) for i, level in enumerate(self.levels))
        self.pyramid = AtrousPyramid(_HIGH, _WIDTH, _RATES[output_stride], dropout=0.1 if vainf else 0.5)
        self.reduce = ConvNorm(nn.Conv2d(_LOW, _REDUCED, 1, bias=False))
        inputs = (_WIDTH + _REDUCED, _WIDTH)[:decoder_convs]
        self.convs = nn.ModuleList(ConvNorm(nn.Conv2d(c, _WIDTH, 3, padding=1, bias=False)) for c in inputs)
        self.dropouts = nn.ModuleList(nn.Dropout(0.0 if vainf else p) for p in (0.5, 0.1)[:decoder_convs])
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        for module in (self.reduce, *self.convs, self.head):
            conv = module.conv if isinstance(module, ConvNorm) else self.head
            nn.init.kaiming_normal_(conv.weight)

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at stride 4 and the output stride, and between."""
        maps = self.backbone(x)
        return [maps[level] for level in self.levels]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        low = F.relu(self.reduce(features[0]))
        high = self._resized(self.pyramid(features[-1]), *low.shape[-2:])
        x = torch.cat([low, high] if self.lineage == "vainf" else [high, low], 1)
        for conv, dropout in zip(self.convs, self.dropouts, strict=True):
            x = dropout(F.relu(conv(x)))
        height, width = low.shape[-2:]
        return self._resized(self.head(x), 4 * height, 4 * width)

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes

    def _resized(self, x: Tensor, height: int, width: int) -> Tensor:
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=self.lineage == "jfzhang95")
