"""What stands where a part is left out for an ablation: the plainest thing that fits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glocal.models.hifuse import HiFuse
from glocal.models.hiperformer import HiPerformer
from glocal.models.pvt import PVT
from glocal.models.swin import Swin
from glocal.nn import HFF, GuidedLocalEnhancement, LevelFusion, MultiScaleAggregation, StepwisePatchMerging

HIFUSE = {"depths": (1, 1, 1, 1), "local_depths": (1, 1, 1, 1), "widths": (16, 32, 64, 128), "num_heads": (1, 2, 4, 8)}
HIPERFORMER = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8), "squeeze_reduction": 2}


def maps(*channels: int, size: int = 8) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.rand(2, c, size, size, generator=random) for c in channels]


@torch.no_grad()
def test_levels_without_a_fusion_block_add_their_maps() -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for levels in range(5):
        network = HiFuse(fusion_levels=levels, **HIFUSE).eval()
        found = network.branches(image)
        sums = [a + b for a, b in zip(found.local_maps, found.global_maps, strict=True)]
        equal = [torch.equal(a, b) for a, b in zip(found.fused_maps, sums, strict=True)]
        assert equal == [True] * (4 - levels) + [False] * levels
        assert [block.previous_conv is not None for block in network.fusion] == [False, *[True] * 3][:levels]


@torch.no_grad()
def test_hiperformer_adds_its_branches_where_there_is_no_fusion() -> None:
    network = HiPerformer(fusion_levels=0, **HIPERFORMER).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sums = [a + b for a, b in zip(network.local_branch(x), network.global_branch(x), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(network.encode(x), sums, strict=True))


@pytest.mark.parametrize("network", [HiFuse, HiPerformer])
@pytest.mark.parametrize("levels", [-1, 5])
def test_there_are_four_levels(network, levels) -> None:
    with pytest.raises(ValueError, match=f"fusion_levels is {levels}"):
        network(fusion_levels=levels)


@torch.no_grad()
def test_a_fusion_block_without_its_parts_is_a_mixture_of_the_maps_as_they_are() -> None:
    plain = HFF(8, 4, spatial_gate=False, channel_gate="none", irmlp="none", shortcut=False).eval()
    local_map, global_map = maps(8, 8)
    (finer,) = maps(4, size=16)
    pooled = F.avg_pool2d(F.relu(plain.previous_conv(finer)), 2)
    mixed = plain.mixer(torch.cat([pooled, plain.local_conv(local_map), plain.global_conv(global_map)], 1))
    everything = torch.cat([global_map, local_map, mixed], 1)
    norm, mix = plain.transform
    kernel = mix.conv.weight
    assert kernel.shape == (8, 24, 1, 1)
    scale = mix.norm.weight / torch.sqrt(mix.norm.running_var + mix.norm.eps)
    expected = F.conv2d(norm(everything), kernel) * scale[:, None, None]
    torch.testing.assert_close(plain(local_map, global_map, finer), expected, atol=1e-5, rtol=0)
    with_shortcut = LevelFusion(8, nn.Identity(), nn.Identity(), previous_channels=4, irmlp="none").eval()
    with_shortcut.load_state_dict(plain.state_dict())
    torch.testing.assert_close(with_shortcut(local_map, global_map, finer), expected + pooled, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_halves_of_stepwise_patch_merging() -> None:
    (x,) = maps(8)
    aggregation = StepwisePatchMerging(8, 16, parts="msa").eval()
    assert isinstance(aggregation.msa, MultiScaleAggregation)
    wide = aggregation.msa(x)
    mean = (wide[..., ::2, ::2] + wide[..., 1::2, ::2] + wide[..., ::2, 1::2] + wide[..., 1::2, 1::2]) / 4
    expected = F.layer_norm(mean.permute(0, 2, 3, 1), (16,)).permute(0, 3, 1, 2)
    torch.testing.assert_close(aggregation(x), expected, atol=1e-5, rtol=0)
    enhancement = StepwisePatchMerging(8, 16, parts="gle").eval()
    assert isinstance(enhancement.gle, GuidedLocalEnhancement)
    widened = F.conv2d(x, enhancement.msa.weight, enhancement.msa.bias)
    torch.testing.assert_close(enhancement(x), enhancement.gle(widened), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="use both, msa or gle"):
        StepwisePatchMerging(8, 16, parts="none")


@pytest.mark.parametrize("make", [PVT, Swin])
def test_backbones_take_the_halves(make) -> None:
    with torch.device("meta"):
        halves = {part: make(merging=part).state_dict().keys() for part in ("spm", "msa", "gle")}
    assert not halves["msa"] & {name for name in halves["spm"] if ".gle.qkv" in name}
    assert not halves["gle"] & {name for name in halves["spm"] if ".msa.local" in name}
