"""Neighbourhood attention: every pixel attends to the k × k window around it (Hassani et al., CVPR 2023).

Near the border the window is shifted inwards, so that every query has exactly k² keys. Softmax does not mind the order
of its keys; so instead of shifting windows the keys are padded: with r = k // 2, row −m of the padded map is row k − m,
and row H − 1 + m is row H − 1 − (k − m). The plain window around a border pixel in that map holds exactly the pixels of
its shifted window, in another order. Hence one small copy, and every window is a plain slice.

Legend: N batch, H W map, h heads, d channels of a head, T² queries of a tile, L² keys of its halo, t tiles.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.global_attention import head_width

__all__ = ["NeighborhoodAttention2d", "neighborhood_attention"]

_TILE = 8
"""Side of a query tile in the tiled form."""


def neighborhood_attention(
    q: Tensor, k: Tensor, v: Tensor, kernel_size: int, rel_pos_bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Attention of every pixel to the ``kernel_size`` × ``kernel_size`` window around it, inwards at borders.

    Two forms compute it, and the sizes decide which is used, as measured by ``benchmarks/neighborhood_attention.py``.
    ``kernel_size`` 3, or narrow heads (``kernel_size · head_dim`` up to 32): one pass over the map for each offset in
    the window. Otherwise tiles of queries share a halo of keys and go through fused scaled-dot-product attention, whose
    mask leaves each query its window.

    Args:
        q: Queries ``(N, H, W, heads, head_dim)``.
        k: Keys, of the same shape.
        v: Values, of the same shape.
        kernel_size: Side of the window, odd.
        rel_pos_bias: ``(heads, 2·kernel_size − 1, 2·kernel_size − 1)``, added to the logit of a query at (i, j) and a
            key at (y, x) from entry ``(y − i + kernel_size − 1, x − j + kernel_size − 1)``.
        scale: Factor of the logits; default ``head_dim ** -0.5``.

    Returns:
        ``(N, H, W, heads, head_dim)``.

    Raises:
        ValueError: The window is even or larger than the map.

    Example:
        >>> import torch
        >>> from glocal.nn import neighborhood_attention
        >>> q, k, v = torch.rand(3, 1, 14, 9, 2, 32).unbind(0)
        >>> neighborhood_attention(q, k, v, kernel_size=7).shape
        torch.Size([1, 14, 9, 2, 32])
    """
    _check_window(kernel_size)
    if min(q.shape[1:3]) < kernel_size:
        raise ValueError(
            f"the {kernel_size}x{kernel_size} window is larger than the map {q.shape[1]}x{q.shape[2]}; "
            "use a smaller kernel_size, or NeighborhoodAttention2d, which pads the map"
        )
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    form = _shifted if _by_shifts(kernel_size, q.shape[-1]) else _tiled
    return form(q, k, v, kernel_size, rel_pos_bias, scale)


def _check_window(kernel_size: int) -> None:
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}; a window with a centre needs an odd one, such as 3 or 7")


def _by_shifts(kernel_size: int, head_dim: int) -> bool:
    return kernel_size <= 3 or kernel_size * head_dim <= 32


def _extend(x: Tensor, dim: int, kernel_size: int) -> Tensor:
    """Pad ``dim`` by k // 2 at both ends so that plain windows hold what shifted windows hold (see the module)."""
    radius, size = kernel_size // 2, x.shape[dim]
    if radius == 0:
        return x
    before = x.narrow(dim, kernel_size - radius, radius)
    after = x.narrow(dim, size - kernel_size, radius)
    return torch.cat([before, x, after], dim)


def _offsets(size: int, kernel_size: int, device: torch.device) -> Tensor:
    """``(size, k)``: index into the table of relative positions of the a-th key in the padded window of query i."""
    i = torch.arange(size, device=device)[:, None]
    key = i + torch.arange(kernel_size, device=device) - kernel_size // 2
    key = torch.where(key < 0, key + kernel_size, torch.where(key >= size, key - kernel_size, key))
    return key - i + kernel_size - 1


