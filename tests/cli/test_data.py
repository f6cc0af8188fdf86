"""``glocal data`` end to end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.cli import main


@pytest.fixture
def phantoms(tmp_path, capsys) -> Path:
    assert main(["data", "phantom", str(tmp_path / "set"), "--count", "44", "--size", "32"]) == 0
    capsys.readouterr()
    return tmp_path / "set"


def test_help(capsys):
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    for command in ("inspect", "splits", "phantom"):
        assert command in listed
        assert main(["data", command, "--help"]) == 0
        assert f"glocal data {command} " in capsys.readouterr().out.partition("examples:")[2]
    assert main(["data", "inspct"]) == 2
    assert "Did you mean 'inspect'?" in capsys.readouterr().err
    assert main(["data", "phantom", "x", "--cuont", "3"]) == 2
    assert "Did you mean '--count'?" in capsys.readouterr().err


def test_phantom(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["data", "phantom", str(folder), "--count", "3", "--size", "[40, 60]", "--seed", "5"]) == 0
    assert str(folder) in capsys.readouterr().out
    with Image.open(folder / "images" / "phantom_00002.png") as image:
        assert image.size == (60, 40)
    assert main(["data", "phantom", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_inspect(phantoms, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(phantoms), "--contact_sheet", str(sheet), "--tiles", "6"]) == 0
    shown = capsys.readouterr().out
    for words in ("44 (all usable)", "pubic symphysis", "fetal head", "32x32 (44)", "nothing suspicious", str(sheet)):
        assert words in shown
    with Image.open(sheet) as image:
        assert image.width > 1000
    assert sorted(path.name for path in phantoms.iterdir()) == [
        *("cases.csv", "classes.txt", "images", "masks", "phantom.json")
    ]


def test_inspect_json_is_alone_on_stdout(phantoms, capsys):
    (phantoms / "images" / "phantom_00003.png").write_bytes(b"")
    assert main(["data", "inspect", str(phantoms), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["cases"], record["usable"]) == (44, 43)
    assert record["findings"][0]["files"] == ["images/phantom_00003.png"]


def test_inspect_prints_many_findings_in_short(phantoms, capsys):
    for path in sorted((phantoms / "images").iterdir())[:9]:
        path.write_bytes(b"")
    assert main(["data", "inspect", str(phantoms)]) == 0
    shown = capsys.readouterr().out
    assert "9 errors" in shown
    assert "4 more (--json lists all)" in shown


def test_inspect_exits_2_when_nothing_can_be_used(phantoms, tmp_path, capsys):
    for path in (phantoms / "images").iterdir():
        path.write_bytes(b"")
    assert main(["data", "inspect", str(phantoms)]) == 2
    assert "none of its 44 cases can be used" in capsys.readouterr().err
    for path in (tmp_path / "missing", tmp_path / "sheet"):
        assert main(["data", "inspect", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("glocal: error:") == 2


def test_splits(phantoms, tmp_path, capsys):
    assert main(["data", "splits", str(phantoms), "--fractions", "[0.5, 0.25, 0.25]"]) == 0
    before = (phantoms / "splits.json").read_bytes()
    assert sum(len(ids) for ids in json.loads(before)["splits"].values()) == 44
    assert "train" in capsys.readouterr().out
    assert main(["data", "splits", str(phantoms), "--json"]) == 0
    assert capsys.readouterr().out == before.decode()
    assert main(["data", "splits", str(phantoms), "--seed", "3"]) == 2
    assert (phantoms / "splits.json").read_bytes() == before
    folds = tmp_path / "folds.json"
    assert main(["data", "splits", str(phantoms), "--folds", "4", "--output", str(folds)]) == 0
    assert len(json.loads(folds.read_text())["folds"]) == 4
    assert "fold 3 val" in capsys.readouterr().out
    assert main(["data", "splits", str(phantoms), "--seed", "3", "--remake"]) == 0
    assert json.loads((phantoms / "splits.json").read_text())["seed"] == 3


@pytest.mark.parametrize("name", ["-odd", "with space", "naïve ✓", "null", "[a] b: c", "1e3"])
def test_any_folder_name(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "phantom", "--count", "2", "--size", "32", "--", name]) == 0
    assert (tmp_path / name / "cases.csv").is_file()
    assert main(["data", "inspect", "--json", "--", name]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["root"] == name
    assert main(["data", "inspect", f"./{name}"]) == 0


def test_in_a_process_of_its_own(phantoms):
    """Without a terminal: JSON alone on stdout, nothing on stderr."""
    command = [sys.executable, "-m", "glocal", "data", "inspect", str(phantoms), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0
    assert json.loads(done.stdout)["usable"] == 44
    assert done.stderr == ""


def test_splits_of_many_classes_have_a_row_each(tmp_path, capsys):
    names = [f"a class with a long name, number {k}" for k in range(8)]
    for k, name in enumerate(names):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(np.full((8, 8), 10 * k + i, np.uint8)).save(tmp_path / "set" / name / f"{k}-{i}.png")
    assert main(["data", "splits", str(tmp_path / "set")]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"{name} +│ +8 │ +1 │ +1 │", shown) for name in names)
