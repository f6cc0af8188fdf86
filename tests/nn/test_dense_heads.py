"""Necks and heads for dense prediction, beside what every block promises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from naive_dense import semantic_fpn_head
from torch import Tensor, nn

import glocal
import glocal.nn as blocks


def exact_pyramid(levels: int, width: int = 6, size: tuple[int, int] = (2, 3), seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, width, size[0] << up, size[1] << up, generator=generator) for up in range(levels - 1, -1, -1)
    ]


def busy(module: nn.Module) -> nn.Module:
    """Running statistics and classifiers that are not the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_semantic_fpn_sums_before_it_enlarges_and_gives_the_same(levels: int) -> None:
    head = busy(blocks.SemanticFPNHead(6, 5, levels=levels, channels=8))
    maps = exact_pyramid(levels)
    torch.testing.assert_close(head(maps), semantic_fpn_head(head, maps), atol=1e-6, rtol=1e-5)
    assert [len(level) for level in head.levels] == [1, 1, 2, 3, 4][:levels]


def test_the_pyramid_adds_the_nearest_pixel_of_the_coarser_level() -> None:
    """With unit kernels the neck is a sum that can be written down."""
    neck = blocks.FeaturePyramid([1, 1, 1], 1, extra="pool")
    with torch.no_grad():
        for conv in (*neck.laterals, *neck.outputs):
            conv.weight.zero_()
            conv.weight[0, 0, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    fine, middle, coarse = maps = exact_pyramid(3, 1)
    below = middle + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = [fine + below.repeat_interleave(2, 2).repeat_interleave(2, 3), below, coarse, coarse[..., ::2, ::2]]
    for ours, theirs in zip(neck(maps), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_extra_levels_come_from_the_coarsest_map_without_an_activation_between() -> None:
    neck = blocks.FeaturePyramid([6, 6], 4, extra="conv").eval()
    maps = exact_pyramid(2, size=(5, 8))
    *_, first, second = neck(maps)
    torch.testing.assert_close(first, F.conv2d(maps[-1], neck.coarser[0].weight, neck.coarser[0].bias, 2, 1))
    torch.testing.assert_close(second, F.conv2d(first, neck.coarser[1].weight, neck.coarser[1].bias, 2, 1))
    assert first.shape[-2:] == (3, 4)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: blocks.FeaturePyramid([64, 128, 320, 512]), 2_623_488),
        (lambda: blocks.FeaturePyramid([64, 128, 320, 512], extra="pool"), 2_623_488),
        (lambda: blocks.FeaturePyramid([128, 320, 512], extra="conv"), 3_786_752),
        (lambda: blocks.SemanticFPNHead(256, 150), 1_643_158),
        (lambda: blocks.UPerNetHead([96, 192, 384, 768], 150), 31_497_366),
        (lambda: blocks.UPerNetHead([128, 256, 512, 1024], 150), 33_315_990),
        (lambda: blocks.UPerNetHead([64, 128, 320, 512], 150), 29_711_510),
        (lambda: blocks.FCNHead(384, 150), 923_798),
        (lambda: blocks.FCNHead(512, 150), 1_218_710),
        (lambda: blocks.FCNHead(320, 150), 776_342),
    ],
)
def test_the_published_sizes_have_the_published_counts(make, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(make()) == expected


@pytest.mark.parametrize(
    "head", [blocks.SemanticFPNHead(6, 3, levels=3, channels=8), blocks.UPerNetHead([6, 6, 6], 3, channels=8)]
)
def test_deployed_heads_are_the_same_function_without_norms(head: nn.Module) -> None:
    maps = exact_pyramid(3)
    fast = glocal.deploy(busy(head))
    torch.testing.assert_close(fast(maps), head(maps), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.modules())


def test_wrong_maps_and_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="one of none, pool, conv"):
        blocks.FeaturePyramid([3], 4, extra="p6")
    with pytest.raises(ValueError, match="at least one map"):
        blocks.FeaturePyramid([], 4)
    with pytest.raises(ValueError, match="at least one map"):
        blocks.UPerNetHead([], 4)
    with pytest.raises(ValueError, match="levels is 0"):
        blocks.SemanticFPNHead(4, 2, levels=0)
    with pytest.raises(ValueError, match="2 maps for a head of 3 levels"):
        blocks.SemanticFPNHead(6, 2, levels=3, channels=4)(exact_pyramid(2))
