"""What is not compared, and the one line that says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from makers_evaluations import DATA, write_benchmark, write_classes, write_masks, write_run

from glocal.comparison import compare
from glocal.comparison.sources import open_sources
from glocal.errors import UserError

OTHER = {**DATA, "fingerprint": "feedbeeffeedbeef"}
FEW = [f"case {n}" for n in range(5)]


def _refused(*sources: Path, **options: object) -> str:
    with pytest.raises(UserError) as error:
        compare(sources, **{"costs": False, **options})
    text = str(error.value)
    assert "\n" not in text
    return text


def test_other_data(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.4), write_run(tmp_path / "b", 0.4, data=OTHER)
    text = _refused(a, b)
    assert str(b) in text
    assert str(a) in text
    assert "data (fingerprint) feedbeeffeedbeef" in text


def test_another_split(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.4), write_run(tmp_path / "b", 0.4, train=("t1", "t3"))
    text = _refused(a, b)
    assert "1 of its 2 train cases are not train cases there" in text
    assert "--data.splits" in text


def test_other_test_cases(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", 0.4), write_run(tmp_path / "b", 0.4, cases=FEW)
    assert "test cases" in _refused(a, b)
    text = _refused(a / "evaluation" / "test", write_masks(tmp_path / "c", 0.4, cases=FEW))
    assert "was measured on 5 cases" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "skip"}, "policy for empty masks skip"),
        ({"tolerance": 5.0}, "tolerance of NSD 5.0"),
        ({"classes": ("background", "lesion")}, "classes background, lesion"),
        ({"size": 48}, "resolution for case 'case 0' 2304 pixels"),
    ],
)
def test_other_conventions(tmp_path: Path, options: dict[str, object], words: str) -> None:
    a, b = write_run(tmp_path / "a", 0.4), write_run(tmp_path / "b", 0.4, **options)  # type: ignore[arg-type]
    text = _refused(a, b)
    assert words in text
    assert str(b) in text


def test_another_truth(tmp_path: Path) -> None:
    a, b = write_masks(tmp_path / "a", 0.4), write_masks(tmp_path / "b", 0.4, empty=["case 3"])
    assert "the truth of case 'case 3' is another one" in _refused(a, b)


def test_other_groups_and_tasks(tmp_path: Path) -> None:
    a, b = write_masks(tmp_path / "a", 0.4), write_masks(tmp_path / "b", 0.4, images=3)
    assert "group of case" in _refused(a, b)
    assert "task classification" in _refused(a, write_classes(tmp_path / "c", 1.0))


def test_a_benchmark_in_which_no_cell_is_common(tmp_path: Path) -> None:
    failed = [("a", 0, 0), ("b", 1, 0)]
    bench = write_benchmark(tmp_path / "bench", {"a": 0.4, "b": 0.5}, seeds=(0,), failed=failed)
    assert "no fold and seed is finished for every model" in _refused(bench)
    nothing = [("a", 0, 0), ("a", 1, 0), ("b", 0, 0), ("b", 1, 0)]
    bench = write_benchmark(tmp_path / "empty", {"a": 0.4, "b": 0.5}, seeds=(0,), failed=nothing)
    assert "nothing is finished" in _refused(bench)


def test_a_model_without_a_cell_is_named_and_left_out(tmp_path: Path) -> None:
    failed = [("b", 0, 0), ("b", 1, 0)]
    bench = write_benchmark(tmp_path / "bench", {"a": 0.4, "b": 0.5, "c": 0.6}, seeds=(0,), failed=failed)
    found = compare([bench])
    assert found.labels == ("a", "c")
    assert any("no cell is finished of b" in note for note in found.notes)
    assert len(found.missing) == 2
    with pytest.raises(UserError, match="no model is called 'b' here"):
        compare([bench], reference="b")


def test_what_is_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a benchmark" in _refused(tmp_path / "empty")
    assert "no such folder" in _refused(tmp_path / "absent")
    run = write_run(tmp_path / "run", 0.4)
    assert "there is no evaluation/val in it" in _refused(run, split="val")
    assert "named twice" in _refused(run, run / "evaluation" / "test")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cases.csv", ""),
        ("cases.csv", "case,group\na,b\n"),
        ("cases.csv", b"\xff\xfe\x00"),
        ("cases.csv", "truncate"),
        ("cases.csv", "text for numbers"),
        ("summary.json", "{}"),
        ("summary.json", "[]"),
        ("summary.json", '{"format": 1, "classes": ["background", "polyp"], "cases": 3}'),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: str | bytes) -> None:
    run = write_run(tmp_path / "run", 0.4)
    path = run / "evaluation" / "test" / name
    whole = path.read_text()
    if content == "truncate":
        content = whole[: whole.rindex("\n", 0, -1) - 30]
    elif content == "text for numbers":
        content = whole.replace(whole.splitlines()[1].split(",")[4], "many", 1)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    text = _refused(run)
    assert str(path) in text or str(path.with_name("cases.csv")) in text


def test_damaged_run_files_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 0.4)
    (run / "splits.json").write_text('{"splits": {"train": 3}}')
    assert "splits.json" in _refused(run)
    (run / "manifest.json").write_text("[]")
    assert "manifest.json" in _refused(run)


def test_unknown_metrics_and_classes_name_the_nearest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 0.4)
    assert "Did you mean 'dice'?" in _refused(run, metrics=["dicee"])
    assert "Did you mean 'polyp'?" in _refused(run, classes=["polyps"])
    assert "for segmentations only" in _refused(write_classes(tmp_path / "c", 1.0), classes=["benign"])
    assert "resamples" in _refused(run, resamples=0)


def test_what_could_not_be_checked_is_told(tmp_path: Path) -> None:
    run, masks = write_run(tmp_path / "run", 0.4), write_masks(tmp_path / "foreign", 0.6)
    found = compare([run, masks], costs=False)
    assert found.labels == ("run", "foreign")
    assert any("foreign was trained is not known" in note for note in found.notes)


def test_settings_that_differ_beside_the_network_are_told(tmp_path: Path) -> None:
    recipes = ("model: a\ntrain: {epochs: 3, seed: 1}\n", "model: b\ntrain: {epochs: 9, seed: 2}\n")
    runs = [write_run(tmp_path / name, 0.4, recipe=recipe) for name, recipe in zip("ab", recipes, strict=True)]
    notes = compare(runs, costs=False).notes
    assert any(note.endswith("more than the network: train.epochs") for note in notes)
    assert not any("averaged" in note for note in notes)
    more = write_run(tmp_path / "c", 0.4, seed=1, recipe="model: a\ntrain: {epochs: 5, seed: 7}\n")
    notes = compare([f"a={runs[0]}", f"a={more}"], costs=False).notes
    assert "a: its trainings are averaged though they differ in train.epochs" in notes


def test_labels_group_runs_and_paths_may_hold_an_equals_sign(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"r={n}", 0.4 + 0.1 * n, seed=n) for n in range(4)]
    found = open_sources([f"a={runs[0]}", f"a={runs[1]}", runs[2], runs[3] / "evaluation" / "test"])
    assert [(cell.label, cell.repetition) for cell in found.cells] == [("a", 1), ("a", 2), ("r=2", 1), ("r=3", 1)]
    both = compare([f"a={runs[0]}", f"a={runs[1]}", f"b={runs[2]}", f"b={runs[3]}"], costs=False)
    assert [row.cells for row in both.results[0].rows] == [2, 2]
    assert both.design["repetitions"] == 2


def test_an_unknown_seed_is_not_seed_0(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 0.4, seed=0) for name in "ab"]
    loose = write_masks(tmp_path / "loose", 0.5, seed=7)
    found = open_sources([f"a={runs[0]}", f"a={loose}", f"b={runs[1]}"])
    assert [(cell.label, cell.repetition) for cell in found.cells] == [("a", 1), ("a", 2), ("b", 1)]


def test_one_label_is_one_network(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 0.4, seed=n, recipe=f"model: {name}\n") for n, name in enumerate("ab")]
    with pytest.raises(UserError, match=r"x: .* is a, but .* is b; give different networks different labels"):
        compare([f"x={run}" for run in runs], costs=False)


def test_a_benchmark_has_labels_of_its_own(tmp_path: Path) -> None:
    bench = write_benchmark(tmp_path / "bench", {"a": 0.4}, folds=1, seeds=(0,))
    with pytest.raises(UserError, match="labels of its own"):
        compare([f"x={bench}"])


def test_validation_scores_carry_their_warning(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 0.4)
    path = run / "evaluation" / "test" / "summary.json"
    summary = json.loads(path.read_text())
    note = "the best epoch was chosen on these cases: the numbers are better than on new images"
    path.write_text(json.dumps({**summary, "notes": [note]}))
    assert note in compare([run], costs=False).notes
