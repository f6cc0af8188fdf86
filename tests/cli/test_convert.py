"""``glocal convert``."""

import json
import pickle

import pytest
import torch

import glocal
from glocal.cli import main
from glocal.models.weights import load_model


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "-tiny weights ü.pth"
    torch.manual_seed(0)
    tensors = glocal.create_model("lmnet_tiny").state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3}, path)
    return path


def run(capsys, *words):
    code = main(["convert", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_makes_a_model_folder_and_says_what_it_did(capsys, checkpoint, tmp_path):
    code, out, _ = run(capsys, checkpoint, tmp_path / "out", "--model", "lmnet_tiny", "--classes", "background,polyp")
    assert code == 0
    assert "lmnet_tiny" in out
    assert "459,518 parameters" in out
    assert "background, polyp" in out
    loaded = load_model(tmp_path / "out")
    assert loaded.record.classes == ("background", "polyp")
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.network(x), glocal.create_model("lmnet_tiny", weights=checkpoint).eval()(x))


def test_a_name_with_a_dash_in_front(capsys, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "--", checkpoint.name, "out")[0] == 0
    assert load_model("out").record.name == "lmnet_tiny"


def test_json_alone_on_stdout(capsys, checkpoint, tmp_path):
    code, out, _ = run(capsys, checkpoint, tmp_path / "out", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["name"] == "lmnet_tiny"
    assert facts["tensors"] == len(glocal.create_model("lmnet_tiny").state_dict())
    assert facts["left_out"] == []


def test_refuses_a_folder_that_is_not_empty(capsys, checkpoint, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    code, _, err = run(capsys, checkpoint, out)
    assert code == 2
    assert "not empty" in err
    assert "--force" in err
    assert run(capsys, checkpoint, out, "--force")[0] == 0
    assert (out / "thesis.txt").read_text() == "precious"
    assert load_model(out).record.name == "lmnet_tiny"


def test_no_strict_says_what_it_left_out(capsys, tmp_path):
    tensors = glocal.create_model("lmnet_tiny").state_dict()
    del tensors["head.bias"]
    torch.save({**tensors, "extra": torch.zeros(1)}, tmp_path / "x.pth")
    code, _, err = run(capsys, tmp_path / "x.pth", tmp_path / "out")
    assert code == 2
    assert "head.bias" in err
    assert not (tmp_path / "out").exists()
    code, out, _ = run(capsys, tmp_path / "x.pth", tmp_path / "out", "--no-strict")
    assert code == 0
    assert "freshly initialised: 1 tensors (head.bias)" in out
    assert "left out: 1 tensors (extra)" in out


class Payload:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"some text", "not a checkpoint"),
        (pickle.dumps(Payload(), protocol=2), "evil.pth"),
    ],
)
def test_hostile_files_are_one_line_and_exit_code_2(capsys, tmp_path, content, word):
    (tmp_path / "evil.pth").write_bytes(content)
    code, out, err = run(capsys, tmp_path / "evil.pth", tmp_path / "out", "--model", "lmnet")
    assert (code, out) == (2, "")
    assert word in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_mistakes(capsys, checkpoint, tmp_path):
    assert "Did you mean 'lmnet'?" in run(capsys, checkpoint, tmp_path / "o", "--model", "lmnt")[2]
    assert "no such file" in run(capsys, tmp_path / "nothing.pth", tmp_path / "o")[2]
    assert run(capsys, checkpoint)[0] == 2
