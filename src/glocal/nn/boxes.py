"""Boxes ``(x0, y0, x1, y1)`` in pixels: overlap, anchors, offsets from anchors, and suppression of duplicates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["anchor_grid", "anchor_shapes", "box_iou", "clip_boxes", "decode_boxes", "encode_boxes", "suppress"]

_LARGEST_GROWTH = math.log(1000 / 16)
"""Of the logarithm of a side over the anchor's, so that its exponential stays finite."""


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of every box of ``one`` with every box of ``other``; 0 where both are empty.

    Args:
        one: ``(n, 4)``.
        other: ``(m, 4)``.

    Returns:
        ``(n, m)`` in [0, 1].

    Example:
        >>> import torch
        >>> from glocal.nn.boxes import box_iou
        >>> box_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2], [5, 5, 6, 6]]))
        tensor([[0.3333, 0.0000]])
    """
    corner = torch.maximum(one[:, None, :2], other[None, :, :2])
    sides = (torch.minimum(one[:, None, 2:], other[None, :, 2:]) - corner).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(one)[:, None] + _areas(other)[None] - shared
    return shared / union.clamp(min=torch.finfo(shared.dtype).tiny)


def _areas(boxes: Tensor) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def anchor_shapes(
    base: float, scales: Sequence[float] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3)), ratios: Sequence[float] = (0.5, 1.0, 2.0)
) -> Tensor:
    """Boxes around the origin: of every ratio (height over width) one of area ``(base · scale)²`` for every scale.

    Args:
        base: Side of the square anchor of scale 1, in pixels.
        scales: Factors of the side.
        ratios: Heights over widths.

    Returns:
        ``(len(ratios) · len(scales), 4)``, the scales of a ratio together.

    Example:
        >>> from glocal.nn.boxes import anchor_shapes
        >>> anchor_shapes(32, scales=[1], ratios=[1, 4])
        tensor([[-16., -16.,  16.,  16.],
                [ -8., -32.,   8.,  32.]])
    """
    halves = [
        (base * scale / math.sqrt(ratio) / 2, base * scale * math.sqrt(ratio) / 2)
        for ratio in ratios
        for scale in scales
    ]
    return torch.tensor([(-width, -height, width, height) for width, height in halves])


def anchor_grid(shapes: Tensor, stride: int, height: int, width: int) -> Tensor:
    """The same boxes around the middle of every cell of a map.

    Args:
        shapes: ``(A, 4)`` around the origin, from :func:`anchor_shapes`.
        stride: Side of a cell in pixels.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        ``(height · width · A, 4)``, row by row; the boxes of a cell together.

    Example:
        >>> from glocal.nn.boxes import anchor_grid, anchor_shapes
        >>> anchor_grid(anchor_shapes(8, [1], [1]), stride=8, height=1, width=2)
        tensor([[ 0.,  0.,  8.,  8.],
                [ 8.,  0., 16.,  8.]])
    """
    y, x = ((torch.arange(side).to(shapes) + 0.5) * stride for side in (height, width))
    middles = torch.stack([x.repeat(height), y.repeat_interleave(width)] * 2, 1)
    return (middles[:, None] + shapes).flatten(0, 1)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes as offsets from anchors: of the middle, in sides of the anchor, and logarithms of ratios of sides.

    Args:
        boxes: ``(..., 4)`` of positive sides.
        anchors: As ``boxes``.

    Returns:
        ``(..., 4)``: ``(dx, dy, dw, dh)``; what :func:`decode_boxes` takes.

    Example:
        >>> import torch
        >>> from glocal.nn.boxes import encode_boxes
        >>> encode_boxes(torch.tensor([[5.0, 0, 15, 10]]), torch.tensor([[0.0, 0, 10, 10]]))
        tensor([[0.5000, 0.0000, 0.0000, 0.0000]])
    """
    sides, middles = _sides_and_middles(anchors)
    box_sides, box_middles = _sides_and_middles(boxes)
    return torch.cat([(box_middles - middles) / sides, (box_sides / sides).log()], -1)


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Inverse of :func:`encode_boxes`; no side becomes more than 62.5 times its anchor's.

    Args:
        offsets: ``(..., 4)``.
        anchors: As ``offsets``.

    Returns:
        Boxes ``(..., 4)``.

    Example:
        >>> import torch
        >>> from glocal.nn.boxes import decode_boxes
        >>> decode_boxes(torch.tensor([[0.5, 0, 0, 0]]), torch.tensor([[0.0, 0, 10, 10]]))
        tensor([[ 5.,  0., 15., 10.]])
    """
    sides, middles = _sides_and_middles(anchors)
    middles = middles + offsets[..., :2] * sides
    halves = sides * offsets[..., 2:].clamp(max=_LARGEST_GROWTH).exp() / 2
    return torch.cat([middles - halves, middles + halves], -1)


def _sides_and_middles(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return boxes[..., 2:] - boxes[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes ``(..., 4)``, with what lies outside an image of this size cut off.

    Example:
        >>> import torch
        >>> from glocal.nn.boxes import clip_boxes
        >>> clip_boxes(torch.tensor([[-5.0, 2, 30, 4]]), height=10, width=20)
        tensor([[ 0.,  2., 20.,  4.]])
    """
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def suppress(boxes: Tensor, scores: Tensor, classes: Tensor, *, iou: float = 0.5, limit: int = 100) -> Tensor:
    """Non-maximum suppression within every class: the best box stays, those that overlap it more than ``iou`` go.

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n,)``.
        classes: ``(n,)``; boxes of different classes leave each other alone.
        iou: Largest overlap of two boxes that stay.
        limit: How many boxes stay at most.

    Returns:
        ``(k,)`` indices of the boxes that stay, best first.

    Example:
        >>> import torch
        >>> from glocal.nn.boxes import suppress
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
        >>> suppress(boxes, torch.tensor([0.6, 0.9, 0.3]), torch.tensor([0, 0, 0]))
        tensor([1, 2])
    """
    ahead = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    while len(ahead) and len(kept) < limit:
        best, ahead = ahead[:1], ahead[1:]
        kept.append(best)
        rival = (box_iou(boxes[best], boxes[ahead])[0] > iou) & (classes[ahead] == classes[best])
        ahead = ahead[~rival]
    return torch.cat(kept) if kept else ahead
