"""Bilinear resizing to the size of another map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize_like"]


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """``(N, C, h, w)`` at the size ``(H, W)`` of ``like``; bilinear, corners not aligned."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
