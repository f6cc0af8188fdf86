"""A run that is killed at any moment and resumed ends bit for bit as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glocal.errors import UserError
from glocal.training import resume, train
from glocal.training.recipe_files import dump_recipe

SCRIPT = """
import os, signal, sys
from glocal.cli import main
from glocal.training.module import Training

epoch, batch, kind = int(sys.argv[1]), int(sys.argv[2]), getattr(signal, sys.argv[3])
step = Training.training_step

def stopping(self, images, index):
    if (self.current_epoch, index) == (epoch, batch):
        os.kill(os.getpid(), kind)
    return step(self, images, index)

Training.training_step = stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may have been started where it is ignored
sys.exit(main(sys.argv[4:]))
"""

DEMANDING = {
    "augment__crop__p": 1.0,
    "augment__one_of__p": 0.4,
    "train__ema": 0.9,
    "train__balanced_sampling": True,
    "train__accumulate": 2,
    "optimizer__name": "sgd",
}


def stopped(kind: str, epoch: int, batch: int, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(epoch), str(batch), kind, "train", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def require_equal(one: object, other: object, where: str = "") -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where  # type: ignore[arg-type]
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where  # type: ignore[attr-defined]
        for key in one:
            require_equal(one[key], other[key], f"{where}.{key}")  # type: ignore[index]
    elif isinstance(one, list | tuple):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):  # type: ignore[call-overload]
            require_equal(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


def require_same_runs(one: Path, other: Path) -> None:
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    assert (one / "model/model.safetensors").read_bytes() == (other / "model/model.safetensors").read_bytes()
    assert (one / "recipe.yaml").read_text() == (other / "recipe.yaml").read_text()
    for name in ("last", "best"):
        a, b = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (one, other))
        for part in ("state_dict", "optimizer_states", "current_model_state"):
            require_equal(a.get(part), b.get(part), part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "epoch", "batch"),
    [({}, 0, 2), (DEMANDING, 1, 1)],
    ids=["in the first epoch", "in the second epoch with everything on"],
)
def test_killed_and_resumed_is_bit_for_bit_unbroken(discs, tmp_path, small, changes, epoch, batch) -> None:  # type: ignore[no-untyped-def]
    recipe = small(**changes)
    train(discs, recipe, tmp_path / "unbroken")
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    killed = stopped(
        "SIGKILL", epoch, batch, [str(discs), "--recipe", f"{tmp_path}/r.yaml", "--output", f"{tmp_path}/run"]
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run/model").exists()
    result = resume(tmp_path / "run", changes={"train.workers": 1})
    assert len(result.history) == 3
    require_same_runs(tmp_path / "unbroken", tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".partial-*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_an_interrupt_exits_130_and_says_how_to_go_on(discs, tmp_path, small, kind) -> None:  # type: ignore[no-untyped-def]
    recipe = small()
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    words = [str(discs), "--recipe", f"{tmp_path}/r.yaml", "--output", f"{tmp_path}/run"]
    interrupted = stopped(kind, 1, 0, words)
    assert interrupted.returncode == 130
    assert f"glocal train --resume {tmp_path}/run" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    train(discs, recipe, tmp_path / "unbroken")
    resume(tmp_path / "run")
    require_same_runs(tmp_path / "unbroken", tmp_path / "run")


@pytest.fixture
def interrupted(discs, tmp_path, small, monkeypatch) -> Path:  # type: ignore[no-untyped-def]
    """A run that was stopped after its first epoch."""
    from glocal.training.module import SegmentationTraining

    step, handler = SegmentationTraining.training_step, signal.getsignal(signal.SIGINT)

    def stopping(self, batch, index):  # type: ignore[no-untyped-def]
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTraining, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(discs, small(), tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is handler
    return tmp_path / "run"


def test_resuming_checks_recipe_splits_data_and_checkpoint(interrupted: Path, discs: Path, tmp_path: Path) -> None:
    def refused(message: str, **options: object) -> None:
        with pytest.raises(UserError, match=message) as caught:
            resume(interrupted, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    refused(r"recipe\.yaml: this run has train\.epochs 3, not 5", changes={"train.epochs": 5})
    refused("the data of the run is not there", data_root=tmp_path / "nowhere")
    recipe = interrupted / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs: 3", "epochs: 4"))
    refused(r"recipe\.yaml: edited since the run began")
    recipe.write_text(text + "# a comment does no harm\n")
    splits = interrupted / "splits.json"
    kept = splits.read_text()
    splits.write_text(json.dumps({**json.loads(kept), "seed": 9}))
    refused(r"splits\.json: edited since the run began")
    splits.write_text(kept)
    last = interrupted / "checkpoints/last.ckpt"
    whole = last.read_bytes()
    for damaged in (whole[:1000], b"", b"no checkpoint"):
        last.write_bytes(damaged)
        refused(r"last\.ckpt: .*copy best\.ckpt over it")
    torch.save({"state_dict": {}}, last)
    refused(r"last\.ckpt: not a checkpoint of a run")
    other = torch.load(interrupted / "checkpoints/best.ckpt", weights_only=True)
    torch.save({**other, "state_dict": {"network.weight": torch.zeros(3)}}, last)
    refused(r"last\.ckpt: the checkpoint of another network")
    last.write_bytes(whole)
    manifest = interrupted / "manifest.json"
    said = manifest.read_text()
    for damaged in ("{}", "[]", '{"data": {}}', "not JSON"):
        manifest.write_text(damaged)
        refused(r"manifest\.json: not")
    manifest.write_text(said)
    image = next((discs / "images").iterdir())
    pixels = image.read_bytes()
    image.write_bytes(pixels + b"\0")
    refused("the data has changed since the run began")
    image.write_bytes(pixels)
    assert len(resume(interrupted).history) == 3


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> object:
        return (Path.touch, (self.trace,))


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(interrupted: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callbacks": Payload(tmp_path / "executed")}, interrupted / "checkpoints/last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: not a usable checkpoint"):
        resume(interrupted)
    assert not (tmp_path / "executed").exists()


def test_the_data_may_have_moved(interrupted: Path, discs: Path, tmp_path: Path) -> None:
    moved = discs.rename(tmp_path / "moved")
    assert len(resume(interrupted, moved).history) == 3


def test_a_finished_run_is_left_as_it_is(discs, tmp_path, small) -> None:  # type: ignore[no-untyped-def]
    first = train(discs, small(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    again = resume(tmp_path / "run")
    assert again.best == first.best
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


def test_a_run_killed_after_its_last_epoch_is_finished(discs, tmp_path, small) -> None:  # type: ignore[no-untyped-def]
    train(discs, small(), tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    weights = (tmp_path / "run/model/model.safetensors").read_bytes()
    (tmp_path / "run/model/model.safetensors").unlink()
    (tmp_path / "run/manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    resume(tmp_path / "run")
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "run/manifest.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("name", ["empty", "file"])
def test_what_is_no_run_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=name):
        resume(tmp_path / name)


def test_two_processes_do_not_train_one_run(interrupted: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from glocal.training.run_folder import RunFolder\n"
            "with RunFolder(Path(sys.argv[1])).held(): print('held', flush=True); sys.stdin.read()",
            str(interrupted),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    before = (interrupted / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match="another process is training this run"):
        resume(interrupted)
    assert (interrupted / "metrics.csv").read_bytes() == before
    holder.communicate("", timeout=60)
    assert len(resume(interrupted).history) == 3
