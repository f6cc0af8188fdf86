"""Tables of an ablation: whose figures they are, what was measured, and the files they are written to."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from glocal.ablation import Ablation, AblationTable, Measure, Values, count_ablation, get_ablation, read_ablation
from glocal.ablation.table import page
from glocal.benchmark import BenchmarkFolder, Plan, Variant
from glocal.errors import UserError
from glocal.files import write_json

SMALL = "hiperformer_tiny"


def some(name: str, *labels: str) -> Ablation:
    ablation = get_ablation(name)
    return replace(ablation, rows=tuple(row for row in ablation.rows if row.label in labels))


def measured_by_us(*labels: str) -> Ablation:
    """Aggregation rows with measures of our own evaluation, which needs no predictions to be made again."""
    measures = (
        Measure("DSC %", "macro.foreground.dice.mean"),
        Measure("HD95", "macro.foreground.hd95.mean", percent=False),
    )
    return replace(some("hiperformer_aggregation", *labels), preset=None, measures=measures)


def counts(name: str, *labels: str) -> AblationTable:
    ablation = some(name, *labels)
    return AblationTable(ablation, count_ablation(ablation))


def benchmark(folder: Path, scores: dict[str, list[float | None]]) -> BenchmarkFolder:
    """A benchmark of aggregation rows with two folds, whose cells came to these scores; None: it failed."""
    rows = [row for row in get_ablation("hiperformer_aggregation").rows if row.label in scores]
    variants = tuple(Variant(f"called {row.label}", SMALL, dict(row.arguments)) for row in rows)
    facts = {"fingerprint": "x", "task": "segmentation", "classes": ["b", "f"], "cases": 9, "channels": 1}
    recipes = {variant.label: {"train.device": "cpu"} for variant in variants}
    plan = Plan(folder / "polyps", facts, variants, recipes, {"format": 1}, folds=2, seeds=(0,))
    bench = BenchmarkFolder(folder)
    bench.write_plan(plan)
    for cell in plan.cells:
        score = scores[cell.variant.label.removeprefix("called ")][cell.fold]
        if score is None:
            bench.write_cell(cell, "failed", {"error": "no memory"})
            continue
        means = {"dice": {"mean": score}, "hd95": {"mean": None}}
        write_json(bench.cell(cell) / "run/evaluation/test/summary.json", {"macro": {"foreground": means}})
        bench.write_cell(cell, "done", {})
    return bench


def test_mean_and_spread_over_trainings() -> None:
    assert str(Values((90.0, 92.0))) == "91.00 ± 1.41"
    assert str(Values((90.0,))) == "90.00"


def test_the_papers_figures_are_called_the_papers() -> None:
    header, lines = counts("lmnet_table9", "single-skip").counts()
    assert header == ("row", "of", "parameters", "multiply-adds", "paper's counter")
    assert lines == [
        ("single-skip", "the paper", "4.98 M", "", "3.61 G"),
        ("", "lmnet", "3,288,890", "2.726 G", "2.958 G"),
        ("", "lmnet_paper", "4,980,346", "3.168 G", "3.579 G"),
    ]


def test_markdown_has_options_remarks_and_notes_once() -> None:
    tables = [counts("lmnet_table9", "single-skip"), counts("lmnet_table8", "baseline")]
    text = page(tables)
    assert '- **single-skip**: `skip="single" lft=false`; the figures of Table 10 row 4' in text
    assert text.count("The published code is not the network of the paper.") == 1
    assert tables[1].markdown().count("The published code is not the network of the paper.") == 1
    assert "| single-skip | the paper | 92.84±0.53 |" in text


def test_csv_holds_plain_numbers() -> None:
    paper, ours, _ = csv.DictReader(io.StringIO(counts("lmnet_table9", "single-skip").csv()))
    assert (paper["of"], paper["parameters"], paper["papers_multiply_adds"]) == ("the paper", "4980000", "3610000000")
    assert (paper["mDice %"], paper["mDice % sd"]) == ("92.84", "0.53")
    assert (ours["parameters"], ours["arguments"], ours["mDice %"]) == ("3288890", 'skip="single" lft=false', "")


def test_what_was_trained_stands_beneath_what_is_printed(tmp_path) -> None:
    """Rows are found by their options, whatever the cells are called."""
    benchmark(tmp_path, {"PGA alone": [0.5, 0.52], "PMI alone": [0.6, None]})
    ablation = measured_by_us("PGA alone", "PMI alone", "PMI and PGA")
    table = read_ablation(ablation, tmp_path, SMALL)
    header, lines = table.figures()
    assert header == ("row", "of", "DSC % Synapse", "DSC % BTCV", "DSC %", "HD95")
    assert lines == [
        ("PGA alone", "the paper", "83.14", "74.95", "", ""),
        ("", f"ours, {SMALL}", "", "", "51.00 ± 1.41", "–"),
        ("PMI alone", "the paper", "82.99", "75.88", "", ""),
        ("", f"ours, {SMALL}", "", "", "60.00", "–"),
        ("PMI and PGA", "the paper", "83.93", "76.39", "", ""),
    ]
    told = " ".join(table.notes)
    assert "PMI alone: 1 of 2 trainings done: called-PMI-alone-f1-s0: no memory" in told
    assert "± is their standard deviation over 2 folds × 1 seed" in told
    assert "compare the differences between rows" in told


def test_a_written_table_is_read_by_programs(tmp_path) -> None:
    benchmark(tmp_path, {"PGA alone": [0.5, 0.52]})
    table = read_ablation(measured_by_us("PGA alone"), tmp_path, SMALL)
    table.write(tmp_path)
    (row,) = json.loads((tmp_path / "ablation.json").read_text())["rows"]
    assert row["paper"]["figures"] == {"DSC % Synapse": "83.14", "DSC % BTCV": "74.95"}
    assert row["measured"]["DSC %"]["values"] == pytest.approx([50, 52])
    paper, ours = csv.DictReader((tmp_path / "ablation.csv").read_text().splitlines())
    assert (paper["DSC %"], float(ours["DSC %"]), ours["DSC % n"]) == ("", pytest.approx(51), "2")
    assert "51.00 ± 1.41" in (tmp_path / "ablation.md").read_text()


def test_a_table_does_not_take_the_place_of_a_file(tmp_path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UserError, match="another --output"):
        counts("lmnet_table9", "single-skip").write(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_folder_without_a_benchmark_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="not a benchmark"):
        read_ablation(get_ablation("star_dssa"), tmp_path)
