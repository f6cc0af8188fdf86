"""U-Net++ (Zhou et al., arXiv 1807.10165) as 4uiiurz1/pytorch-nested-unet has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glocal.models.registry import Paper, register
from glocal.models.ushaped import UShapedNetwork, comparison_record, double_conv_encoder, fresh_head
from glocal.nn import DoubleConv

__all__ = ["UNetPlusPlus"]

_PAPER = Paper(
    title="UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
    year=2018,
    url="https://arxiv.org/abs/1807.10165",
)
_FEATURES = {1: 32, 2: 64, 4: 128, 8: 256, 16: 512}


@register(
    comparison_record("unetpp", "unetpp", "U-Net++ with one head", (9_163_362, 34_487_664_640), _FEATURES, _PAPER),
    comparison_record(
        "unetpp_ds",
        "unetpp",
        "U-Net++ trained with deep supervision, as comparisons measure it",
        (9_163_560, 34_487_664_640),
        _FEATURES,
        _PAPER,
        {"deep_supervision": True},
    ),
    comparison_record(
        "unetpp_tiny",
        "unetpp",
        "U-Net++ of a quarter of the width, for small machines and demonstrations",
        (574_938, 2_166_882_304),
        {1: 8, 2: 16, 4: 32, 8: 64, 16: 128},
        _PAPER,
        {"width": 8},
    ),
)
class UNetPlusPlus(UShapedNetwork):
    """U-Net++: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    The map x(i, j) of level i takes x(i, 0) … x(i, j - 1) and the doubled x(i + 1, j - 1). With deep supervision each
    of x(0, 1) … x(0, 4) has a head; training takes the mean of their losses (:meth:`training_outputs`), prediction the
    last one. Images are padded to multiples of 16, the only sizes that the published code takes.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        deep_supervision: Train with a head on each map of the first level; ``deploy`` drops all but the last.
        width: Channels of the first level; each next has twice as many.

    Raises:
        ValueError: ``width`` is below 1.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 2, *, deep_supervision: bool = False, width: int = 32
    ) -> None:
        widths = [width * 2**i for i in range(5)]
        super().__init__(in_channels, num_classes, widths)
        self.deep_supervision = deep_supervision
        self.encoder = double_conv_encoder(in_channels, widths, bias=True)
        self.nested = nn.ModuleList(
            nn.ModuleList(DoubleConv(j * widths[i] + widths[i + 1], widths[i], bias=True) for i in range(5 - j))
            for j in range(1, 5)
        )
        """x(i, j) at ``nested[j - 1][i]``."""
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.heads = _Heads(width, num_classes, 4 if deep_supervision else 1)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)`` of the last head."""
        logits: Tensor = self.heads(self.first_level(features))
        return logits

    def first_level(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps of :meth:`encode` -> x(0, 1) … x(0, 4), each ``(N, width, H, W)``."""
        grid = [[x] for x in features]  # x(i, j) at grid[i][j]
        for column in self.nested:
            assert isinstance(column, nn.ModuleList)
            for level, node in enumerate(column):
                grid[level].append(node(torch.cat([*grid[level], self.up(grid[level + 1][-1])], 1)))
        return grid[0][1:]

    def training_outputs(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """``(N, in_channels, H, W)`` -> the logits of every head, ``(N, num_classes, H, W)``, all of one weight."""
        height, width = x.shape[-2:]
        outputs = self.heads.each(self.first_level(self.encode(self.to_grid(x))))
        return [(logits[..., :height, :width], 1 / len(outputs)) for logits in outputs]

    def reset_head(self, num_classes: int) -> None:
        """Replace the heads by freshly initialised ones with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.heads.reset(num_classes)
        self.num_classes = num_classes


class _Heads(nn.Module):
    """A 1×1 convolution on each of the last ``count`` maps."""

    def __init__(self, channels: int, num_classes: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in range(count))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits of the last map."""
        logits: Tensor = self.convs[-1](maps[-1])
        return logits

    def each(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Logits of every head."""
        return [conv(x) for conv, x in zip(self.convs, maps[-len(self.convs) :], strict=True)]

    def reset(self, num_classes: int) -> None:
        """Make every head anew, with ``num_classes`` outputs."""
        old = [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]
        self.convs = nn.ModuleList(fresh_head(conv, num_classes) for conv in old)

    def merge(self) -> None:
        """Drop all heads but the last, which only training needs."""
        self.convs = self.convs[-1:]

    def published_macs(self, inputs: tuple[Sequence[Tensor]], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: the published code computes every head, also in evaluation."""
        return len(self.convs) * output.numel() * inputs[0][0].shape[1]
