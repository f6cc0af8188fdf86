"""``glocal train --model X`` works for every registered X on phantoms, which have masks and classes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from glocal.cli import main
from glocal.data.phantom import write_phantoms
from glocal.models import list_models, model_info
from glocal.models.record import ModelRecord
from glocal.models.weights import load_model

LARGEST = 60e6
"""Parameters; AdamW keeps four numbers for each, and a test machine has little memory. Larger ones are made on the meta
device by the contract, and the small variants of their families are trained here."""


def smallest_of_each_family() -> set[str]:
    infos = [model_info(name) for name in list_models()]
    families = {info.family for info in infos}
    return {min((i for i in infos if i.family == f), key=lambda i: i.parameters).name for f in families}


def cases() -> list[object]:
    quick = smallest_of_each_family()
    names = list_models(max_params=LARGEST)
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in names]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "set", 24, seed=0, size=64)


@pytest.mark.parametrize("name", cases())
def test_it_trains(name: str, phantoms: Path, tmp_path: Path) -> None:
    words = ["--model", name, "--recipe", "quick", "--data.size", "32", "--data.fractions", "[0.4, 0.3, 0.3]"]
    words += ["--train.epochs", "1", "--train.batch_size", "2", "--train.device", "cpu", "--data.cache", "memory"]
    assert main(["train", str(phantoms), *words, "--output", str(tmp_path / "run"), "--evaluate", "false"]) == 0
    record: ModelRecord = load_model(tmp_path / "run").record
    assert (record.name, record.task) == (name, model_info(name).task)
    assert math.isfinite(record.manifest["best"]["train_loss"])


def test_every_family_has_a_network_that_is_trained_here() -> None:
    assert all(model_info(name).parameters <= LARGEST for name in smallest_of_each_family())
