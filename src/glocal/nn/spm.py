"""Stepwise Patch Merging (arXiv 2409.06963, IJCAI 2025): from one stage of a hierarchy to the next, in two steps.

Multi-scale aggregation (MSA) widens the channels at full size; guided local enhancement (GLE) halves the size.

Legend: N batch, H W map, C input and D output channels, g = C / 4, M windows of 2×2 pixels, h heads, d = D / h.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.global_attention import head_width
from glocal.nn.layer_norm import LayerNorm2d
from glocal.nn.pointwise import PointwiseConv2d

__all__ = ["GuidedLocalEnhancement", "MultiScaleAggregation", "StepwisePatchMerging", "guided_attention"]

_KERNELS = (3, 5, 7, 9)
_EXPANSION = 2
_HEADS = 8


class _FrozenBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that uses its running statistics in training too, and leaves them alone."""

    def train(self, mode: bool = True) -> _FrozenBatchNorm2d:
        super().train(False)
        return self


def _batch_norm(channels: int, frozen: bool) -> nn.BatchNorm2d:
    return _FrozenBatchNorm2d(channels).eval() if frozen else nn.BatchNorm2d(channels)


class MultiScaleAggregation(nn.Module):
    """Depth-wise convolutions of four sizes, interleaved and mixed: ``(N, C, H, W)`` -> ``(N, D, H, W)``.

    Four groups of channels see kernels 3, 5, 7 and 9. Each position of the groups is mixed by itself (a grouped 1×1
    convolution, batch norm, GELU), then all channels together (a dense 1×1 convolution).

    Args:
        in_channels: C, a multiple of 4.
        out_channels: D.
        frozen_norm: Keep the batch norm at its running statistics in training, for batches of very few images.

    Raises:
        ValueError: ``in_channels`` is no multiple of 4.

    Example:
        >>> import torch
        >>> from glocal.nn import MultiScaleAggregation
        >>> widen = MultiScaleAggregation(24, 40)
        >>> widen(torch.rand(2, 24, 9, 14)).shape
        torch.Size([2, 40, 9, 14])
    """

    def __init__(self, in_channels: int, out_channels: int, *, frozen_norm: bool = False) -> None:
        super().__init__()
        if in_channels < 4 or in_channels % 4:
            raise ValueError(f"in_channels is {in_channels}; the four kernels share it, so it must be a multiple of 4")
        g = in_channels // 4
        self.local = nn.ModuleList(nn.Conv2d(g, g, k, padding=k // 2, groups=g) for k in _KERNELS)
        self.mix = ConvNorm(nn.Conv2d(in_channels, _EXPANSION * in_channels, 1, groups=g))
        self.mix.norm = _batch_norm(_EXPANSION * in_channels, frozen_norm)
        self.project = nn.Linear(_EXPANSION * in_channels, out_channels)
        for layer in (*self.local, self.mix.conv, self.project):
            _initialise(layer)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, D, H, W)``, channels-last in memory."""
        height, width = x.shape[2:]
        parts = zip(self.local, x.chunk(4, 1), strict=True)
        x_Ng4P = torch.stack([conv(part) for conv, part in parts], 2).flatten(3)
        # The grouped 1×1 convolution as one batched product over the groups: as a convolution it is a loop on the CPU
        conv, g = self.mix.conv, x_Ng4P.shape[1]
        assert conv.bias is not None
        x_NgoP = conv.weight.view(g, 4 * _EXPANSION, 4) @ x_Ng4P + conv.bias.view(g, 4 * _EXPANSION, 1)
        x = x_NgoP.reshape(x.shape[0], conv.out_channels, height, width)
        x = F.gelu(x if self.mix.norm is None else self.mix.norm(x))
        out: Tensor = self.project(x.flatten(2).transpose(1, 2)).unflatten(1, (height, width))
        return out.permute(0, 3, 1, 2)

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """What the papers' counter sees in the published module (see ``glocal.models.complexity``)."""
        width = self.project.in_features
        pixels = output.numel() // output.shape[1]
        return pixels * (41 * width // 2 + 4 * width + 4 * width + width * output.shape[1])


def _initialise(layer: nn.Module) -> None:
    """Normal with variance ``2 / fan_out``, bias 0, as the published block initialises itself in any host."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    fan_out = layer.weight[0, 0].numel() * layer.weight.shape[0] // getattr(layer, "groups", 1)
    nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def guided_attention(guide: Tensor, tokens: Tensor, qkv: nn.Linear, num_heads: int = _HEADS) -> Tensor:
    """What each guide gathers from its window by multi-head attention, with no output projection.

    The projections of keys and values are absorbed, which is exact: ``q · W_k n = (W_kᵀ q) · n``, the key bias adds
    the same number to all scores of a head, and weights that sum to 1 let ``Σ a (W_v n + b) = W_v (Σ a n) + b``. So
    every projection is done once a window, not once a token: 3·D² multiply-adds in place of 15·D².

    Args:
        guide: ``(M, D)``, the query of each window.
        tokens: ``(M, tokens, D)``, keys and values of each window, the guide among them.
        qkv: Linear D -> 3·D; queries, keys, values.
        num_heads: Heads; must divide D.

    Returns:
        ``(M, D)``.

    Raises:
        ValueError: ``num_heads`` does not divide D.

    Example:
        >>> import torch
        >>> from glocal.nn import guided_attention
        >>> windows = torch.rand(30, 5, 16)
        >>> guided_attention(windows[:, 0], windows, torch.nn.Linear(16, 48)).shape
        torch.Size([30, 16])
    """
    channels, d = qkv.in_features, head_width(qkv.in_features, num_heads)
    w_q, w_k, w_v = qkv.weight.chunk(3)
    b_q, _, b_v = qkv.bias.chunk(3)
    q_hMd = F.linear(guide, w_q, b_q).mul(d**-0.5).view(guide.shape[0], num_heads, d).transpose(0, 1)
    u_hMD = q_hMd @ w_k.view(num_heads, d, channels)
    a_MTh = (tokens @ u_hMD.permute(1, 2, 0)).softmax(1)
    mean_hMD = (a_MTh.transpose(1, 2) @ tokens).transpose(0, 1)
    out_hMd = mean_hMD @ w_v.view(num_heads, d, channels).transpose(1, 2)
    return out_hMd.transpose(0, 1).flatten(1) + b_v


class GuidedLocalEnhancement(nn.Module):
    """Half the size, by attention in 2×2 windows: ``(N, D, H, W)`` -> ``(N, D, ceil(H / 2), ceil(W / 2))``.

    A guide for each window (batch norm, GELU, 7×7 depth-wise convolution with stride 2) attends to itself and the four
    pixels of its window, which are not normalised by the batch norm; one layer norm serves both kinds. An odd side is
    first padded with a row or column of zeros.

    Args:
        channels: D, a multiple of 8.
        frozen_norm: Keep the batch norm at its running statistics in training, for batches of very few images.

    Raises:
        ValueError: ``channels`` is no multiple of 8.

    Example:
        >>> import torch
        >>> from glocal.nn import GuidedLocalEnhancement
        >>> halve = GuidedLocalEnhancement(40)
        >>> halve(torch.rand(2, 40, 9, 14)).shape
        torch.Size([2, 40, 5, 7])
    """

    def __init__(self, channels: int, *, frozen_norm: bool = False) -> None:
        super().__init__()
        if channels < _HEADS or channels % _HEADS:
            raise ValueError(f"{channels} channels; the {_HEADS} heads share them, so use a multiple of {_HEADS}")
        self.guide_norm = _batch_norm(channels, frozen_norm)
        self.guide = nn.Conv2d(channels, channels, 7, 2, 3, groups=channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.norm0 = nn.LayerNorm(channels)
        self.norm1 = nn.LayerNorm(channels)
        nn.init.trunc_normal_(self.qkv.weight, std=0.02)
        nn.init.zeros_(self.qkv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, D, H, W)`` -> ``(N, D, ceil(H / 2), ceil(W / 2))``, channels-last in memory."""
        x = _pad_to_even(x)
        guide = self.guide(F.gelu(self.guide_norm(x))).permute(0, 2, 3, 1)
        batch, rows, columns, channels = guide.shape
        pixels = x.permute(0, 2, 3, 1).reshape(batch, rows, 2, columns, 2, channels).transpose(2, 3)
        tokens = torch.cat([guide.flatten(0, 2)[:, None], pixels.flatten(3, 4).flatten(0, 2)], 1)
        tokens = self.norm0(tokens)
        out: Tensor = self.norm1(guided_attention(tokens[:, 0], tokens, self.qkv))
        return out.view(batch, rows, columns, channels).permute(0, 3, 1, 2)

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """What the papers' counter sees in the published module (see ``glocal.models.complexity``)."""
        d = output.shape[1]
        return output.numel() * (15 * d + 49 + 4 * (4 + 5 + 1))


class StepwisePatchMerging(nn.Module):
    """From one stage to the next: ``(N, C, H, W)`` -> ``(N, D, ceil(H / 2), ceil(W / 2))`` (arXiv 2409.06963).

    Takes the place of a strided convolution or of Swin's patch merging in any hierarchy. It ends in a layer norm, so
    none need follow. An odd side is first padded with a row or column of zeros. Maps are channels-last in memory
    inside and come out so; a ``permute(0, 2, 3, 1)`` of the output is free.

    Args:
        in_channels: C, a multiple of 4.
        out_channels: D, a multiple of 8.
        frozen_norm: Keep the batch norms at their running statistics in training, for batches of very few images.
            (Over several devices ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` shares statistics instead.)
        parts: ``"both"``, or for ablations one of the two alone, the plainest form in place of the other (our choice,
            the paper's is not known): ``"msa"`` halves by the mean of 2×2 pixels and a layer norm, ``"gle"`` widens by
            a 1×1 convolution.

    Raises:
        ValueError: Channels that are no such multiples, or other ``parts``.

    Example:
        >>> import torch
        >>> from glocal.nn import StepwisePatchMerging
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 4, 4), StepwisePatchMerging(16, 32))
        >>> net(torch.rand(2, 3, 60, 100)).shape
        torch.Size([2, 32, 8, 13])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        frozen_norm: bool = False,
        parts: Literal["both", "msa", "gle"] = "both",
    ) -> None:
        super().__init__()
        if parts not in ("both", "msa", "gle"):
            raise ValueError(f"parts is {parts!r}; use both, msa or gle")
        if out_channels < _HEADS or out_channels % _HEADS:
            raise ValueError(
                f"out_channels is {out_channels}; the {_HEADS} heads share it, so it must be a multiple of {_HEADS}"
            )
        self.msa: nn.Module
        self.gle: nn.Module
        if parts == "gle":
            self.msa = PointwiseConv2d(in_channels, out_channels)
        else:
            self.msa = MultiScaleAggregation(in_channels, out_channels, frozen_norm=frozen_norm)
        if parts == "msa":
            self.gle = nn.Sequential(nn.AvgPool2d(2), LayerNorm2d(out_channels, eps=1e-5))
        else:
            self.gle = GuidedLocalEnhancement(out_channels, frozen_norm=frozen_norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, D, ceil(H / 2), ceil(W / 2))``."""
        out: Tensor = self.gle(self.msa(_pad_to_even(x)))
        return out


def _pad_to_even(x: Tensor) -> Tensor:
    down, right = x.shape[2] % 2, x.shape[3] % 2
    return F.pad(x, (0, right, 0, down)) if down or right else x
