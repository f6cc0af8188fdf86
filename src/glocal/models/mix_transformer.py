"""Mix Transformer (SegFormer) and PVTv2 as classifiers, and so as backbones with ImageNet weights."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import MixTransformerEncoder

__all__ = ["MixTransformer"]

_SEGFORMER = Paper(
    title="SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
    year=2021,
    url="https://arxiv.org/abs/2105.15203",
)
_PVT_V2 = Paper(
    title="PVT v2: Improved Baselines with Pyramid Vision Transformer",
    year=2022,
    url="https://arxiv.org/abs/2106.13797",
)
_WIDTHS, _NARROW = (64, 128, 320, 512), (32, 64, 160, 256)


def _record(
    name: str, depths: tuple[int, ...], counts: tuple[int, int], widths: tuple[int, ...] = _WIDTHS
) -> ModelInfo:
    """The record of ``mit_b*`` or ``pvt_v2_b*``; ``counts``: parameters and multiply-adds."""
    mit = name.startswith("mit")
    arguments: dict[str, Any] = {"widths": widths, "depths": depths}
    arguments |= {"drop_path": 0.1} if mit else {"mlp_ratios": (8, 8, 4, 4)}
    return ModelInfo(
        name=name,
        family="mit" if mit else "pvt_v2",
        task="classification",
        summary=f"{'Mix Transformer' if mit else 'Pyramid Vision Transformer v2'}, {name[-2:].upper()}",
        input_size=(224, 224),
        in_channels=3,
        num_classes=1000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        parameters=counts[0],
        multiply_adds=counts[1],
        feature_channels=widths,
        feature_strides=(4, 8, 16, 32),
        paper=_SEGFORMER if mit else _PVT_V2,
        arguments=MappingProxyType(arguments),
    )


@register(
    _record("mit_b0", (2, 2, 2, 2), (3_576_392, 452_467_200), _NARROW),
    _record("mit_b1", (2, 2, 2, 2), (13_664_424, 1_675_637_760)),
    _record("mit_b2", (3, 4, 6, 3), (24_709_288, 3_271_284_736)),
    _record("mit_b3", (3, 4, 18, 3), (44_585_128, 6_141_853_696)),
    _record("mit_b4", (3, 8, 27, 3), (61_355_688, 8_920_174_080)),
    _record("mit_b5", (3, 6, 40, 3), (81_956_008, 11_717_260_288)),
    _record("pvt_v2_b0", (2, 2, 2, 2), (3_666_760, 566_065_664), _NARROW),
    _record("pvt_v2_b1", (2, 2, 2, 2), (14_009_000, 2_108_355_584)),
    _record("pvt_v2_b2", (3, 4, 6, 3), (25_362_856, 4_026_734_592)),
    _record("pvt_v2_b3", (3, 4, 18, 3), (45_238_696, 6_897_303_552)),
    _record("pvt_v2_b4", (3, 8, 27, 3), (62_556_072, 10_101_116_416)),
)
class MixTransformer(Network):
    """Mix Transformer or PVTv2: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    Nothing depends on the size of the image, and nothing is padded: there is no position table, and patches overlap.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes.
        widths: Channels of the four stages.
        depths: Blocks of the four stages.
        num_heads: Heads of the four stages.
        mlp_ratios: Of the four stages, the perceptrons' middles in multiples of the width: 4 in Mix Transformer, 8, 8,
            4, 4 in PVTv2.
        reductions: Of the four stages, side of the patches that become a key.
        dropout: Behind projections and in perceptrons, in training.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.

    Raises:
        ValueError: An option that is not one of these, or widths that heads cannot split.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        widths: Sequence[int] = _WIDTHS,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        reductions: Sequence[int] = (8, 4, 2, 1),
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check(widths=widths, depths=depths, num_heads=num_heads, mlp_ratios=mlp_ratios, reductions=reductions)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 1
        self.feature_info = tuple(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(widths))
        self.encoder = MixTransformerEncoder(
            in_channels,
            widths,
            depths,
            num_heads=num_heads,
            mlp_ratios=mlp_ratios,
            reductions=reductions,
            dropout=dropout,
            drop_path=drop_path,
        )
        self.head = _head(widths[3], num_classes)

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
        self.head = _head(self.head.in_features, num_classes).to(self.head.weight)
        self.num_classes = num_classes


def _head(width: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(width, num_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def _check(**options: Sequence[float]) -> None:
    for name, values in options.items():
        if len(values) != 4 or not all(isinstance(value, int | float) and value > 0 for value in values):
            raise ValueError(f"{name} is {list(values)}; give four numbers above 0, one a stage")
        if name != "mlp_ratios" and not all(isinstance(value, int) for value in values):
            raise ValueError(f"{name} is {list(values)}; they must be whole numbers")