def _shifted(q: Tensor, k: Tensor, v: Tensor, kernel_size: int, rel_pos_bias: Tensor | None, scale: float) -> Tensor:
    """One pass over the map for each offset in the window, strip by strip of rows that fits the cache."""
    height, width, heads = q.shape[1:4]
    q_NhdHW, k_NhdHW, v_NhdHW = (t.permute(0, 3, 4, 1, 2) for t in (q, k, v))
    k_NhdHW, v_NhdHW = (_extend(t, 3, kernel_size) for t in (k_NhdHW, v_NhdHW))
    bias = None if rel_pos_bias is None else _bias_by_offset(rel_pos_bias, height, width, kernel_size)
    strips = []
    rows = _strip_rows(height, q.shape[0] * heads * width * kernel_size**2, q.device)
    for top in range(0, height, rows):
        n = min(rows, height - top)
        halo = n + kernel_size - 1
        q_strip, k_strip, v_strip = (
            t.narrow(3, top, size) for t, size in ((q_NhdHW, n), (k_NhdHW, halo), (v_NhdHW, halo))
        )
        bias_strip = None if bias is None else bias[:, :, top : top + n]
        strips.append(_strip(q_strip * scale, k_strip, v_strip, kernel_size, bias_strip))
    out = strips[0] if len(strips) == 1 else torch.cat(strips, 3)
    return out.permute(0, 3, 4, 1, 2)


def _strip_rows(height: int, logits_a_row: int, device: torch.device) -> int:
    """Rows of a strip: all where kernels are fused or memory is fast; on the CPU so few that the logits take 2 MB."""
    if device.type != "cpu" or torch.compiler.is_compiling():
        return height
    return max(8, 2**19 // max(1, logits_a_row))


def _strip(q: Tensor, k: Tensor, v: Tensor, kernel_size: int, bias: Tensor | None) -> Tensor:
    """Queries ``(N, h, d, H, W)``, keys and values with padded rows; logits along an outer axis, fast for softmax."""
    height, width = q.shape[3:]
    k, v = (_extend(t, 4, kernel_size) for t in (k, v))
    window = [(a, b) for a in range(kernel_size) for b in range(kernel_size)]
    logits = torch.stack([_dot(q, k[..., a : a + height, b : b + width]) for a, b in window], 1)  # (N, k², h, H, W)
    if bias is not None:
        logits = logits + bias
    p = logits.softmax(1).unsqueeze(3).unbind(1)
    out = p[0] * v[..., :height, :width]
    for p_NhHW, (a, b) in zip(p[1:], window[1:], strict=True):
        out = torch.addcmul(out, p_NhHW, v[..., a : a + height, b : b + width])
    return out


def _dot(q: Tensor, k: Tensor) -> Tensor:
    """``(N, h, d, H, W)`` twice -> ``(N, h, H, W)``."""
    return (q * k).squeeze(2) if q.shape[2] == 1 else (q * k).sum(2)


def _bias_by_offset(rel_pos_bias: Tensor, height: int, width: int, kernel_size: int) -> Tensor:
    """``(k², h, H, W)``: the bias of each key of each query, keys in the order of the padded window."""
    rows, columns = (_offsets(size, kernel_size, rel_pos_bias.device).T.flatten() for size in (height, width))
    table = rel_pos_bias.index_select(1, rows).index_select(2, columns)
    table = table.reshape(-1, kernel_size, height, kernel_size, width)
    return table.permute(1, 3, 0, 2, 4).flatten(0, 1)


def _tiled(q: Tensor, k: Tensor, v: Tensor, kernel_size: int, rel_pos_bias: Tensor | None, scale: float) -> Tensor:
    """Tiles of T × T queries attend to halos of (T + k − 1)² keys; one mask, the same for all, leaves the windows."""
    batch, height, width, heads, channels = q.shape
    tile = _TILE
    down, right = -height % tile, -width % tile
    halo = tile + kernel_size - 1
    k, v = (_extend(_extend(t, 1, kernel_size), 2, kernel_size) for t in (k, v))
    if down or right:
        q, k, v = (F.pad(t, (0, 0, 0, 0, 0, right, 0, down)) for t in (q, k, v))
    rows, columns = (height + down) // tile, (width + right) // tile
    q = q.reshape(batch, rows, tile, columns, tile, heads, channels)
    q_thQd = q.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, heads, tile * tile, channels)
    k_thKd, v_thKd = (
        t.unfold(1, halo, tile).unfold(2, halo, tile).permute(0, 1, 2, 3, 5, 6, 4).reshape(-1, heads, halo**2, channels)
        for t in (k, v)
    )
    mask = _window_mask(tile, kernel_size, q.device, q.dtype)
    if rel_pos_bias is not None:
        bias = _bias_by_tile(rel_pos_bias, (height, width), (rows, columns), tile, kernel_size)
        mask = (mask + bias).repeat(batch, 1, 1, 1)
    out = F.scaled_dot_product_attention(q_thQd, k_thKd, v_thKd, attn_mask=mask, scale=scale)
    out = out.reshape(batch, rows, columns, heads, tile, tile, channels).permute(0, 1, 4, 2, 5, 3, 6)
    return out.reshape(batch, height + down, width + right, heads, channels)[:, :height, :width]


