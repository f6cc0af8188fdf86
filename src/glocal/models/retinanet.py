"""RetinaNet on any backbone: detection of boxes (Lin et al., Focal Loss for Dense Object Detection, arXiv 1708.02002).

Boxes are ``(x0, y0, x1, y1)`` in pixels of the image, x to the right, y down; a box covers what lies between its sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.models.dense import make_backbone
from glocal.nn import FeaturePyramid, RetinaNetHead
from glocal.nn.boxes import anchor_grid, anchor_shapes, box_iou, clip_boxes, decode_boxes, encode_boxes, suppress

__all__ = ["Detections", "LabelledBoxes", "LevelOutput", "RetinaNet", "assign_anchors", "focal_loss"]

_BACKGROUND, _IGNORED = -1, -2
_ANCHOR_SIDE = 4
"""Side of the smallest square anchor, in strides of its level."""


@dataclass(frozen=True)
class LabelledBoxes:
    """What is to be found in one image: boxes ``(n, 4)`` and their classes ``(n,)``."""

    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first: boxes ``(n, 4)``, classes ``(n,)`` and scores ``(n,)`` in [0, 1]."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor


class LevelOutput(NamedTuple):
    """What the network says at the M anchors of one level of the pyramid."""

    logits: Tensor
    """``(N, M, num_classes)``; a sigmoid makes scores of them."""
    offsets: Tensor
    """``(N, M, 4)`` from the anchors, as :func:`~glocal.nn.boxes.encode_boxes` gives them."""
    anchors: Tensor
    """``(M, 4)``."""


class RetinaNet(nn.Module):
    """A feature pyramid on a backbone, and a head that tells classes and a box at nine anchors around every cell.

    The maps of the backbone from stride 8 on are taken, and two coarser levels are added: with strides 4 to 32, five
    levels of strides 8 to 128. Nine anchors a cell: areas ``(4 · stride · {1, 2^⅓, 2^⅔})²``, heights half, once and
    twice the width.

    Args:
        backbone: A registered network whose maps have strides that double.
        num_classes: Classes of boxes; background is none of them.
        in_channels: Channels of the image.
        backbone_args: Options of the backbone.
        channels: Width of pyramid and head.
        min_stride: Finer maps of the backbone are left out. A lower one finds smaller boxes, and takes longer.

    Raises:
        ValueError: The backbone is unknown, has not these options, or gives no such pyramid.

    Example:
        >>> import torch
        >>> from glocal.models.retinanet import LabelledBoxes, RetinaNet
        >>> network = RetinaNet("lmnet_tiny", num_classes=2, channels=16)
        >>> images = torch.rand(1, 3, 70, 90)
        >>> target = LabelledBoxes(torch.tensor([[10.0, 20.0, 50.0, 60.0]]), torch.tensor([1]))
        >>> sorted(network.losses(images, [target]))
        ['boxes', 'classes']
        >>> found = network.eval().detect(images)[0]
        >>> found.boxes.shape[1]
        4
    """

    def __init__(
        self,
        backbone: str = "pvt_tiny_spm",
        num_classes: int = 80,
        *,
        in_channels: int = 3,
        backbone_args: Mapping[str, Any] | None = None,
        channels: int = 256,
        min_stride: int = 8,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.backbone = make_backbone(backbone, backbone_args, in_channels, min_stride=min_stride)
        info = self.backbone.feature_info
        self.strides = [f.stride for f in info] + [info[-1].stride * 2, info[-1].stride * 4]
        self.neck = FeaturePyramid([f.channels for f in info], channels, extra="conv")
        self.head = RetinaNetHead(channels, num_classes)

    def forward(self, images: Tensor) -> list[LevelOutput]:
        """``(N, in_channels, H, W)`` -> what is said at the anchors, a level each, finest first; any H and W."""
        outputs = []
        for x, stride in zip(self.neck(self.backbone(images)), self.strides, strict=True):
            shapes = anchor_shapes(_ANCHOR_SIDE * stride).to(x.device)
            logits, offsets = self.head(x)
            outputs.append(LevelOutput(logits, offsets, anchor_grid(shapes, stride, *x.shape[-2:])))
        return outputs

    def losses(self, images: Tensor, targets: Sequence[LabelledBoxes]) -> dict[str, Tensor]:
        """Losses whose sum is to be lowered: ``classes`` (focal) and ``boxes`` (L1 of the offsets).

        Both are summed over the batch and divided by its anchors that have a box.

        Args:
            images: ``(N, in_channels, H, W)``.
            targets: One an image; an image may have no box.

        Raises:
            ValueError: Not one target an image, a box without area, or a class that is none.
        """
        if len(targets) != len(images):
            raise ValueError(f"{len(targets)} targets for {len(images)} images; give one an image, empty where none is")
        levels = self(images)
        logits, offsets = (torch.cat([level[i] for level in levels], 1).float() for i in (0, 1))
        anchors = torch.cat([level.anchors for level in levels])
        classes, boxes = [], []
        matched = 0
        for i, target in enumerate(targets):
            self._check(target, i)
            chosen = assign_anchors(anchors, target.boxes)
            positive = chosen >= 0
            wanted = torch.zeros_like(logits[i])
            wanted[positive, target.labels[chosen[positive]]] = 1
            counted = chosen != _IGNORED
            classes.append(focal_loss(logits[i][counted], wanted[counted]))
            goal = encode_boxes(target.boxes[chosen[positive]].float(), anchors[positive])
            boxes.append(F.l1_loss(offsets[i][positive], goal, reduction="sum"))
            matched += int(positive.sum())
        share = 1 / max(1, matched)
        return {"classes": torch.stack(classes).sum() * share, "boxes": torch.stack(boxes).sum() * share}

    def _check(self, target: LabelledBoxes, index: int) -> None:
        boxes, labels = target.boxes, target.labels
        if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
            raise ValueError(
                f"target {index} has boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)}; give (n, 4) and (n,)"
            )
        if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
            raise ValueError(f"target {index} has a box without area; boxes are (x0, y0, x1, y1) with x0 < x1, y0 < y1")
        if not bool(((labels >= 0) & (labels < self.num_classes)).all()):
            raise ValueError(f"target {index} has a class outside 0 to {self.num_classes - 1}; background has no box")

    @torch.no_grad()
    def detect(
        self, images: Tensor, *, min_score: float = 0.05, iou: float = 0.5, limit: int = 100, candidates: int = 1000
    ) -> list[Detections]:
        """Boxes found in every image; call it in eval mode.

        Args:
            images: ``(N, in_channels, H, W)``.
            min_score: Lowest score.
            iou: Largest overlap of two boxes of a class; of those that overlap more, the best stays.
            limit: Boxes an image at most.
            candidates: Boxes a level that are looked at, the best ones.
        """
        height, width = images.shape[-2:]
        levels = self(images)
        found = []
        for i in range(len(images)):
            kept = [self._best(level, i, min_score, candidates) for level in levels]
            boxes, labels, scores = (torch.cat(parts) for parts in zip(*kept, strict=True))
            boxes = clip_boxes(boxes, height, width)
            stay = suppress(boxes, scores, labels, iou=iou, limit=limit)
            found.append(Detections(boxes[stay], labels[stay], scores[stay]))
        return found

    def _best(self, level: LevelOutput, i: int, min_score: float, candidates: int) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, classes and scores of the best of one image at one level; a box may come with several classes."""
        scores, where = level.logits[i].float().sigmoid().flatten().topk(min(candidates, level.logits[i].numel()))
        where, scores = where[scores > min_score], scores[scores > min_score]
        anchor = where // self.num_classes
        boxes = decode_boxes(level.offsets[i][anchor].float(), level.anchors[anchor])
        return boxes, where % self.num_classes, scores


