"""``glocal profile``."""

import json

import pytest

import glocal
from glocal.cli import main
from glocal.models.weights import Preprocessing, save_model


def run(capsys, *words):
    code = main(["profile", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_prints_both_counts_and_the_stages(capsys):
    code, out, _ = run(capsys, "lmnet_tiny", "--runs", 1)
    assert code == 0
    for text in ("459,518", "0.704 G", "0.788 G", "256×256", "latency", "images/s", "MiB", "decoder.0"):
        assert text in out


def test_json_of_a_deployed_network(capsys):
    words = ["--size", "32x48", "--deploy", "--batch", 2, "--runs", 1, "--in_channels", 1, "--num_classes", 5, "--json"]
    code, out, _ = run(capsys, "lmnet_tiny", *words)
    facts = json.loads(out)
    assert code == 0
    assert (facts["size"], facts["batch"], facts["in_channels"], facts["num_classes"]) == ([32, 48], 2, 1, 5)
    plain = glocal.create_model("lmnet_tiny", in_channels=1, num_classes=5)
    assert facts["parameters"] == sum(p.numel() for p in glocal.deploy(plain).parameters())
    assert facts["latency"]["runs"] == 1


def test_a_model_folder_at_its_own_size(capsys, tmp_path):
    save_model(
        tmp_path / "run" / "model",
        glocal.create_model("lmnet_tiny"),
        name="lmnet_tiny",
        arguments={},
        classes=("a", "b"),
        task="segmentation",
        preprocessing=Preprocessing((48, 32), 3, (0.5,) * 3, (0.5,) * 3),
    )
    code, out, _ = run(capsys, tmp_path / "run", "--runs", 1, "--json")
    assert code == 0
    assert json.loads(out)["size"] == [48, 32]
    assert "leave out --in_channels" in run(capsys, tmp_path / "run", "--in_channels", 1)[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lmnt"], "Did you mean 'lmnet'?"),
        (["runs/nowhere"], "no such file"),
        (["lmnet_tiny", "--size", "big"], "size is 'big'"),
        (["lmnet_tiny", "--size", "0"], "--size"),
        (["lmnet_tiny", "--device", "gpu"], "no device 'gpu'"),
        (["lmnet_tiny", "--batch", "0"], "--batch"),
        (["lmnet_tiny", "--threads", "0"], "--threads"),
        (["lmnet_tiny", "--num_classes", "0"], "num_classes"),
        (["lmnet_tiny", "--run", "3"], "Did you mean '--runs'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, words, expected):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.strip().count("\n") == 0
