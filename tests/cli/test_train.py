"""``glocal train`` as typed: flags before recipe before defaults, one line for what is wrong, JSON alone on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glocal.cli import main
from glocal.training import load_recipe

FAST = [
    "--recipe",
    "quick",
    "--data.size",
    "32",
    "--train.epochs",
    "2",
    "--train.batch_size",
    "4",
    "--train.device",
    "cpu",
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Ten bright squares on noise, in a folder whose name has a space and an umlaut."""
    random, root = np.random.default_rng(0), tmp_path / "meine Köpfe"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(10):
        mask = np.zeros((40, 40), bool)
        row, column = random.integers(4, 20, 2)
        mask[row : row + 14, column : column + 14] = True
        image = random.normal(60, 10, (40, 40)) + 100 * mask
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"images/{index}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / f"masks/{index}.png")
    return root


def test_flags_go_before_the_recipe_and_the_recipe_before_the_defaults(squares: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmodel: lmnet_tiny\ndata: {size: 32}\nloss: {name: focal}\n"
        "train: {epochs: 5, batch_size: 3, seed: 7}\n"
    )
    words = ["--recipe", "mine.yaml", "--train.epochs", "1", "--loss.gamma", "1.5", "--evaluate", "false"]
    assert main(["train", str(squares), *words, "--output", "run"]) == 0
    recipe = load_recipe(tmp_path / "run/recipe.yaml")
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.seed) == (1, 3, 7)
    assert (recipe.loss.name, recipe.loss.gamma, recipe.optimizer.name) == ("focal", 1.5, "adamw")


def test_the_recipe_of_a_run_repeats_it(squares: Path, tmp_path: Path) -> None:
    assert main(["train", str(squares), *FAST, "--model_args", "{rel_pos_bias: true}", "--evaluate", "false"]) == 0
    first = tmp_path / "runs/meine Köpfe-quick"
    words = ["--recipe", str(first / "recipe.yaml"), "--output", "again", "--evaluate", "false"]
    assert main(["train", str(squares), *words]) == 0
    assert (tmp_path / "again/metrics.csv").read_text() == (first / "metrics.csv").read_text()
    assert (tmp_path / "again/recipe.yaml").read_text() == (first / "recipe.yaml").read_text()


def test_json_is_alone_on_stdout(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(squares), *FAST, "--output", "run", "--evaluate", "false", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["run"], result["epochs"], result["report"]) == ("run", 2, None)
    assert 0 <= result["best"]["mdice"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.epochs", "many"], "expected int. Got value: many"),
        (["--train.select_by", "luck"], "'macro_f1', 'auroc'. Got value: luck"),
    ],
)
def test_a_wrong_value_is_explained_without_python(
    squares: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["train", str(squares), *FAST, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "class" not in error
    assert "typing" not in error


def test_problems_of_one_kind_do_not_bury_the_rest(squares: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = next((squares / "images").iterdir())
    for index in range(5):
        (squares / "images" / f"extra {index}{first.suffix}").write_bytes(first.read_bytes())
    assert main(["train", str(squares), *FAST, "--output", "run", "--evaluate", "false"]) == 0
    told = [record.getMessage() for record in caplog.records]
    assert sum("no mask has the name of this image" in line for line in told) == 3
    assert "image without mask: 2 more (glocal data inspect lists them)" in told


def test_a_training_ends_with_a_report_on_the_test_split(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(squares), *FAST, "--output", "run"]) == 0
    trained = capsys.readouterr().out
    assert main(["evaluate", "run"]) == 0
    figures = capsys.readouterr().out.partition("report: ")[0]
    assert "Dice" in figures
    assert "HD95" in figures
    assert trained.endswith(figures)
    for name in ("cases.csv", "summary.json", "report.html"):
        assert (tmp_path / "run/evaluation/test" / name).stat().st_size > 0


def test_without_a_test_split_nothing_is_evaluated(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(squares), *FAST, "--data.fractions", "[0.8, 0.2, 0]", "--output", "run"]) == 0
    assert "no test split" in capsys.readouterr().err
    assert not (tmp_path / "run/evaluation").exists()


def test_a_folder_that_begins_with_a_dash(squares: Path, tmp_path: Path) -> None:
    squares.rename(tmp_path / "-dash")
    assert main(["train", *FAST, "--output=-run", "--evaluate", "false", "--", "-dash"]) == 0
    assert (tmp_path / "-run/model/model.json").exists()


def test_resuming_a_finished_run_changes_nothing_and_succeeds(squares: Path) -> None:
    assert main(["train", str(squares), *FAST, "--output", "run", "--evaluate", "false"]) == 0
    assert main(["train", "--resume", "run", "--evaluate", "false"]) == 0
    assert main(["train", "--resume", "run", "--train.workers", "0", "--evaluate", "false"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["DATA", "--train.epoch", "3"], "Did you mean '--train.epochs'?"),
        (["DATA", "--train.epochs", "many"], "train.epochs"),
        (["DATA", "--train.epochs", "0"], "train.epochs is 0; it must be at least 1"),
        (["DATA", "--train", "evil.yaml"], "unrecognized arguments: --train"),
        (["DATA", "--train.select_on", "test"], "unrecognized arguments: --train.select_on"),
        (["DATA", "--train.select_by", "test"], "train.select_by"),
        (["DATA", "--recipe", "lmnt"], "no recipe 'lmnt'. Did you mean 'lmnet'?"),
        (["DATA", "--recipe", "gone.yaml"], "gone.yaml: no such file"),
        (["DATA", "--model", "lmnt"], "no network 'lmnt'. Did you mean 'lmnet'?"),
        (["DATA", "--loss.name", "hinge"], "loss.name"),
        (["nowhere"], "nowhere"),
        ([], "name the folder of the data"),
        (["--resume", "nowhere"], "nowhere: no such run folder"),
        (["--resume", "run", "--recipe", "quick"], "--recipe cannot go with --resume"),
        (["--resume", "run", "--output", "other"], "--output cannot go with --resume"),
        (["--resume", "run", "--train.seed", "1"], "this run has train.seed 42, not 1"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    squares: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if "run" in words and "cannot" not in message:
        assert main(["train", str(squares), *FAST, "--output", "run", "--evaluate", "false"]) == 0
    capsys.readouterr()
    assert main(["train", *[str(squares) if word == "DATA" else word for word in words]]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "runs").exists()


def test_help_has_examples_and_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for expected in ("glocal train polyps --recipe quick", "--train.gradient_clip", "--augment.crop.scale", "--resume"):
        assert expected in text
