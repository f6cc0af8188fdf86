"""A network that sees thresholds alone, so that masks of volumes are known without it; and small volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

from glocal.inference import Predictor
from glocal.models.weights import ModelRecord, Preprocessing

CLASSES = ("background", "liver", "left kidney")
WINDOW = {"kind": "window", "low": -100.0, "high": 200.0}


def thresholds(channels: int = 1, seen: int = 0) -> nn.Conv2d:
    """Class 0, 1, 2 where channel ``seen`` is below 0.4, between, above 0.7."""
    network = nn.Conv2d(channels, 3, 1)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[:, seen, 0, 0] = torch.tensor([0.0, 100.0, 200.0])
        network.bias.copy_(torch.tensor([0.0, -40.0, -110.0]))
    return network


@pytest.fixture
def make_thresholder() -> Callable[..., Predictor]:
    """A predictor of thresholds for slices of ``size``."""

    def make(size=(12, 12), channels=1, seen=0, postprocessing=None, mode="resize", **preprocessing) -> Predictor:
        options = {"intensity": WINDOW, "orientation": "RAS", **preprocessing}
        steps = Preprocessing(size, channels, (0.0,) * channels, (1.0,) * channels, mode, **options)
        record = ModelRecord("lmnet", {}, CLASSES, "segmentation", steps, postprocessing=postprocessing or {})
        return Predictor(thresholds(channels, seen), record, device="cpu")

    return make


@pytest.fixture(scope="session")
def hounsfield() -> Callable[..., np.ndarray]:
    """Whole numbers, ``int16``, none of which lies on a threshold."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return (np.random.default_rng(seed).integers(-50, 80, shape) * 3 + 1).astype(np.int16)

    return make


@pytest.fixture
def nifti(tmp_path) -> Callable[..., Path]:
    """Write a NIfTI; ``values`` are ``(x, y, z)`` as nibabel has them."""

    def write(values: np.ndarray, affine: np.ndarray | None = None, name: str = "scan.nii.gz") -> Path:
        image = nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 3.0, 1.0]) if affine is None else affine)
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return write
