"""A network whose answer for a pixel depends on that pixel alone, so that predictions can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import glocal
from glocal.inference import Predictor
from glocal.models.weights import ModelRecord, Preprocessing, save_model

CLASSES = ("background", "red", "bright")
WEIGHT = torch.tensor([[0.1, 0.1, -0.2], [1.5, -1.0, -0.7], [0.6, 0.8, 0.9]])
BIAS = torch.tensor([0.2, 0.0, -0.3])
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def make_record(
    size=(24, 36), channels=3, mode="resize", classes=CLASSES, task="segmentation", manifest=None
) -> ModelRecord:
    steps = Preprocessing(size, channels, MEAN[:channels], STD[:channels], mode)
    return ModelRecord("fake", {}, classes, task, steps, manifest=manifest or {})


def pixelwise(channels: int = 3) -> nn.Conv2d:
    network = nn.Conv2d(channels, 3, 1)
    with torch.no_grad():
        network.weight.copy_(WEIGHT[:, :channels, None, None])
        network.bias.copy_(BIAS)
    return network


@pytest.fixture
def make_predictor() -> Callable[..., Predictor]:
    """A pixel-wise network, or another, trained at ``size``."""

    def make(network: nn.Module | None = None, **record: object) -> Predictor:
        about = make_record(**record)  # type: ignore[arg-type]
        return Predictor(network or pixelwise(about.preprocessing.channels), about, device="cpu")

    return make


def _make_undecided(network: nn.Module, channels: int) -> None:
    """Shift the last bias until every class wins somewhere, and the answers are far from one half."""
    with torch.no_grad():
        network.head.weight.mul_(30)
        logits = network.eval()(torch.randn(4, channels, 32, 32))
        network.head.bias.sub_(logits.mean(dim=(0, 2, 3)))


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """Write a model folder of an untrained ``lmnet_tiny``."""

    def make(folder: Path, size=(32, 32), channels=3, classes=("background", "polyp")) -> Path:
        torch.manual_seed(0)
        network = glocal.create_model("lmnet_tiny", in_channels=channels, num_classes=len(classes))
        _make_undecided(network, channels)
        steps = Preprocessing(size, channels, MEAN[:channels], STD[:channels])
        save_model(
            folder,
            network,
            name="lmnet_tiny",
            arguments={},
            classes=classes,
            task="segmentation",
            preprocessing=steps,
        )
        return folder

    return make


@pytest.fixture(scope="session")
def tiny(make_model, tmp_path_factory) -> Path:
    """A model folder."""
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def photograph() -> Callable[..., np.ndarray]:
    """Smooth colours with edges: ``uint8 (height, width, 3)``."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
        noise = random.integers(-20, 20, (height, width, 3))
        return np.clip(np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width] + noise, 0, 255).astype(np.uint8)

    return make
