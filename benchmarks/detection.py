"""Detection of boxes made from masks, with RetinaNet on any backbone, scored by the COCO tools.

    python benchmarks/detection.py
    python benchmarks/detection.py --data ../shared/data/busi --backbone lmnet_tiny --size 128 --epochs 20

Every connected part of a class in a mask is a box. Without ``--data`` phantoms are drawn: pubic symphysis and fetal
head. It is a demonstration on one core, not a benchmark of accuracy: printed are the average precision (mean over
overlaps 0.50 to 0.95) and AP50 on held-out cases after every few epochs; drawn are some of these cases, truth
in green, what was found in red.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage
from torch import Tensor

import glocal
from glocal.data import open_dataset
from glocal.data.cache import build_cache
from glocal.data.phantom import write_phantoms
from glocal.data.splits import make_splits
from glocal.files import atomic
from glocal.models.retinanet import Detections, LabelledBoxes, RetinaNet

SMALLEST_AREA = 16
"""Parts of fewer pixels are specks of the mask, and no boxes."""
THRESHOLD = 0.3
"""Lowest score that is drawn."""


@dataclass(frozen=True)
class Cases:
    """Images ``(N, C, H, W)`` in [0, 1], their boxes, and the classes of these."""

    images: Tensor
    targets: list[LabelledBoxes]
    classes: tuple[str, ...]


def boxes_of(mask: NDArray[Any]) -> LabelledBoxes:
    """A box around every connected part (8 neighbours) of every class of a mask ``(H, W)``; class 1 becomes 0."""
    boxes, labels = [], []
    for index in np.unique(mask[mask > 0]):
        parts, _ = ndimage.label(mask == index, np.ones((3, 3)))
        areas = np.bincount(parts.ravel())
        for part, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
            if areas[part] >= SMALLEST_AREA:
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                labels.append(int(index) - 1)
    return LabelledBoxes(torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(labels, dtype=torch.long))


def coco_scores(truth: Sequence[LabelledBoxes], found: Sequence[Detections], classes: int) -> Mapping[str, float]:
    """Average precision by the COCO tools: ``AP`` (mean over overlaps 0.50:0.95), ``AP50`` and ``AP75``, in [0, 1]."""

    def entries(many: Sequence[Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for image, one in enumerate(many):
            for i, (x0, y0, x1, y1) in enumerate(one.boxes.tolist()):
                row = {"image_id": image, "category_id": int(one.labels[i]), "bbox": [x0, y0, x1 - x0, y1 - y0]}
                score = {"score": float(one.scores[i])} if isinstance(one, Detections) else {}
                rows.append({**row, **score, "id": len(rows) + 1, "area": (x1 - x0) * (y1 - y0), "iscrowd": 0})
        return rows

    detections = entries(found)
    if not detections:
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):  # the tools tell of their progress
        reference = COCO()
        reference.dataset = {
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": i} for i in range(classes)],
            "annotations": entries(truth),
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("AP", "AP50", "AP75"), map(float, evaluation.stats[:3]), strict=True))


def load(data: Path, size: int, limit: int | None, seed: int) -> tuple[Cases, Cases]:
    """The training and the test part of a segmentation set, split by group, at ``size``."""
    dataset = open_dataset(data, "segmentation")
    splits = make_splits(dataset, seed, (0.75, 0.0, 0.25))
    parts = []
    for ids in (splits.train, splits.test):
        cases = dataset.select(ids)[:limit]
        cached = build_cache(dataset, cases, (size, size), 3, in_memory=True)
        items = [cached[i] for i in range(len(cached))]
        scale = 255.0 if items[0]["image"].dtype == torch.uint8 else 65535.0
        images = torch.stack([item["image"] for item in items]) / scale
        targets = [boxes_of(item["label"].numpy()) for item in items]
        parts.append(Cases(images, targets, tuple(dataset.classes[1:])))
    return parts[0], parts[1]


def flipped(images: Tensor, targets: Sequence[LabelledBoxes]) -> tuple[Tensor, list[LabelledBoxes]]:
    """Left and right exchanged."""
    width = images.shape[-1]
    mirrored = [
        torch.stack([width - t.boxes[:, 2], t.boxes[:, 1], width - t.boxes[:, 0], t.boxes[:, 3]], 1) for t in targets
    ]
    return images.flip(-1), [LabelledBoxes(boxes, t.labels) for boxes, t in zip(mirrored, targets, strict=True)]


def train_epoch(
    network: RetinaNet, optimizer: torch.optim.Optimizer, cases: Cases, batch: int, generator: torch.Generator
) -> float:
    """One pass in a random order, every other batch mirrored; the mean loss."""
    network.train()
    losses = []
    for i, chosen in enumerate(torch.randperm(len(cases.images), generator=generator).split(batch)):
        images, targets = cases.images[chosen], [cases.targets[j] for j in chosen.tolist()]
        if i % 2:
            images, targets = flipped(images, targets)
        loss = torch.stack(list(network.losses(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def find(network: RetinaNet, cases: Cases, batch: int) -> list[Detections]:
    """Detections of every case."""
    network.eval()
    return [found for images in cases.images.split(batch) for found in network.detect(images)]


def draw(cases: Cases, found: Sequence[Detections], path: Path, count: int = 6, zoom: int = 2) -> None:
    """The first cases in a row: truth in green, what was found in red with class and score."""
    tiles = []
    for image, truth, detections in list(zip(cases.images, cases.targets, found, strict=True))[:count]:
        pixels = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        pixels = pixels.resize((zoom * pixels.width, zoom * pixels.height))
        pen = ImageDraw.Draw(pixels)
        for box in truth.boxes.tolist():
            pen.rectangle([zoom * side for side in box], outline=(0, 200, 80), width=2)
        for box, label, score in zip(detections.boxes, detections.labels, detections.scores, strict=True):
            if score >= THRESHOLD:
                x0, y0, x1, y1 = (zoom * side for side in box.tolist())
                pen.rectangle([x0, y0, x1, y1], outline=(240, 60, 60), width=1)
                pen.text((x0 + 3, y1 - 12), f"{cases.classes[label]} {score:.2f}", fill=(255, 220, 120))
        tiles.append(np.asarray(pixels))
    with atomic(path) as temporary:
        Image.fromarray(np.concatenate(tiles, 1)).save(temporary, format="PNG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a segmentation set; default: phantoms are drawn")
    parser.add_argument("--backbone", default="pvt_nano_spm")
    parser.add_argument("--backbone-args", type=json.loads, default={}, help="JSON, such as '{\"drop_path\": 0.1}'")
    parser.add_argument("--channels", type=int, default=64, help="width of pyramid and head")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--limit", type=int, default=96, help="cases of a part at most")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("runs/detection.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_phantoms(Path(folder) / "phantoms", 96, options.seed, options.size)
        train, test = load(data, options.size, options.limit, options.seed)
    network = RetinaNet(
        options.backbone, len(train.classes), backbone_args=options.backbone_args, channels=options.channels
    )
    boxes = [sum(len(target.boxes) for target in part.targets) for part in (train, test)]
    print(f"{len(train.images)} cases with {boxes[0]} boxes to train on, {len(test.images)} with {boxes[1]} to test")
    print(f"RetinaNet on {options.backbone}: {sum(p.numel() for p in network.parameters()):,} parameters")
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.epochs + 1, pct_start=0.2)
    start = time.perf_counter()
    print("epoch   loss     AP   AP50   AP75   minutes")
    for epoch in range(options.epochs + 1):
        loss = train_epoch(network, optimizer, train, options.batch, generator) if epoch else float("nan")
        if epoch:
            schedule.step()
        if epoch % max(1, options.epochs // 6) and epoch != options.epochs:
            continue
        found = find(network, test, options.batch)
        scores = " ".join(f"{score:6.3f}" for score in coco_scores(test.targets, found, len(test.classes)).values())
        print(f"{epoch:5} {loss:6.3f} {scores} {(time.perf_counter() - start) / 60:9.1f}", flush=True)
    fast = glocal.deploy(network)
    draw(test, find(fast, test, options.batch), options.picture)
    print(f"picture {options.picture}")


if __name__ == "__main__":
    main()
