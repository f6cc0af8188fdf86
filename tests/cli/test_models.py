"""``glocal models``."""

import json

import pytest

import glocal
from glocal.cli import main


def run(capsys, *words):
    code = main(["models", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_lists_every_network(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert all(name in out for name in glocal.list_models())
    assert "3.97 M" in out
    assert "2501.03838" in out


def test_names_alone_are_fit_for_a_pipe(capsys):
    assert run(capsys, "--names")[1].split() == glocal.list_models()


def test_one_name_gives_all_facts(capsys):
    out = run(capsys, "lmnet")[1]
    assert "3,965,366" in out
    assert "192 at 1/16" in out
    assert "lmnet_tiny" not in out


def test_patterns_and_filters(capsys):
    assert run(capsys, "lmnet*", "--max_params", "1e6", "--names")[1].split() == ["lmnet_tiny"]
    assert run(capsys, "--task", "segmentation", "--family", "lmnet", "--names")[1].split() == glocal.list_models(
        task="segmentation", family="lmnet"
    )


def test_json_alone_on_stdout(capsys):
    code, out, err = run(capsys, "lmnet", "--json")
    (facts,) = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["parameters"] == 3_965_366
    assert facts["input_size"] == [256, 256]
    assert json.loads(run(capsys, "zzz*", "--json")[1]) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lmnt"], "Did you mean 'lmnet'?"),
        (["zzz*"], "no network matches"),
        (["--task", "detection"], "segmentation, classification"),
        (["--taks", "x"], "Did you mean '--task'?"),
        (["--max_params", "many"], "max_params"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, words, expected):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


def test_help_has_examples(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "glocal models lmnet" in out
