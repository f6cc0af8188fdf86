"""Attention inside windows that every other block shifts (Swin, arXiv 2103.14030, §3.2; HiFuse; HiPerformer)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["WindowAttention", "relative_position_index", "shifted_window_mask"]


def relative_position_index(window_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Row of the bias table for each pair of tokens of a window, ``(w², w²)`` integers.

    For tokens i = (y, x) and j = (y', x') it is ``(y − y' + w − 1) · (2w − 1) + (x − x' + w − 1)``.
    """
    token = torch.arange(window_size**2, device=device)
    rows = torch.div(token, window_size, rounding_mode="floor")
    columns = token - rows * window_size
    away = window_size - 1
    down, right = (axis[:, None] - axis[None, :] + away for axis in (rows, columns))
    return down * (2 * away + 1) + right


def shifted_window_mask(
    height: int, width: int, window_size: int, shift: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Which tokens of a window lay together before the map was rolled, ``(windows, w², w²)`` booleans.

    Args:
        height: Of the padded map, a multiple of ``window_size``.
        width: Likewise.
        window_size: Side w of a window.
        shift: By how many pixels the map was rolled up and left.
        device: Where to put it.
    """
    bands = []
    for side in (height, width):
        at = torch.arange(side, device=device)
        bands.append((at >= side - window_size).long() + (at >= side - shift).long())
    region = 3 * bands[0][:, None] + bands[1][None, :]
    rows, columns = height // window_size, width // window_size
    windows = region.reshape(rows, window_size, columns, window_size).transpose(1, 2).reshape(rows * columns, -1)
    return windows[:, :, None] == windows[:, None, :]


class WindowAttention(nn.Module):
    """Multi-head attention in windows of w×w pixels, with a learnt bias for each relative position.

    The map is padded with zeros at the bottom and right to whole windows (so padded pixels have the projections'
    biases as key and value, and take part) and, where ``shift`` is set, rolled up and left; pixels that met only by
    rolling do not see each other. One fused attention takes bias and mask as one additive tensor.

    Args:
        channels: C.
        num_heads: Heads, of C / heads channels each.
        window_size: Side w of a window.
        shift: Pixels by which the windows are shifted, below w; True: half a window (rounded down).
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        attention_dropout: Of the attention weights, in training.
        dropout: Behind the last projection, in training.
        shift_single_window: Whether to shift also where the smaller side of the map is not larger than a window, as
            HiFuse, HiPerformer and Swin's detection code do. Swin's classification code does not.

    Raises:
        ValueError: Heads that do not divide the channels, a shift that is not below the window's side, or a dropout
            that is not a probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import TransformerBlock, WindowAttention
        >>> block = TransformerBlock(24, WindowAttention(24, num_heads=3, window_size=7, shift=True))
        >>> block(torch.rand(2, 10, 15, 24)).shape
        torch.Size([2, 10, 15, 24])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int = 7,
        *,
        shift: int | bool = False,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
        shift_single_window: bool = True,
    ) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {channels} channels; use a divisor")
        if window_size < 1:
            raise ValueError(f"window_size is {window_size}; it must be at least 1")
        shift = window_size // 2 if shift is True else int(shift)
        if not 0 <= shift < window_size:
            raise ValueError(f"shift is {shift}; it must be at least 0 and below the window's side, {window_size}")
        for name, rate in (("attention_dropout", attention_dropout), ("dropout", dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} is {rate}; it is a probability, at least 0 and below 1")
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = shift
        self.shift_single_window = shift_single_window
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        batch, height, width, channels = x.shape
        w, heads = self.window_size, self.num_heads
        shift = self.shift if self.shift_single_window or min(height, width) > w else 0
        down, right = -height % w, -width % w
        if down or right:
            x = F.pad(x, (0, 0, 0, right, 0, down))
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
        rows, columns = (height + down) // w, (width + right) // w
        qkv = self.qkv(x).reshape(batch, rows, w, columns, w, 3, heads, channels // heads)
        bias = self._bias(rows, columns, shift).to(qkv.dtype)  # one for all windows, or one for each of an image
        together = (batch * rows * columns * heads // len(bias), len(bias), w * w, channels // heads)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, *together)
        x = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias[None], dropout_p=self.attention_dropout if self.training else 0.0
        )
        x = x.reshape(batch, rows, columns, heads, w, w, channels // heads).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.reshape(batch, rows * w, columns * w, channels)
        if shift:
            x = torch.roll(x, (shift, shift), (1, 2))
        return F.dropout(self.proj(x[:, :height, :width]), self.dropout, self.training)

    def published_macs(self, inputs: tuple[Tensor], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: the linear layers and the softmax over each window."""
        batch, height, width, channels = inputs[0].shape
        w = self.window_size
        tokens = batch * -(-height // w) * -(-width // w) * w**2
        return tokens * (4 * channels**2 + self.num_heads * (3 * w**2 - 1))

    def _bias(self, rows: int, columns: int, shift: int) -> Tensor:
        """What is added to the scores, ``(heads or windows · heads, w², w²)``: positions; −inf where masked."""
        w, device = self.window_size, self.relative_position_bias_table.device
        bias = self.relative_position_bias_table[relative_position_index(w, device)].permute(2, 0, 1).contiguous()
        if not shift:
            return bias
        together = shifted_window_mask(rows * w, columns * w, w, shift, device)
        return torch.where(together[:, None], bias, -torch.inf).flatten(0, 1)

    def extra_repr(self) -> str:
        """Heads, window and shift."""
        return f"heads={self.num_heads}, window_size={self.window_size}, shift={self.shift}"