def assign_anchors(anchors: Tensor, boxes: Tensor, *, positive: float = 0.5, negative: float = 0.4) -> Tensor:
    """Which box every anchor has to find.

    An anchor has the box that it overlaps most if that is at least ``positive``, and is background below ``negative``.
    The anchors that overlap a box most have it in any case, so that no box goes without.

    Args:
        anchors: ``(M, 4)``.
        boxes: ``(n, 4)``.
        positive: Intersection over union.
        negative: Likewise.

    Returns:
        ``(M,)`` int64: index of the box; -1: background; -2: in between, not counted.
    """
    if not len(boxes):
        return torch.full((len(anchors),), _BACKGROUND, device=anchors.device)
    overlap = box_iou(anchors, boxes.to(anchors))
    best, chosen = overlap.max(1)
    chosen[best < positive] = _IGNORED
    chosen[best < negative] = _BACKGROUND
    highest = overlap.max(0).values
    anchor, box = ((overlap == highest) & (highest > 0)).nonzero(as_tuple=True)
    chosen[anchor] = box
    return chosen


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss, summed: ``−α_t (1 − p_t)^γ log p_t`` (arXiv 1708.02002, equation 5).

    Args:
        logits: Any shape.
        targets: 0 and 1, of the same shape.
        alpha: Weight of the ones; the zeros have ``1 − alpha``.
        gamma: How much less what is already right counts.
    """
    right = torch.where(targets > 0, logits, -logits)
    weight = torch.where(targets > 0, alpha, 1 - alpha) * torch.sigmoid(-right) ** gamma
    return -(weight * F.logsigmoid(right)).sum()
