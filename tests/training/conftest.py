"""A handful of discs on noise, with masks or classes, and a recipe small enough to train on them in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glocal.training import Recipe, load_recipe

SMALL = {
    "data.size": 32,
    "data.fractions": (0.6, 0.2, 0.2),
    "train.epochs": 3,
    "train.batch_size": 2,
    "train.device": "cpu",
}


def write_discs(root: Path, count: int = 10, size: int = 40, classes: int = 2, seed: int = 0) -> Path:
    """``images/`` of grey discs on noise and ``masks/`` of their class indices (0 and 255 for two classes)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        image, mask = random.normal(60, 12, (size, size)), np.zeros((size, size), np.uint8)
        for value in range(1, classes):
            (row, column), radius = random.uniform(size / 4, 3 * size / 4, 2), random.uniform(size / 8, size / 4)
            inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
            mask[inside] = 255 if classes == 2 else value
            image[inside] += 100 / value
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"case {index:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"case {index:02d}.png")
    return root


def write_shapes(root: Path, each: int = 6, size: int = 40, seed: int = 0) -> Path:
    """A folder each of grey discs and squares on noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    for name, norm in (("disc", np.hypot(x, y)), ("square", np.maximum(abs(x), abs(y)))):
        (root / name).mkdir(parents=True)
        for index in range(each):
            inside = norm < random.uniform(size / 6, size / 3)
            image = random.normal(60, 12, (size, size)) + 100 * inside
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / name / f"{name} {index:02d}.png")
    return root


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return write_shapes(tmp_path / "shapes")


@pytest.fixture
def make_discs() -> Callable[..., Path]:
    """:func:`write_discs`."""
    return write_discs


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "discs")


@pytest.fixture
def small() -> Callable[..., Recipe]:
    """The recipe ``quick`` on three epochs of 32 × 32 pixels; keywords change settings, ``__`` standing for a dot."""

    def make(**changes: Any) -> Recipe:
        return load_recipe("quick", {**SMALL, **{name.replace("__", "."): v for name, v in changes.items()}})

    return make
