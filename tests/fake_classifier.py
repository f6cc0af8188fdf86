"""A classifier of colours, small enough to be computed by hand: a network for tests, known while they run alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from glocal.data import open_dataset
from glocal.models import registry
from glocal.models.network import FeatureInfo, Network
from glocal.models.weights import Preprocessing, save_model

NAME = "fake_classifier"
CLASSES = ("red", "green", "blue")


class FakeClassifier(Network):
    """Mean of each colour at half size -> logits; the features are positive, as after a ReLU."""

    def __init__(self, in_channels: int = 3, num_classes: int = 3) -> None:
        super().__init__()
        self.in_channels, self.num_classes, self.grid = in_channels, num_classes, 4
        self.feature_info = (FeatureInfo(in_channels, 2), FeatureInfo(in_channels, 4))
        self.scale = nn.Parameter(torch.ones(in_channels, 1, 1))
        self.head = nn.Linear(in_channels, num_classes)
        with torch.no_grad():
            self.head.weight.copy_(4 * torch.eye(num_classes, in_channels))
            self.head.bias.zero_()

    def encode(self, x: Tensor) -> list[Tensor]:
        """Maps at 1/2 and 1/4."""
        fine = nn.functional.avg_pool2d(x * self.scale, 2).relu()
        return [fine, nn.functional.avg_pool2d(fine, 2)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Linear in the mean of the last map."""
        return self.head(features[-1].mean((-2, -1)))

    def reset_head(self, num_classes: int) -> None:
        """Another number of classes."""
        self.num_classes, self.head = num_classes, nn.Linear(self.in_channels, num_classes)


INFO = registry.ModelInfo(
    name=NAME,
    family="fake",
    task="classification",
    summary="For tests.",
    input_size=(16, 16),
    in_channels=3,
    num_classes=3,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    parameters=15,
    multiply_adds=0,
    feature_channels=(3, 3),
    feature_strides=(2, 4),
    paper=registry.Paper("none", 2000, "https://example.org"),
)


def make_known(monkeypatch) -> None:
    """Register the network for one test."""
    entries = {**registry._all(), NAME: registry._Entry(INFO, FakeClassifier)}
    monkeypatch.setattr(registry, "_entries", entries)


def save(folder: Path, classes=CLASSES, **options) -> Path:
    """A model folder of the network, which must be known."""
    save_model(
        folder,
        FakeClassifier(num_classes=len(classes)),
        name=NAME,
        arguments={},
        classes=classes,
        task="classification",
        preprocessing=Preprocessing((16, 16), 3, (0.0,) * 3, (1.0,) * 3),
        **options,
    )
    return folder


COLOURS = {"red": (220, 20, 30), "green": (10, 200, 60), "blue": (30, 10, 240)}


def write_images(root: Path, count: int = 4, classes=CLASSES) -> Path:
    """A folder for each class of images of its colour; in one of ``blue`` something green is seen."""
    random = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            wrong = name == "blue" and index == 0
            colour = np.array(COLOURS["green" if wrong else name])
            noise = random.integers(-30, 30, (18 + index, 20, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(root / name / f"{index}.png")
    return root


def write_run(folder: Path, data: Path, **options) -> Path:
    """A run of the network as training leaves it; every image is in the test split."""
    save(folder / "model", **options)
    dataset = open_dataset(data, task="classification")
    ids = [case.id for case in dataset.cases]
    (folder / "splits.json").write_text(json.dumps({"splits": {"train": ids[:2], "val": ids[2:4], "test": ids}}))
    facts = {"root": str(data), "fingerprint": dataset.fingerprint, "encoding": None}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "status": "finished", "data": facts}))
    (folder / "recipe.yaml").write_text("data: {masks: unite}\n")
    (folder / "metrics.csv").write_text("epoch,train_loss,accuracy\n1,0.5,0.25\n2,0.4,\n")
    return folder
