"""ESFPNet (Chang et al., arXiv 2207.07759): a Mix Transformer and an efficient stage-wise feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from glocal.models.dense import BackboneNetwork
from glocal.models.registry import Paper, register
from glocal.models.ssformer import require_four_maps
from glocal.models.ushaped import comparison_record
from glocal.nn import PointwiseConv2d, ResizedFusion

__all__ = ["ESFPNet"]

_PAPER = Paper(
    title="ESFPNet: Efficient Deep Learning Architecture for Real-Time Lesion Segmentation in Autofluorescence "
    "Bronchoscopic Video",
    year=2023,
    url="https://arxiv.org/abs/2207.07759",
)
_WIDE, _NARROW = {4: 64, 8: 128, 16: 320, 32: 512}, {4: 32, 8: 64, 16: 160, 32: 256}


@register(
    comparison_record("esfpnet_l", "esfpnet", "ESFPNet-L, on MiT-B4", (61_691_074, 12_000_985_088), _WIDE, _PAPER),
    comparison_record(
        "esfpnet_s",
        "esfpnet",
        "ESFPNet-S, on MiT-B2",
        (25_044_674, 4_555_505_664),
        _WIDE,
        _PAPER,
        {"backbone": "mit_b2"},
    ),
    comparison_record(
        "esfpnet_t",
        "esfpnet",
        "ESFPNet-T, on MiT-B0",
        (3_532_642, 662_749_184),
        _NARROW,
        _PAPER,
        {"backbone": "mit_b0"},
    ),
)
class ESFPNet(BackboneNetwork):
    """ESFPNet: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    From the coarsest map on, each is mixed, joined by the one above and mixed again; all four are read at once. The
    published network stops at a quarter of the image's size and leaves the enlarging to its trainer; here it is part of
    the network (bilinear, corners not aligned). Images are padded to multiples of 32, the only sizes that the published
    code takes.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        backbone: Any registered network whose maps have strides 4, 8, 16, 32.
        backbone_args: Options of the backbone, such as ``{"drop_path": 0.0}``.

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
    ) -> None:
        super().__init__(in_channels, num_classes, backbone, backbone_args)
        require_four_maps(self, backbone)
        widths = [info.channels for info in self.feature_info]
        self.mix = nn.ModuleList(PointwiseConv2d(width, width) for width in widths)
        self.fusions = nn.ModuleList(ResizedFusion([widths[i], widths[i + 1]], widths[i]) for i in range(3))
        self.remix = nn.ModuleList(PointwiseConv2d(width, width) for width in widths[:3])
        self.head = ResizedFusion(widths, num_classes, norm=False)

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Maps of the backbone -> logits of the size of the finest."""
        maps = [mix(x) for mix, x in zip(self.mix, features, strict=True)]
        for i in (2, 1, 0):
            maps[i] = self.remix[i](self.fusions[i]([maps[i], maps[i + 1]], _size(maps[i])))
        logits: Tensor = self.head(maps, _size(maps[0]))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        like = self.head.conv.weight
        self.head = ResizedFusion(self.head.channels, num_classes, norm=False).to(like)
        self.num_classes = num_classes


def _size(x: Tensor) -> tuple[int, int]:
    height, width = x.shape[-2:]
    return height, width
