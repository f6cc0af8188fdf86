"""Blocks of the comparison networks against their plain forms."""

import pytest
import torch
import torch.nn.functional as F
from block_makers import maps
from torch import nn

import glocal.nn as blocks
from glocal.models.transunet_mk import _Attention
from glocal.nn.channel_cross_attention import _Reconstruction


def test_standardised_filters_have_mean_0_and_variance_1_merged_or_not():
    conv = blocks.WeightStandardizedConv2d(12, 8, 3, 2, 1, bias=True).eval()
    variance, mean = torch.var_mean(conv.standardized().flatten(1), 1, correction=0)
    torch.testing.assert_close(mean, torch.zeros(8), atol=1e-6, rtol=0)
    raw = conv.weight.flatten(1).var(1, correction=0)
    torch.testing.assert_close(variance, raw / (raw + 1e-5), atol=1e-5, rtol=0)
    x = maps((7, 9))
    before = conv(x)
    torch.testing.assert_close(before, F.conv2d(x, conv.standardized(), conv.bias, 2, 1))
    for _ in range(2):
        conv.merge()
        assert torch.equal(conv(x), before)
    with pytest.raises(ValueError, match="training mode"):
        blocks.WeightStandardizedConv2d(12, 8, 1).train().merge()


@pytest.mark.parametrize("scale", [2, 4])
def test_expanded_patches_lie_row_by_row(scale):
    block = blocks.PatchExpanding(12, 5, scale)
    x = maps((3, 4)).permute(0, 2, 3, 1)
    out = block(x)
    for row, column, i, j in ((0, 0, 0, 0), (2, 1, 1, 0), (1, 3, scale - 1, scale - 1)):
        place = i * scale + j
        channels = block.expand(x[:, row, column])[:, 5 * place : 5 * place + 5]
        torch.testing.assert_close(out[:, scale * row + i, scale * column + j], block.norm(channels))


def test_what_acts_on_pixels_alone_may_come_before_patches_are_spread():
    block, head = blocks.PatchExpanding(12, 6, 4), nn.Linear(6, 2)
    x = maps((3, 5)).permute(0, 2, 3, 1)
    torch.testing.assert_close(block.spread(head(block.patches(x))), head(block(x)))


def test_a_position_table_keeps_its_corners_and_lines():
    table = blocks.PositionEmbedding2d(2, 3, extra=1)
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    with torch.no_grad():
        table.table[0, 1:] = torch.stack([rows.flatten(), columns.flatten()], 1)
    at = table.at(5, 9)[0]
    torch.testing.assert_close(at[:, 0, 0], torch.linspace(0, 2, 5))
    torch.testing.assert_close(at[0, :, 1], torch.linspace(0, 2, 9))
    assert torch.equal(table.at(3, 3).reshape(1, 9, 2), table.table[:, 1:])
    with pytest.raises(ValueError, match="at least 1"):
        blocks.PositionEmbedding2d(2, 0)


@pytest.mark.parametrize("skip_first", [False, True])
def test_the_skip_lies_where_it_is_said_to(skip_first):
    block = blocks.UpsampleSkipBlock(12, 4, 3, skip_first=skip_first).eval()
    x, skip = maps((3, 4)), maps((6, 8), channels=4)
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    together = torch.cat([skip, doubled] if skip_first else [doubled, skip], 1)
    torch.testing.assert_close(block(x, skip), block.conv(together))


def test_channel_attention_is_that_of_its_heads_one_by_one():
    channels, heads, tokens = (4, 8), 3, 10
    total = sum(channels)
    attention = blocks.ChannelCrossAttention(channels, heads).eval()
    scales = [torch.randn(2, tokens, c, generator=torch.Generator().manual_seed(c)) for c in channels]
    together = torch.cat(scales, -1) ** 2
    for i, (x, out) in enumerate(zip(scales, attention(scales, together), strict=True)):
        contexts = []
        for head in range(heads):
            q, k, v = (
                source @ layer.weight.chunk(heads)[head].T
                for source, layer in ((x, attention.q[i]), (together, attention.k), (together, attention.v))
            )
            scores = F.instance_norm((q.transpose(1, 2) @ k / total**0.5)[:, None])[:, 0]
            contexts.append((scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2))
        expected = attention.proj[i](torch.stack(contexts).mean(0))
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_channel_attention_refuses_wrong_options():
    with pytest.raises(ValueError, match="num_heads is 0"):
        blocks.ChannelCrossAttention([4], 0)
    with pytest.raises(ValueError, match="dropout is 1"):
        blocks.ChannelCrossAttention([4], dropout=1)
    with pytest.raises(ValueError, match="patch_size is 6"):
        blocks.ChannelCrossTransformer([4, 4, 4], 6)


def test_reconstructing_before_or_after_repeating_is_the_same_in_evaluation():
    block = _Reconstruction(12, 4).eval()
    assert block.layer.norm is not None
    nn.init.uniform_(block.layer.norm.running_mean)
    x = maps((3, 5))
    repeated = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(block(x), torch.relu(block.layer(repeated)), atol=1e-6, rtol=1e-5)


def test_a_channel_gate_shuts_what_both_means_are_against():
    gate = blocks.ChannelSkipGate(3, 2)
    x, skip = torch.full((1, 2, 2, 2), 2.0), torch.tensor([1.0, -1.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    with torch.no_grad():
        for layer in (gate.skip, gate.map):
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([0.0, 0.0, -50.0]))
    torch.testing.assert_close(gate(x, skip)[0, :, 0, 0], torch.tensor([0.5, 0.0, 0.0]))


@pytest.mark.parametrize("scale", ["published", "standard"])
def test_heads_of_mkara44_lie_fastest_in_the_projection(scale):
    width, heads = 6, 4
    attention = _Attention(heads * width, heads, scale)
    z = torch.randn(2, 7, heads * width, generator=torch.Generator().manual_seed(0)) / 4
    out = []
    for head in range(heads):
        rows = [[d * 3 * heads + k * heads + head for d in range(width)] for k in range(3)]
        q, k, v = (z @ attention.qkv.weight[index].T for index in rows)
        factor = width**0.5 if scale == "published" else width**-0.5
        out.append((q @ k.transpose(1, 2) * factor).softmax(-1) @ v)
    torch.testing.assert_close(attention(z), attention.proj(torch.cat(out, -1)), atol=1e-5, rtol=1e-5)
