"""The inverted residual perceptron that ends a fusion block (HiFuse, §2.5 IRMLP; HiPerformer, Eq. 10)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm, require_eval

__all__ = ["InvertedResidualMlp"]


class InvertedResidualMlp(nn.Module):
    """``y = GELU(conv3×3(x)) + x`` -> batch norm -> 1×1 to 4c -> GELU -> 1×1 -> batch norm; no biases.

    :meth:`merge` folds the first norm into the 1×1 convolution behind it; the last one is folded by its own.

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
        self.expand = nn.Conv2d(in_channels, expansion * in_channels, 1, bias=False)
        self.project = ConvNorm(nn.Conv2d(expansion * in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        x = F.gelu(self.conv(x)) + x
        if self.norm is not None:
            x = self.norm(x)
        out: Tensor = self.project(F.gelu(self.expand(x)))
        return out

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
        self.norm = None
