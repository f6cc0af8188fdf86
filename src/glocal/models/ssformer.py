"""SSFormer (Wang et al., MICCAI 2022, arXiv 2203.03635): a Mix Transformer and a progressive locality decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.dense import BackboneNetwork
from glocal.models.registry import Paper, register
from glocal.models.ushaped import comparison_record, fresh_head
from glocal.nn import ResizedFusion

__all__ = ["SSFormer"]

_PAPER = Paper(
    title="Stepwise Feature Fusion: Local Guides Global",
    year=2022,
    url="https://arxiv.org/abs/2203.03635",
)
_WIDE, _NARROW = {4: 64, 8: 128, 16: 320, 32: 512}, {4: 32, 8: 64, 16: 160, 32: 256}


@register(
    comparison_record("ssformer_l", "ssformer", "SSFormer-L, on MiT-B4", (65_956_546, 17_048_862_720), _WIDE, _PAPER),
    comparison_record(
        "ssformer_s",
        "ssformer",
        "SSFormer-S, on MiT-B2",
        (29_310_146, 9_603_383_296),
        _WIDE,
        _PAPER,
        {"backbone": "mit_b2"},
    ),
    comparison_record(
        "ssformer_tiny",
        "ssformer",
        "SSFormer on MiT-B0 with a narrower decoder, for small machines and demonstrations",
        (3_786_850, 1_009_057_792),
        _NARROW,
        _PAPER,
        {"backbone": "mit_b0", "channels": 64},
    ),
)
class SSFormer(BackboneNetwork):
    """SSFormer: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Two 3×3 convolutions emphasise what is local in each map; the maps are fused from the coarsest to the finest, all at
    the size of the finest (local emphasis and stepwise aggregation, §2.2). Nothing is padded: where 4 does not divide
    a side, the published network gives logits of the next multiple, which are cropped here.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: Any registered network whose maps have strides 4, 8, 16, 32.
        backbone_args: Options of the backbone, such as ``{"drop_path": 0.0}``.
        channels: Width of the decoder.
        dropout: Before the last layer, in training.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such maps.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        backbone: str = "mit_b4",
        backbone_args: Mapping[str, Any] | None = None,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels, num_classes, backbone, backbone_args)
        require_four_maps(self, backbone)
        self.grid = 1  # the backbone pads, if it must
        self.emphasis = nn.ModuleList(_local_emphasis(info.channels, channels) for info in self.feature_info)
        self.fusions = nn.ModuleList(ResizedFusion([channels, channels], channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(channels, num_classes, 1)

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits of the size of the finest."""
        x, *finer = (emphasise(x) for emphasise, x in zip(reversed(self.emphasis), reversed(features), strict=True))
        height, width = features[0].shape[-2:]
        for fuse, skip in zip(self.fusions, finer, strict=True):
            x = fuse([x, skip], (height, width))
        logits: Tensor = self.head(self.dropout(x))
        return logits

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of the backbone -> logits, enlarged fourfold (bilinear, corners aligned)."""
        return F.interpolate(self.classify(features), scale_factor=4, mode="bilinear", align_corners=True)

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes


def require_four_maps(network: BackboneNetwork, backbone: str) -> None:
    """Refuse a backbone whose maps have not the strides of a Mix Transformer's.

    Raises:
        ValueError: Its strides are not 4, 8, 16 and 32.
    """
    strides = [info.stride for info in network.feature_info]
    if strides != [4, 8, 16, 32]:
        raise ValueError(
            f"the maps of backbone {backbone} have strides {', '.join(map(str, strides))}; "
            f"{type(network).__name__} needs 4, 8, 16, 32, as mit_b0 and pvt_v2_b0 have"
        )


def _local_emphasis(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
    )
