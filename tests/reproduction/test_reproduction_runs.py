"""Tables reproduced on miniatures of the layouts of their makers, from the folder as distributed to the page."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glocal.cli import main
from glocal.errors import UserError
from glocal.reproduction import TABLES, Reproduction, Row
from glocal.reproduction.page import _command
from glocal.reproduction.running import plan_reproduction

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

import miniatures


def _kvasir_seg(root: Path) -> None:
    for i in range(10):
        miniatures.save(root / "images" / f"p{i}.jpg", miniatures.frame(i, channels=3))
        mask = miniatures.disc((32, 32), (16, 10 + i), 6).astype(np.uint8) * 255
        miniatures.save(root / "masks" / f"p{i}.jpg", mask)


def _lgg(root: Path) -> None:
    miniatures.lgg(root)
    third = root / "kaggle_3m" / "TCGA_HT_7473_19970826"
    for number in (1, 2):
        miniatures.save(third / f"{third.name}_{number}.tif", miniatures.frame(number, channels=3))
        mask = miniatures.disc((32, 32), (12, 12), 5).astype(np.uint8) * 255
        miniatures.save(third / f"{third.name}_{number}_mask.tif", mask)


def _iugc(root: Path) -> None:
    miniatures.iugc2024(root)
    table = np.array([0, 7, 8], np.uint8)
    for number in (0, 9):
        folder = root / "train" / "pos" / "20191001T101010"
        mask = table[miniatures.symphysis_and_head(number)]
        miniatures.save(folder / "mask" / f"20191001T101010_{number}_1.png", mask)
        miniatures.save(folder / "frames" / f"20191001T101010_{number}.png", miniatures.frame(number, channels=3))


def _acdc(root: Path) -> None:
    miniatures.acdc(root)
    values, label = miniatures.organs(0, classes=4)
    for k in range(len(values)):
        np.savez(root / "train" / f"case_020_sliceED_{k}.npz", img=values[k], label=label[k])


def _classes(number: int) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for k in range(number):
            for i in range(10):
                miniatures.save(root / f"class{k}" / f"c{k}_{i}.png", miniatures.frame(31 * k + i, channels=3))

    return write


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "lmnet/table1": _kvasir_seg,
    "lmnet/table2": _lgg,
    "lmnet/table3": miniatures.busi,
    "hifuse/isic2018": _classes(7),
    "hifuse/kvasir": _classes(8),
    "hifuse/covid_ct": _classes(2),
    "dssaunet/iugc": _iugc,
    "dssaunet/psfhs": miniatures.psfhs,
    "hiperformer/synapse": miniatures.synapse,
    "hiperformer/acdc": _acdc,
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_takes_its_data_as_distributed(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path / "data set")
    table = TABLES[name]
    first = next(row.label for row in table.rows if row.model is not None)
    plans = plan_reproduction(table, tmp_path / "data set", tmp_path / "out", models=[first], seeds=[0])
    published, honest = plans["published"], plans["honest"]
    assert published.evaluated == ("val" if table.published.chosen_on_test or table.published.folds else "test")
    assert honest.evaluated == "test"
    assert published.facts["fingerprint"] == honest.facts["fingerprint"]
    assert published.splits.get("grouped", True) == table.published.grouped
    parts = honest.splits["splits"]
    assert all(parts[part] for part in ("train", "val", "test"))


def _tiny(monkeypatch: pytest.MonkeyPatch, name: str, model: str) -> None:
    """The table with one small network in place of its best one."""
    table = TABLES[name]
    best = table.rows[-1]
    rows = (dataclasses.replace(best, model=model, arguments={}), Row("Another", None, best.printed))
    monkeypatch.setitem(TABLES, name, dataclasses.replace(table, rows=rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "column"),
    [("lmnet/table3", "lmnet_tiny", "mDice %"), ("hiperformer/synapse", "hiperformer_tiny", "HD95")],
)
def test_a_table_from_the_folder_to_the_page(
    name: str,
    model: str,
    column: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _tiny(monkeypatch, name, model)
    LAYOUTS[name](tmp_path / "data")
    out = tmp_path / "out"
    command = ["reproduce", name, "--data", str(tmp_path / "data"), "--output", str(out), "--seeds", "1", "--json"]
    command += ["--set", "train.epochs=1", "--set", "train.batch_size=2", "--set", "data.size=32"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    ours, other = found["rows"]
    assert ours["published"][0][column] is not None
    assert len(ours["honest"]) == 1
    assert other["published"] == []
    page = (out / "reproduction.md").read_text(encoding="utf-8")
    assert ours["paper"][column] in page
    assert "train.epochs = 1" in page
    assert TABLES[name].differences[0] in page
    assert "<script" in (out / "reproduction.html").read_text(encoding="utf-8")
    states = {path: path.stat().st_mtime_ns for path in out.rglob("cell.json")}
    assert len(states) == 2
    assert main(command) == 0  # nothing is trained twice
    assert {path: path.stat().st_mtime_ns for path in states} == states


def test_a_folder_of_another_table_is_left_alone(tmp_path: Path) -> None:
    from glocal.reproduction import find_table, reproduce

    miniatures.busi(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.json").write_text('{"table": "lmnet/table1"}')
    with pytest.raises(UserError, match="holds another reproduction"):
        reproduce(find_table("lmnet/table3"), tmp_path / "data", tmp_path / "out")


@pytest.mark.parametrize("place", ["file", "file/below", "full"])
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_converted(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("")
    monkeypatch.setattr("glocal.reproduction.running.plan_reproduction", lambda *_, **__: pytest.fail("planned"))
    assert main(["reproduce", "lmnet/table3", "--data", str(tmp_path), "--output", str(tmp_path / place)]) == 2


def test_what_cannot_be_begun_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    LAYOUTS["lmnet/table1"](tmp_path / "data")
    command = ["reproduce", "lmnet/table1", "--output", str(out), "--data"]
    for words in ([str(tmp_path / "typo")], [str(tmp_path / "data"), "--set", "train.epoch=1", "--models", "U-Net"]):
        assert main([*command, *words]) == 2
        assert not out.exists()


def test_what_is_for_training_needs_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "lmnet/table1", "--dry-run"]) == 2
    assert "--data DIR" in capsys.readouterr().err


def test_the_page_names_the_command_that_made_it(tmp_path: Path) -> None:
    table = TABLES["lmnet/table1"]
    cells = [SimpleNamespace(label=label, seed=0) for label in ("LM-Net", "Attention U-Net")]
    done = {"published": SimpleNamespace(cells=cells)}
    result = Reproduction(table, tmp_path, tmp_path, {"train.epochs": 2, "data.size": [64, 64]}, done)  # type: ignore[arg-type]
    words = shlex.split(_command(result))
    assert words[:5] == ["glocal", "reproduce", "lmnet/table1", "--data", "DIR"]
    assert words[5:11] == ["--models", "LM-Net,Attention U-Net", "--seeds", "0,", "--protocol", "published"]
    assert words[11:] == ["--set", "train.epochs=2", "--set", "data.size=[64, 64]"]
    everything = [SimpleNamespace(label=row.label, seed=seed) for row in table.rows for seed in table.seeds]
    both = dict.fromkeys(("published", "honest"), SimpleNamespace(cells=everything))
    assert _command(Reproduction(table, tmp_path, tmp_path, {}, both)) == "glocal reproduce lmnet/table1 --data DIR"  # type: ignore[arg-type]


def test_tables_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--json"]) == 0
    assert {one["name"] for one in json.loads(capsys.readouterr().out)} == set(TABLES)
    assert main(["reproduce", "lmnet/table1"]) == 0
    shown = capsys.readouterr().out
    assert "LM-Net (lmnet)" in shown
    assert "the honest protocol" in shown
    assert main(["reproduce", "lmnet/table1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][-1]["paper"]["mDice %"] == "94.09±0.11"
    assert main(["reproduce", "lmnet/table9"]) == 2
