"""Windowed attention as it is written in papers: window by window, head by head, with the mask of −100."""

from __future__ import annotations

import torch
from torch import Tensor

from glocal.nn import WindowAttention


def naive_window_attention(block: WindowAttention, x: Tensor, shift: int) -> Tensor:
    """``(N, H, W, C)`` -> ``(N, H, W, C)`` with the parameters of ``block``."""
    batch, height, width, channels = x.shape
    w = block.window_size
    rows, columns = -(-height // w) * w, -(-width // w) * w
    padded = x.new_zeros(batch, rows, columns, channels)
    padded[:, :height, :width] = x
    rolled = torch.roll(padded, (-shift, -shift), (1, 2))
    out = torch.zeros_like(rolled)
    for top in range(0, rows, w):
        for left in range(0, columns, w):
            tokens = rolled[:, top : top + w, left : left + w].reshape(batch, w * w, channels)
            bias = _scores_bias(block, top, left, rows, columns, shift)
            attended = _attend(block, tokens, bias)
            out[:, top : top + w, left : left + w] = attended.reshape(batch, w, w, channels)
    out = block.proj(out)
    return torch.roll(out, (shift, shift), (1, 2))[:, :height, :width]


def _attend(block: WindowAttention, tokens: Tensor, bias: Tensor) -> Tensor:
    q, k, v = block.qkv(tokens).chunk(3, -1)
    heads = []
    for head, (qh, kh, vh) in enumerate(zip(*(t.chunk(block.num_heads, -1) for t in (q, k, v)), strict=True)):
        scores = qh @ kh.transpose(1, 2) * qh.shape[-1] ** -0.5 + bias[head]
        heads.append(scores.softmax(-1) @ vh)
    return torch.cat(heads, -1)


def _scores_bias(block: WindowAttention, top: int, left: int, rows: int, columns: int, shift: int) -> Tensor:
    w = block.window_size
    bias = torch.zeros(block.num_heads, w * w, w * w, dtype=block.qkv.weight.dtype)
    for i in range(w * w):
        for j in range(w * w):
            (yi, xi), (yj, xj) = divmod(i, w), divmod(j, w)
            row = (yi - yj + w - 1) * (2 * w - 1) + xi - xj + w - 1
            bias[:, i, j] = block.relative_position_bias_table.detach()[row]
            one = (_band(top + yi, rows, w, shift), _band(left + xi, columns, w, shift))
            other = (_band(top + yj, rows, w, shift), _band(left + xj, columns, w, shift))
            if shift and one != other:
                bias[:, i, j] -= 100
    return bias


def _band(at: int, side: int, w: int, shift: int) -> int:
    return 0 if at < side - w else 1 if at < side - shift else 2
