"""A data set of discs and a run trained on it, made once; every test gets copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.cli import main


def write_discs(root: Path, count: int = 12, size: int = 40) -> Path:
    """``images/`` of bright discs on noise, ``masks/`` of 0 and 255."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        row, column = random.uniform(size / 3, 2 * size / 3, 2)
        disc = (y - row) ** 2 + (x - column) ** 2 < random.uniform(size / 6, size / 4) ** 2
        image = random.normal(60, 10, (size, size)) + 120 * disc
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"disc {index:02d}.png")
        Image.fromarray(disc * np.uint8(255)).save(root / "masks" / f"disc {index:02d}.png")
    return root


@pytest.fixture(scope="session")
def _trained(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("trained")
    data = write_discs(root / "discs")
    words = [
        "--recipe",
        "quick",
        "--data.size",
        "32",
        "--data.cache",
        "memory",
        "--data.fractions",
        "[0.5, 0.25, 0.25]",
    ]
    words += ["--train.epochs", "8", "--train.batch_size", "2", "--train.device", "cpu", "--evaluate", "false"]
    assert main(["train", str(data), *words, "--output", str(root / "run")]) == 0
    return data, root / "run"


@pytest.fixture
def discs(_trained, tmp_path) -> Path:
    """A data set that the test may spoil."""
    shutil.copytree(_trained[0], tmp_path / "discs")
    return tmp_path / "discs"


@pytest.fixture
def trained(_trained, tmp_path, monkeypatch) -> Path:
    """A run that the test may spoil; its data is that of ``discs`` if the test has it, found by ``--data``."""
    shutil.copytree(_trained[1], tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def refused(capsys):
    """Run a command that must end with exit code 2 and one line, and return the line."""

    def refused(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        shown = capsys.readouterr()
        errors = [line for line in shown.err.splitlines() if line.startswith("glocal: error:")]
        assert len(errors) == 1
        assert shown.err.splitlines()[-1] == errors[0]
        assert "Traceback" not in shown.err
        return errors[0]

    return refused
