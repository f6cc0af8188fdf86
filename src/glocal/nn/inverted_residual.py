"""The inverted residual perceptron that ends a fusion block (HiFuse, §2.5 IRMLP; HiPerformer, Eq. 10)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm, require_eval
from glocal.nn.pointwise import PointwiseConv2d

__all__ = ["InvertedResidualMlp"]


class InvertedResidualMlp(nn.Module):
    """``y = GELU(conv3×3(x)) + x`` -> batch norm -> 1×1 to 4c -> GELU -> 1×1 -> batch norm; no biases.

    :meth:`merge` folds the first norm into the 1×1 convolution behind it (the last one is folded by its own) and lays
    out the dense 3×3 kernel so that on a CPU a small map costs one matrix product, without reordering the kernel at
    each call: at 2304 channels and 7×7 pixels that reordering costs more than the product.

    Args:
        in_channels: c, of the input.
        out_channels: Of the output.
        form: Of the 3×3 convolution. ``"dense"`` is what both published codes compute (9·c² weights);
            ``"depthwise"`` is what both papers describe (9·c weights).
        expansion: How much wider than the input the middle is.

    Raises:
        ValueError: ``form`` is none of these.

    Example:
        >>> import torch
        >>> from glocal.nn import InvertedResidualMlp
        >>> block = InvertedResidualMlp(24, 8, form="depthwise")
        >>> block(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 8, 7, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        form: Literal["dense", "depthwise"] = "dense",
        *,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        if form not in ("dense", "depthwise"):
            raise ValueError(f"the inverted residual's form is {form!r}; use 'dense' or 'depthwise'")
        groups = in_channels if form == "depthwise" else 1
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(in_channels)
        self.expand = PointwiseConv2d(in_channels, expansion * in_channels, bias=False)
        self.project = ConvNorm(PointwiseConv2d(expansion * in_channels, out_channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        x = F.gelu(self._convolved(x)) + x
        if self.norm is not None:
            x = self.norm(x)
        out: Tensor = self.project(F.gelu(self.expand(x)))
        return out

    def _convolved(self, x: Tensor) -> Tensor:
        """The 3×3 convolution by the cheapest way there is; the result is channels-last in memory."""
        if self.conv.groups == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling():
            laid_out = self.conv.weight.is_contiguous(memory_format=torch.channels_last)
            if laid_out and x.shape[0] * x.shape[2] * x.shape[3] * _CHANNELS_PER_PIXEL <= x.shape[1]:
                return _product_3x3(x, self.conv.weight)
            if not laid_out:  # CPUs train faster so, though the neighbours are channels-last
                x = x.contiguous()
        out: Tensor = self.conv(x)
        return out.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the norm into the 1×1 convolution behind it, in place; a second call changes nothing.

        With ``g = γ / sqrt(var + eps)`` its weight becomes ``W · diag(g)`` and its bias ``W · (β − mean · g)``.

        Raises:
            ValueError: The module is in training mode.
        """
        if self.norm is None:
            return
        require_eval(self)
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        like = self.expand.weight
        precise = torch.promote_types(like.dtype, torch.float32)
        gain = self.norm.weight.to(precise) * torch.rsqrt(self.norm.running_var.to(precise) + self.norm.eps)
        offset = self.norm.bias.to(precise) - self.norm.running_mean.to(precise) * gain
        weight = like.to(precise)
        self.expand.weight = nn.Parameter((weight * gain[None, :, None, None]).to(like.dtype))
        self.expand.bias = nn.Parameter((weight.flatten(1) @ offset).to(like.dtype))
        self.conv.weight.data = self.conv.weight.data.contiguous(memory_format=torch.channels_last)
        self.norm = None


_CHANNELS_PER_PIXEL = 16
"""From so many channels for each pixel of the batch on, measured, the product beats the library's convolution."""


def _product_3x3(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution with padding 1 as one product of all 3×3 patches ``(N, H, W, 9C)`` with the kernel ``(out, 9C)``."""
    height, width = x.shape[-2:]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    patches = torch.cat([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], -1)
    return F.linear(patches, weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)
