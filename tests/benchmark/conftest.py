"""A handful of discs on noise, and plans small enough to run in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glocal.benchmark import Plan, Variant, make_plan

SMALL = {"data.size": 32, "train.epochs": 2, "train.batch_size": 2, "train.device": "cpu", "data.cache": "memory"}


def write_discs(root: Path, count: int = 12, size: int = 40) -> Path:
    """``images/`` of grey discs on noise and ``masks/`` of 0 and 255."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        (row, column), radius = random.uniform(size / 4, 3 * size / 4, 2), random.uniform(size / 6, size / 4)
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        image = random.normal(60, 12, (size, size)) + 100 * inside
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"images/{index:02d}.png")
        Image.fromarray(inside * np.uint8(255)).save(root / f"masks/{index:02d}.png")
    return root


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "discs of -mine")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder each of discs and squares."""
    root, random = tmp_path / "shapes", np.random.default_rng(0)
    y, x = np.mgrid[:40, :40] - 20
    for name, norm in (("disc", np.hypot(x, y)), ("square", np.maximum(abs(x), abs(y)))):
        (root / name).mkdir(parents=True)
        for index in range(8):
            image = random.normal(60, 12, (40, 40)) + 100 * (norm < random.uniform(6, 13))
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / name / f"{name} {index:02d}.png")
    return root


@pytest.fixture
def small(discs: Path) -> Callable[..., Plan]:
    """A plan of tiny networks on the discs; keywords are those of ``make_plan``, ``set`` adds settings."""

    def make(*models: str, set: dict[str, Any] | None = None, **options: Any) -> Plan:
        variants = [Variant(name, name, recipe="quick") for name in models or ("lmnet_tiny",)]
        return make_plan(discs, variants, settings={**SMALL, **(set or {})}, **options)

    return make