def _build_mask(tile: int, kernel_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    query = torch.arange(tile, device=device)[:, None]
    key = torch.arange(tile + kernel_size - 1, device=device)
    inside = (key >= query) & (key < query + kernel_size)  # (T, L)
    both = inside[:, None, :, None] & inside[None, :, None, :]
    mask = torch.zeros(both.shape, device=device, dtype=dtype).masked_fill(~both, float("-inf"))
    return mask.flatten(2).flatten(0, 1)


@functools.lru_cache(maxsize=16)
def _cached_mask(tile: int, kernel_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not be used in training later
        return _build_mask(tile, kernel_size, device, dtype)


def _window_mask(tile: int, kernel_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(T², L²)``, 0 in the window of the query and −∞ elsewhere."""
    if torch.compiler.is_compiling():  # the tensors of a trace must not outlive it
        return _build_mask(tile, kernel_size, device, dtype)
    return _cached_mask(tile, kernel_size, device, dtype)


def _bias_by_tile(
    rel_pos_bias: Tensor, size: tuple[int, int], tiles: tuple[int, int], tile: int, kernel_size: int
) -> Tensor:
    """``(t, h, T², L²)``: the bias of every pair of a query and a key of its halo; outside the window it is void."""
    index = []
    for length, count in zip(size, tiles, strict=True):
        query = torch.arange(count * tile, device=rel_pos_bias.device).view(count, tile, 1)
        key = torch.arange(tile + kernel_size - 1, device=rel_pos_bias.device) - kernel_size // 2
        key = key + query[:, :1]
        key = torch.where(key < 0, key + kernel_size, torch.where(key >= length, key - kernel_size, key))
        index.append((key - query + kernel_size - 1).clamp(0, 2 * kernel_size - 2))
    rows, columns = index
    table = rel_pos_bias.index_select(1, rows.flatten()).index_select(2, columns.flatten())
    table = table.reshape(-1, *rows.shape, *columns.shape)
    return table.permute(1, 4, 0, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(0, 1)


class NeighborhoodAttention2d(nn.Module):
    """Multi-head neighbourhood attention on a channels-last map, with projections before and behind.

    A map smaller than the window is padded with zeros at the bottom and right before the projection and the result
    cropped, as NATTEN up to 0.15 does.

    Args:
        channels: Channels of the map.
        num_heads: Heads; must divide ``channels``.
        kernel_size: Side of the window, odd.
        rel_pos_bias: Learn a bias for each head and offset: ``rpb (heads, 2·kernel_size − 1, 2·kernel_size − 1)``.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``, or the window is even.

    Example:
        >>> import torch
        >>> from glocal.nn import NeighborhoodAttention2d
        >>> attention = NeighborhoodAttention2d(24, num_heads=12, kernel_size=3)
        >>> attention(torch.rand(1, 9, 13, 24)).shape
        torch.Size([1, 9, 13, 24])
    """

    def __init__(self, channels: int, num_heads: int, kernel_size: int = 3, *, rel_pos_bias: bool = False) -> None:
        super().__init__()
        _check_window(kernel_size)
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.by_shifts = _by_shifts(kernel_size, head_width(channels, num_heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rpb: nn.Parameter | None = None
        if rel_pos_bias:
            side = 2 * kernel_size - 1
            self.rpb = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_heads, side, side), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        height, width = x.shape[1:3]
        down, right = max(0, self.kernel_size - height), max(0, self.kernel_size - width)
        if down or right:
            x = F.pad(x, (0, 0, 0, right, 0, down))
        q, k, v = self._project(x).reshape(*x.shape[:3], 3, self.num_heads, x.shape[3] // self.num_heads).unbind(3)
        out = neighborhood_attention(q, k, v, self.kernel_size, self.rpb)
        projected: Tensor = self.proj(out[:, :height, :width].flatten(3))
        return projected

    def _project(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, 3C)``, in memory channels first where the attention is computed so."""
        if not self.by_shifts:
            qkv: Tensor = self.qkv(x)
            return qkv
        x_NCL = x.flatten(1, 2).transpose(1, 2)
        weight = self.qkv.weight.expand(x.shape[0], -1, -1)
        qkv_NCL = torch.baddbmm(self.qkv.bias[None, :, None], weight, x_NCL)
        return qkv_NCL.reshape(x.shape[0], self.qkv.out_features, *x.shape[1:3]).permute(0, 2, 3, 1)

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: the two linear layers; it does not see the attention."""
        return output.numel() * 4 * output.shape[-1]

    def true_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds of the linear layers and of k² keys a query, whichever form computes them."""
        return output.numel() * (4 * output.shape[-1] + 2 * self.kernel_size**2)
