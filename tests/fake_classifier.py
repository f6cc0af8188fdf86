"""A classifier of colours, small enough to be computed by hand: a network for tests, known while they run alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

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
