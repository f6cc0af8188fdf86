"""Every declared table can be run: its networks, recipes and metrics exist, and its splits are what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.data import Dataset, open_dataset
from glocal.data.cases import Case
from glocal.errors import UserError
from glocal.evaluation import EvaluatedCase, evaluate, get_classification_preset, get_preset
from glocal.evaluation.classification import ClassifiedCase, evaluate_classification
from glocal.models import model_info
from glocal.reproduction import TABLES, PaperTable, Protocol, find_table
from glocal.reproduction.splitting import split_for
from glocal.training import load_recipe

ALL = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))


def test_the_tables_of_the_papers_are_there() -> None:
    asked = {"lmnet/table1", "lmnet/table2", "lmnet/table3", "hifuse/isic2018", "hifuse/kvasir", "hifuse/covid_ct"}
    assert asked | {"dssaunet/psfhs", "dssaunet/iugc", "hiperformer/synapse", "hiperformer/acdc"} == set(TABLES)


@ALL
def test_networks_are_registered_and_for_the_task(table: PaperTable) -> None:
    models = [row.model for row in table.rows if row.model is not None]
    assert models
    assert {model_info(model).task for model in models} == {table.task}


@ALL
def test_recipes_load_with_the_settings_of_the_protocols(table: PaperTable) -> None:
    for protocol in (table.published, table.honest):
        load_recipe(protocol.recipe, protocol.settings)
        assert sum(protocol.fractions) == pytest.approx(1)
        assert protocol.says


@ALL
def test_every_column_is_a_figure_of_the_preset(table: PaperTable) -> None:
    preset = table.published.preset
    assert preset is not None
    if table.task == "segmentation":
        truth = np.zeros((24, 24), np.uint8)
        for k in range(1, table.classes):
            truth[2 * k : 2 * k + 2, 3:15] = k
        get_preset(preset)
        case = EvaluatedCase("a", prediction=truth, truth=truth)
        summary = evaluate([case], [f"c{k}" for k in range(table.classes)], preset=preset, resamples=10).summary
    else:
        get_classification_preset(preset)
        names = [f"c{k}" for k in range(table.classes)]
        cases = [ClassifiedCase(str(k), np.eye(table.classes)[k] * 3, k) for k in range(table.classes)]
        summary = evaluate_classification(cases, names, preset=preset, resamples=10).summary
    assert {column.figure for column in table.columns} <= {figure["name"] for figure in summary["published"]["figures"]}


@ALL
def test_printed_figures_are_numbers_of_known_columns(table: PaperTable) -> None:
    names = {column.name for column in table.columns}
    for row in table.rows:
        assert set(row.printed) <= names
        assert all(re.fullmatch(r"-?\d+(\.\d+)?(±\d+(\.\d+)?)?", text) for text in row.printed.values())


def test_the_best_row_of_lmnets_tables_is_as_printed() -> None:
    row = {row.label: row for row in find_table("LMNet/Table1").rows}["LM-Net"]
    assert row.printed["mDice %"] == "94.09±0.11"
    with pytest.raises(UserError, match="Did you mean 'lmnet/table"):
        find_table("lmnet/tabl")


def _set(root: Path, groups: int = 20, size: int = 5, split: dict[int, str] | None = None) -> Dataset:
    image = root / "x.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(image)
    cases = [
        Case(f"g{g}_{i}", image, label=0, group=f"g{g}", stratum="a", split=(split or {}).get(g))  # type: ignore[arg-type]
        for g in range(groups)
        for i in range(size)
    ]
    return Dataset(root, "classification", "", tuple(cases), class_names=("a", "b"))


def test_choosing_on_the_test_part_leaves_no_other_part(tmp_path: Path) -> None:
    splits = split_for(Protocol("default", (0.7, 0.0, 0.3), grouped=False, chosen_on_test=True), _set(tmp_path))
    assert (len(splits.train), len(splits.val), splits.test) == (70, 30, ())
    assert any("chosen on the part that is measured" in note for note in splits.notes)


def test_lists_of_the_data_are_kept_by_both_protocols(tmp_path: Path) -> None:
    data = _set(tmp_path, split={g: "test" if g >= 12 else "train" for g in range(20)})
    test = {case.id for case in data.cases if case.split == "test"}
    published = split_for(Protocol("default", (0.6, 0.0, 0.4), chosen_on_test=True), data)
    assert (len(published.train), set(published.val), published.test) == (60, test, ())
    honest = split_for(Protocol("default", (0.5, 0.1, 0.4)), data)
    assert set(honest.test) == test
    assert 0 < len(honest.val) < 30
    assert {id.split("_")[0] for id in honest.val}.isdisjoint(id.split("_")[0] for id in honest.train)


def test_two_halves_validate_each_other(tmp_path: Path) -> None:
    splits = split_for(find_table("hifuse/kvasir").published, _set(tmp_path))
    first, second = splits.folds
    assert (first.train, first.val) == (second.val, second.train)
    assert splits.test == ()


def test_data_of_another_kind_are_refused(tmp_path: Path) -> None:
    from glocal.data.phantom import write_phantoms
    from glocal.reproduction import reproduce

    data = write_phantoms(tmp_path / "data", 6, 0, (32, 32))
    assert open_dataset(data).task == "segmentation"
    with pytest.raises(UserError, match=r"3 classes .*but lmnet/table1 is of 2; it expects Kvasir-SEG"):
        reproduce(find_table("lmnet/table1"), data, tmp_path / "out", models=["unet"])
    with pytest.raises(UserError, match="has no network 'lmnet_tiny'"):
        reproduce(find_table("lmnet/table1"), data, tmp_path / "out", models=["lmnet_tiny"])
