"""RetinaNet: its sizes, its losses in closed form, and that it learns boxes made from masks."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import glocal
from glocal.errors import UserError
from glocal.models.retinanet import (
    Detections,
    LabelledBoxes,
    LevelOutput,
    RetinaNet,
    assign_anchors,
    focal_loss,
)
from glocal.nn.boxes import box_iou, encode_boxes

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "detection.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for package in ("pycocotools", "PIL", "filelock"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("detection_benchmark", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def small(**options) -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet("lmnet_tiny", **{"num_classes": 3, "channels": 16, **options}).eval()


NOTHING = LabelledBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(
    ("variant", "millions"), [("tiny", "23.0"), ("small", "34.2"), ("medium", "53.9"), ("large", "71.1")]
)
def test_the_published_sizes_have_the_published_counts(variant: str, millions: str) -> None:
    with torch.device("meta"):
        plain, merging = RetinaNet(f"pvt_{variant}"), RetinaNet(f"pvt_{variant}_spm")
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, merging)]
    assert f"{counts[0] / 1e6:.1f}" == millions
    assert counts[1] - counts[0] == 800_192
    assert sum(p.numel() for p in plain.head.parameters()) == 6_463_220
    assert plain.strides == [8, 16, 32, 64, 128]


@pytest.mark.parametrize("size", [(64, 64), (37, 90), (1, 1), (130, 70)], ids=str)
def test_any_size_has_nine_anchors_around_every_cell(size: tuple[int, int]) -> None:
    network = small()
    assert network.strides == [8, 16, 32, 64]
    with torch.inference_mode():
        levels = network(torch.rand(2, 3, *size))
    for level, stride in zip(levels, network.strides, strict=True):
        cells = math.ceil(size[0] / stride) * math.ceil(size[1] / stride)
        assert level.logits.shape == (2, 9 * cells, 3)
        assert level.offsets.shape == (2, 9 * cells, 4)
        assert level.anchors.shape == (9 * cells, 4)
        middles = (level.anchors[:, :2] + level.anchors[:, 2:]) / 2
        assert bool((middles > 0).all())
        assert bool((middles < torch.tensor([size[1] + stride, size[0] + stride])).all())


def test_an_anchor_has_the_box_it_overlaps_most() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 140]])
    anchors = torch.tensor(
        [
            [0.0, 0, 10, 10],  # the first box itself
            [0, 0, 10, 20],  # overlaps half of itself: 0.5, just enough
            [0, 0, 10, 22],  # 0.4545: between
            [0, 0, 10, 26],  # 0.385: background
            [100, 100, 110, 110],  # 0.25, but no other anchor overlaps the second box more
            [100, 100, 110, 109],
            [500, 500, 510, 510],
        ]
    )
    assert assign_anchors(anchors, boxes).tolist() == [0, 0, -2, -1, 1, -1, -1]
    assert assign_anchors(anchors, boxes[:0]).tolist() == [-1] * 7
    assert assign_anchors(anchors[-1:], boxes).tolist() == [-1]


def test_focal_loss_in_closed_form() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5])
    targets = torch.tensor([1.0, 0.0, 1.0])
    p = logits.sigmoid()
    expected = (
        -0.25 * (1 - p[0]) ** 2 * p[0].log() - 0.75 * p[1] ** 2 * (1 - p[1]).log() - 0.25 * (1 - p[2]) ** 2 * p[2].log()
    )
    torch.testing.assert_close(focal_loss(logits, targets), expected)
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    torch.testing.assert_close(focal_loss(logits, targets, alpha=0.5, gamma=0), plain / 2)
    assert math.isfinite(focal_loss(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 1.0])).item())


def test_losses_are_those_of_the_assigned_anchors() -> None:
    network = small()
    images = torch.rand(2, 3, 64, 64)
    target = LabelledBoxes(torch.tensor([[8.0, 8, 40, 40], [30, 20, 60, 62]]), torch.tensor([2, 0]))
    with torch.inference_mode():
        losses = network.losses(images, [target, NOTHING])
        levels = network(images)
    logits, offsets = (torch.cat([level[i] for level in levels], 1) for i in (0, 1))
    anchors = torch.cat([level.anchors for level in levels])
    chosen = assign_anchors(anchors, target.boxes)
    positive = chosen >= 0
    assert positive.sum() > 0
    goal = encode_boxes(target.boxes[chosen[positive]], anchors[positive])
    expected = (offsets[0][positive] - goal).abs().sum() / positive.sum()
    torch.testing.assert_close(losses["boxes"], expected)
    wanted = torch.zeros_like(logits)
    wanted[0][positive] = F.one_hot(target.labels[chosen[positive]], 3).float()
    counted = torch.stack([chosen != -2, torch.ones_like(positive)])
    torch.testing.assert_close(losses["classes"], focal_loss(logits[counted], wanted[counted]) / positive.sum())


def test_images_without_boxes_teach_background() -> None:
    network = small()
    losses = network.losses(torch.rand(1, 3, 40, 40), [NOTHING])
    assert losses["boxes"].item() == 0
    assert losses["classes"].item() > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ([], "0 targets for 1 images"),
        ([LabelledBoxes(torch.zeros(1, 4), torch.tensor([0]))], "target 0 has a box without area"),
        ([LabelledBoxes(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([3]))], "class outside 0 to 2"),
        ([LabelledBoxes(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([0, 1]))], r"boxes \(1, 4\) and labels \(2,\)"),
    ],
)
def test_wrong_targets_are_told(targets: list[LabelledBoxes], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        small().losses(torch.rand(1, 3, 32, 32), targets)


def test_wrong_backbones_are_told() -> None:
    with pytest.raises(UserError, match="no network 'resnet'"):
        RetinaNet("resnet")
    with pytest.raises(ValueError, match="no map of stride 64 or more"):
        small(min_stride=64)
    with pytest.raises(ValueError, match="at least 1"):
        small(num_classes=0)


def test_detections_are_what_the_outputs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two anchors of one class on one spot, one of another class, one too faint, one that sticks out."""
    network = small()
    anchors = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40], [20, 20, 60, 60]])
    scores = torch.full((5, 3), 1e-6)
    scores[0, 1], scores[1, 1], scores[2, 2], scores[3, 0], scores[4, 0] = 0.6, 0.9, 0.5, 0.04, 0.3
    level = LevelOutput(scores.logit()[None], torch.zeros(1, 5, 4), anchors)
    monkeypatch.setattr(network, "forward", lambda images: [level])
    images = torch.zeros(1, 3, 48, 50)
    (found,) = network.detect(images)
    assert found.labels.tolist() == [1, 2, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5, 0.3]))
    assert found.boxes.tolist() == [[1, 0, 11, 10], [0, 0, 10, 10], [20, 20, 50, 48]]
    assert len(network.detect(images, limit=1)[0].boxes) == 1
    assert len(network.detect(images, min_score=0.03)[0].boxes) == 4
    assert len(network.detect(images, iou=0.95)[0].boxes) == 4
    assert len(network.detect(images, candidates=2)[0].boxes) == 1


