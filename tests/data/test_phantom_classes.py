"""Phantoms serve both tasks: masks of two structures, and the station of the head as class of the image."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from glocal.data import open_dataset
from glocal.data.phantom import STATIONS, write_phantoms


def test_the_class_of_a_phantom_is_its_angle(tmp_path: Path) -> None:
    folder = write_phantoms(tmp_path / "p", 40, seed=3, size=32)
    with (folder / "cases.csv").open(newline="") as stream:
        angles = {row["id"]: float(row["aop"]) for row in csv.DictReader(stream)}
    assert open_dataset(folder).task == "segmentation"
    dataset = open_dataset(folder, task="classification")
    assert dataset.classes == STATIONS
    for case in dataset.cases:
        assert case.label == int(angles[case.id] >= 120)
    assert min(Counter(case.label for case in dataset.cases).values()) >= 8
