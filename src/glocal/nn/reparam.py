"""Depth-wise convolution as a sum of parallel branches that merge into one kernel (LM-Net, arXiv 2501.03838)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm, fold_norm, require_eval

__all__ = ["BRANCHES", "Branch", "ReparamConv2d", "parse_branches"]

BRANCHES: Mapping[str, str] = {
    "large": "5x5",
    "square": "3x3",
    "ver": "3x1",
    "hor": "1x3",
    "dilation": "5x5d2",
    "big_large": "7x7",
}
"""The branches LM-Net names (its Table 6), as height x width and, behind ``d``, the dilation."""


class Branch(NamedTuple):
    """Kernel of one branch: odd height and width, and the dilation of both."""

    height: int
    width: int
    dilation: int = 1

    @classmethod
    def parse(cls, text: str) -> Branch:
        """Read ``"5x5"``, ``"3x1"``, ``"5x5d2"`` or a name of :data:`BRANCHES`.

        Raises:
            ValueError: It is none of these, or a side is even.
        """
        match = re.fullmatch(r"(\d+)x(\d+)(?:d(\d+))?", BRANCHES.get(text, text))
        if match is None:
            raise ValueError(
                f"no branch {text!r}; use {', '.join(BRANCHES)}, or a kernel such as '7x7', '1x5', '3x3d2'"
            )
        branch = cls(int(match[1]), int(match[2]), int(match[3] or 1))
        if branch.height % 2 == 0 or branch.width % 2 == 0 or branch.dilation < 1:
            raise ValueError(f"branch {text!r} has no centre: height and width must be odd, the dilation at least 1")
        return branch

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of what the kernel covers, holes included."""
        return (self.height - 1) * self.dilation + 1, (self.width - 1) * self.dilation + 1


def parse_branches(branches: Sequence[str] | Mapping[str, str]) -> dict[str, Branch]:
    """Branches by name: a sequence names each by its kernel, a mapping gives other names to kernels.

    Raises:
        ValueError: None is given, one is given twice, or one cannot be read.
    """
    if isinstance(branches, str):
        branches = [branches]
    kernels = dict(branches) if isinstance(branches, Mapping) else {branch: branch for branch in branches}
    if not kernels:
        raise ValueError("branches is empty; name at least one, such as 'large'")
    if len(kernels) != len(branches):
        raise ValueError(f"branches {list(branches)} names one twice; name each once")
    for name in kernels:
        if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict, name):
            raise ValueError(f"no branch can be named {name!r}; use a plain word, such as 'wide'")
    return {name: Branch.parse(kernel) for name, kernel in kernels.items()}


class ReparamConv2d(nn.Module):
    """Depth-wise convolution, the sum of parallel branches: each a convolution without bias and a batch norm.

    After training the branches are one convolution, exactly: with ``g_j = γ_j / sqrt(var_j + eps)`` its kernel is
    ``Σ_j g_j · centre(K_j)`` and its bias ``Σ_j (β_j − mean_j · g_j)``. :meth:`merge` puts it in their place. The
    merged kernel covers what the widest branch covers: 3×3, 5×5, or 9×9 with a dilated 5×5.

    Args:
        channels: Channels in and out.
        branches: Names of :data:`BRANCHES` or kernels such as ``"7x7"``, ``"1x5"``, ``"5x5d2"``, summed in this
            order; a mapping gives each a name of its own.
        merged: Build the merged form, one convolution with bias, as a merged checkpoint holds it.

    Raises:
        ValueError: No branch, one twice, or one that cannot be read.

    Example:
        >>> import torch
        >>> from glocal.nn import ReparamConv2d
        >>> conv = ReparamConv2d(8, branches=("large", "square", "1x7")).eval()
        >>> before = conv(x := torch.rand(2, 8, 9, 12))
        >>> conv.merge()
        >>> torch.allclose(conv(x), before, atol=1e-5)
        True
    """

    def __init__(
        self,
        channels: int,
        branches: Sequence[str] | Mapping[str, str] = ("large", "square", "ver", "hor"),
        *,
        merged: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        kernels = parse_branches(branches)
        self.kernel_size = (max(b.extent[0] for b in kernels.values()), max(b.extent[1] for b in kernels.values()))
        self.branches = nn.ModuleDict()
        self.fused: nn.Conv2d | None = None
        if merged:
            self.fused = self._conv(*self.kernel_size, bias=True)
        else:
            for name, (height, width, dilation) in kernels.items():
                self.branches[name] = ConvNorm(self._conv(height, width, dilation))

    def _conv(self, height: int, width: int, dilation: int = 1, bias: bool = False) -> nn.Conv2d:
        padding = (height // 2 * dilation, width // 2 * dilation)
        return nn.Conv2d(
            self.channels,
            self.channels,
            (height, width),
            padding=padding,
            dilation=dilation,
            groups=self.channels,
            bias=bias,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        if self.fused is not None:
            merged: Tensor = self.fused(x)
            return merged
        first, *others = self.branches.values()
        total: Tensor = first(x)
        for branch in others:
            total = total + branch(x)
        return total

    def merged_kernel(self) -> tuple[Tensor, Tensor]:
        """Kernel ``(C, 1, kh, kw)`` and bias ``(C,)`` of the one convolution that equals the sum of the branches."""
        if self.fused is not None:
            assert self.fused.bias is not None
            return self.fused.weight, self.fused.bias
        kernels, biases = [], []
        for branch in self.branches.values():
            assert isinstance(branch, ConvNorm)
            assert branch.norm is not None
            kernel, bias = fold_norm(branch.conv.weight, branch.conv.bias, branch.norm)
            kernels.append(_centred(kernel, branch.conv.dilation[0], self.kernel_size))
            biases.append(bias)
        return torch.stack(kernels).sum(0), torch.stack(biases).sum(0)

    @torch.no_grad()
    def merge(self) -> None:
        """Replace the branches by the one convolution they equal, in place; a second call changes nothing.

        Raises:
            ValueError: The module is in training mode.
        """
        if self.fused is not None:
            return
        require_eval(self)
        kernel, bias = self.merged_kernel()
        like = next(self.branches.parameters())
        fused = self._conv(*self.kernel_size, bias=True).to(like)
        fused.weight.copy_(kernel)
        assert fused.bias is not None
        fused.bias.copy_(bias)
        self.fused = fused.train(self.training)
        self.branches.clear()


def _centred(kernel: Tensor, dilation: int, size: tuple[int, int]) -> Tensor:
    """``(C, 1, h, w)``, its holes filled with zeros, in the centre of ``(C, 1, *size)``."""
    if dilation > 1:
        channels, one, height, width = kernel.shape
        spread = kernel.new_zeros(channels, one, (height - 1) * dilation + 1, (width - 1) * dilation + 1)
        spread[..., ::dilation, ::dilation] = kernel
        kernel = spread
    rows, columns = (size[0] - kernel.shape[-2]) // 2, (size[1] - kernel.shape[-1]) // 2
    return F.pad(kernel, (columns, columns, rows, rows))
