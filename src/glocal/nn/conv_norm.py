"""A convolution and the batch norm behind it, which become one convolution when they are deployed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ConvNorm", "fold_norm", "require_eval"]


def require_eval(module: nn.Module) -> None:
    """Refuse to merge a module that is being trained.

    Raises:
        ValueError: ``module`` is in training mode, where batch norms use the statistics of the batch.
    """
    if module.training:
        raise ValueError(
            f"{type(module).__name__} is in training mode: merging fixes the running statistics and would change the "
            "function; call .eval() first, or use glocal.deploy(network), which merges a copy"
        )


def fold_norm(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals ``norm(conv(x))`` with the norm's running statistics.

    Args:
        weight: ``(out, in, kh, kw)`` of the convolution.
        bias: ``(out,)`` of the convolution, or None.
        norm: The batch norm that follows, with running statistics and affine parameters.

    Returns:
        ``(out, in, kh, kw)`` and ``(out,)``, in at least float32: with ``g = γ / sqrt(var + eps)`` they are
        ``g · weight`` and ``β + (bias − mean) · g``.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    precise = torch.promote_types(weight.dtype, torch.float32)
    gain = norm.weight.to(precise) * torch.rsqrt(norm.running_var.to(precise) + norm.eps)
    offset = -norm.running_mean.to(precise)
    if bias is not None:
        offset = offset + bias.to(precise)
    return weight.to(precise) * gain[:, None, None, None], norm.bias.to(precise) + offset * gain


class ConvNorm(nn.Module):
    """2-D convolution, then batch norm. :meth:`merge` folds the norm into the convolution.

    Args:
        conv: The convolution.

    Example:
        >>> import torch
        >>> from glocal.nn import ConvNorm
        >>> layer = ConvNorm(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False))
        >>> layer(torch.rand(2, 3, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H', W')``, sizes as the convolution's."""
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the norm into the convolution, in place; a second call changes nothing.

        Raises:
            ValueError: The module is in training mode.
        """
        if self.norm is None:
            return
        require_eval(self)
        weight, bias = fold_norm(self.conv.weight, self.conv.bias, self.norm)
        self.conv.weight = nn.Parameter(weight.to(self.conv.weight.dtype))
        self.conv.bias = nn.Parameter(bias.to(self.conv.weight.dtype))
        self.norm = None
