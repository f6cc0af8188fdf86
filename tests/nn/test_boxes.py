"""Geometry of boxes, in closed form and against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from glocal.nn.boxes import anchor_grid, anchor_shapes, box_iou, clip_boxes, decode_boxes, encode_boxes, suppress


def some_boxes(n: int, seed: int, side: int = 40) -> Tensor:
    """Boxes of whole pixels; several of them overlap."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, side, (n, 2), generator=generator)
    return torch.cat([corner, corner + torch.randint(1, side // 2, (n, 2), generator=generator)], 1).float()


def painted(box: Tensor, side: int = 80) -> Tensor:
    x0, y0, x1, y1 = (int(v) for v in box)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_overlap_is_that_of_the_painted_pixels() -> None:
    one, other = some_boxes(6, 0), some_boxes(9, 1)
    iou = box_iou(one, other)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            both, either = painted(a) & painted(b), painted(a) | painted(b)
            assert iou[i, j] == pytest.approx(both.sum().item() / either.sum().item())
    assert torch.equal(iou, box_iou(other, one).T)


def test_overlap_of_a_box_with_itself_and_of_empty_ones() -> None:
    boxes = some_boxes(4, 2)
    assert torch.equal(box_iou(boxes, boxes).diagonal(), torch.ones(4))
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert box_iou(point, point).item() == 0
    assert box_iou(boxes[:0], boxes).shape == (0, 4)


def test_anchors_by_hand() -> None:
    """Base 16 (stride 4): area base² for each ratio; ratio = height / width."""
    shapes = anchor_shapes(16)
    assert shapes.shape == (9, 4)
    sides = shapes[:, 2:] - shapes[:, :2]
    areas = torch.tensor([16.0**2 * 2 ** (2 * s / 3) for s in range(3)] * 3)
    torch.testing.assert_close(sides.prod(1), areas)
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5] * 3 + [1.0] * 3 + [2.0] * 3))
    assert torch.equal(shapes[:, :2], -shapes[:, 2:])
    wide = 16 * math.sqrt(2) / 2
    torch.testing.assert_close(shapes[0], torch.tensor([-wide, -wide / 2, wide, wide / 2]))


def test_anchors_stand_in_the_middle_of_their_cells_in_the_order_of_the_head() -> None:
    shapes = anchor_shapes(8, [1, 2], [1])
    grid = anchor_grid(shapes, stride=4, height=2, width=3)
    middles = ((grid[:, :2] + grid[:, 2:]) / 2).unflatten(0, (2, 3, 2))
    for y in range(2):
        for x in range(3):
            assert middles[y, x].tolist() == [[4 * x + 2, 4 * y + 2]] * 2
    assert (grid[1] - grid[0]).tolist() == [-4, -4, 4, 4]


def test_offsets_and_boxes_are_inverse() -> None:
    boxes, anchors = some_boxes(50, 3), some_boxes(50, 4)
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-4, rtol=0)
    assert torch.equal(encode_boxes(anchors, anchors), torch.zeros(50, 4))
    # Twice as wide, half as high, a tenth of a side to the right.
    offsets = encode_boxes(torch.tensor([[-4.0, 2.5, 16, 7.5]]), torch.tensor([[0.0, 0, 10, 10]]))
    torch.testing.assert_close(offsets, torch.tensor([[0.1, 0, math.log(2), -math.log(2)]]))


def test_no_offset_makes_a_box_infinite() -> None:
    box = decode_boxes(torch.tensor([[0.0, 0, 1e4, -1e4]]), torch.tensor([[0.0, 0, 16, 16]]))
    torch.testing.assert_close(box, torch.tensor([[8.0 - 500, 8, 8 + 500, 8]]))


def test_clipping_keeps_to_the_image() -> None:
    boxes = clip_boxes(torch.tensor([[-5.0, -1, 3, 4], [1, 2, 90, 80]]), height=10, width=20)
    assert boxes.tolist() == [[0, 0, 3, 4], [1, 2, 20, 10]]


def brute_force(boxes: Tensor, scores: Tensor, classes: Tensor, iou: float) -> list[int]:
    """The definition: go through all boxes, best first; keep one if none that is kept overlaps it too much."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if all(box_iou(boxes[i : i + 1], boxes[j : j + 1]).item() <= iou for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_is_that_of_the_definition(iou: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = some_boxes(12, seed).repeat(5, 1) + torch.randint(0, 2, (60, 4), generator=generator)
    scores, classes = torch.rand(60, generator=generator), torch.randint(0, 3, (60,), generator=generator)
    expected = brute_force(boxes, scores, classes, iou)
    assert suppress(boxes, scores, classes, iou=iou).tolist() == expected
    assert suppress(boxes, scores, classes, iou=iou, limit=5).tolist() == expected[:5]
    assert len(expected) < 60


def test_nothing_to_suppress() -> None:
    assert suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)).shape == (0,)