def test_the_deployed_detector_finds_the_same() -> None:
    network, images = small(), torch.rand(1, 3, 64, 48)
    fast = glocal.deploy(network)
    with torch.inference_mode():
        for one, other in zip(fast(images), network(images), strict=True):
            torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)


def test_boxes_around_the_parts_of_a_mask(script: ModuleType) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[2:8, 3:9] = 1
    mask[20:26, 30:40] = 1
    mask[10:19, 0:5] = 2
    mask[0, 39] = 2  # a speck
    target = script.boxes_of(mask)
    assert target.boxes.tolist() == [[3, 2, 9, 8], [30, 20, 40, 26], [0, 10, 5, 19]]
    assert target.labels.tolist() == [0, 0, 1]
    assert script.boxes_of(np.zeros((5, 5), np.uint8)).boxes.shape == (0, 4)


def test_mirrored_boxes_cover_the_mirrored_mask(script: ModuleType) -> None:
    mask = np.zeros((1, 20, 31), np.uint8)
    mask[0, 3:9, 4:15] = 1
    images, (target,) = script.flipped(torch.from_numpy(mask)[None].float(), [script.boxes_of(mask[0])])
    assert torch.equal(target.boxes, script.boxes_of(images[0, 0].numpy().astype(np.uint8)).boxes)


def test_average_precision_where_it_is_known(script: ModuleType) -> None:
    boxes, labels = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]), torch.tensor([0, 1])
    truth = [LabelledBoxes(boxes, labels), LabelledBoxes(boxes[:1], labels[:1])]
    perfect = [Detections(t.boxes, t.labels, torch.ones(len(t.boxes))) for t in truth]
    assert script.coco_scores(truth, perfect, 2) == {"AP": 1.0, "AP50": 1.0, "AP75": 1.0}
    shifted = [Detections(p.boxes + torch.tensor([0, 0, 0, 4.0]), p.labels, p.scores) for p in perfect[:1]] + perfect[
        1:
    ]
    assert box_iou(shifted[0].boxes[:1], boxes[:1]).item() == pytest.approx(10 / 14)
    scores = script.coco_scores(truth, shifted, 2)
    assert scores["AP50"] == 1.0
    assert 0.5 < scores["AP"] < 1.0
    none = [Detections(t.boxes[:0], t.labels[:0], torch.zeros(0)) for t in truth]
    assert script.coco_scores(truth, none, 2)["AP"] == 0.0


@pytest.mark.slow
def test_two_images_are_learned_by_heart(script: ModuleType) -> None:
    """Trained from nothing on masks of two classes, until the COCO tools find every box at half its overlap."""
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[0, 8:40, 4:30], masks[0, 36:60, 36:60] = 1, 2
    masks[1, 20:50, 26:60], masks[1, 2:26, 2:24] = 1, 2
    torch.manual_seed(0)
    images = torch.from_numpy(masks)[:, None].repeat(1, 3, 1, 1) / 2 + 0.1 * torch.rand(2, 3, 64, 64)
    targets = [script.boxes_of(mask) for mask in masks]
    network = RetinaNet("pvt_nano", 2, channels=32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(160):
        loss = sum(network.losses(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    scores = script.coco_scores(targets, network.eval().detect(images), 2)
    assert scores["AP50"] > 0.95
    assert scores["AP"] > 0.6
