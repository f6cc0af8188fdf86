"""``glocal data inspect``, ``prepare`` and ``mend`` on sets as their makers distribute them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from glocal.cli import main

pytest.importorskip("nibabel", reason="volumes need the extra 'volumes'")
_PATH = Path(__file__).parents[1] / "data" / "miniatures.py"
_SPEC = importlib.util.spec_from_file_location("miniatures", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
mini = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mini)

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


def test_inspect_names_the_layout_and_the_command(tmp_path, capsys):
    mini.synapse(tmp_path / "Synapse")
    assert main(["data", "inspect", str(tmp_path / "Synapse")]) == 0
    shown = capsys.readouterr().out
    for words in ("Synapse as TransUNet distributes it", "8 slices of 2 volumes", "1 whole volume"):
        assert words in shown
    assert f"glocal data prepare {tmp_path / 'Synapse'} OUT" in shown
    assert main(["data", "inspect", str(tmp_path / "Synapse"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["layout"], record["kind"]) == ("synapse", "volumes")


def test_inspect_of_volumes(tmp_path, capsys):
    mini.volumes(tmp_path / "scans")
    sheet = tmp_path / "sheet.png"
    assert main(["data", "inspect", str(tmp_path / "scans"), "--contact_sheet", str(sheet), "--tiles", "4"]) == 0
    shown = capsys.readouterr().out
    for words in ("3 (all usable)", "28x32x4 (3)", "1.5x1.5x4 mm (3)", "RAS (3)", "NIfTI, float32 (3)"):
        assert words in shown
    assert sheet.stat().st_size > 1000
    assert main(["data", "inspect", str(tmp_path / "scans"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == 2


def test_inspect_exits_2_when_no_volume_can_be_used(tmp_path, capsys):
    mini.volumes(tmp_path / "scans")
    for path in (tmp_path / "scans" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert main(["data", "inspect", str(tmp_path / "scans")]) == 2
    captured = capsys.readouterr()
    assert "3 errors" in captured.out
    assert captured.err.count("\n") == 1


def test_prepare_says_what_changed(tmp_path, capsys):
    mini.psfhs(tmp_path / "PSFHS")
    out = tmp_path / "out"
    assert main(["data", "prepare", str(tmp_path / "PSFHS"), str(out)]) == 0
    shown = capsys.readouterr().out
    assert "3 cases: MetaImage written as PNG" in shown
    assert "three equal channels made one" in (out / "prepare-report.md").read_text()
    assert main(["data", "prepare", str(tmp_path / "PSFHS"), str(out)]) == 0
    assert "3 were there already" in capsys.readouterr().out
    assert main(["data", "inspect", str(out)]) == 0
    assert "fetal head" in capsys.readouterr().out


def test_cases_left_out_give_exit_code_2_unless_accepted(tmp_path, capsys):
    mini.psfhs(tmp_path / "PSFHS")
    (tmp_path / "PSFHS" / "label_mha" / "03744.mha").write_bytes(b"")
    assert main(["data", "prepare", str(tmp_path / "PSFHS"), str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "03744.mha: the file is empty" in captured.out
    assert "1 case left out" in captured.err
    arguments = [str(tmp_path / "PSFHS"), str(tmp_path / "other"), "--skip_broken", "--json"]
    assert main(["data", "prepare", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["left_out"]) == 1
    assert len(report["cases"]) == 2


def test_mend(tmp_path, capsys):
    mini.volumes(tmp_path / "scans")
    stem = "patient002_frame01"
    mini.nifti(tmp_path / "scans" / "masks" / f"{stem}.nii.gz", mini.organs(2, classes=4)[1], np.eye(4))
    assert main(["data", "inspect", str(tmp_path / "scans")]) == 0
    assert "glocal data mend" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "mend", str(tmp_path / "scans"), str(tmp_path / "mended")]) == 0
    assert "mended: the mask has no position in space" in capsys.readouterr().out
    assert main(["data", "inspect", str(tmp_path / "mended")]) == 0
    assert "3 (all usable)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "nowhere", "out"], "no such folder"),
        (["prepare", ".", "out", "--layout", "synaps"], "Did you mean 'synapse'?"),
        (["prepare", ".", "out", "--layout", "synapse"], "this is not the layout 'synapse'"),
        (["prepare", ".", "out", "--to", "nnnet"], "plain"),
        (["prepare", ".", "out"], "no images"),
        (["mend", ".", "out", "--mnd"], "--mnd"),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    assert main(["data", *("../out" if word == "out" else word for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_help(capsys):
    for command in ("prepare", "mend"):
        assert main(["data", command, "--help"]) == 0
        assert f"glocal data {command} " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.slow
def test_a_killed_process_is_taken_up_by_the_same_command(tmp_path):
    mini.medmnist(tmp_path, "bloodmnist")
    source = tmp_path / "bloodmnist.npz"
    images = np.random.default_rng(0).integers(0, 256, (1500, 64, 64), np.uint8)
    np.savez(source, train_images=images, train_labels=(np.arange(1500) % 8)[:, None].astype(np.uint8))
    command = [sys.executable, "-m", "glocal", "data", "prepare", str(source), str(tmp_path / "out"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    images_folder = tmp_path / ".out.unfinished" / "images"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (images_folder.is_dir() and len(list(images_folder.iterdir())) > 100):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    done = {path.name: path.stat().st_mtime_ns for path in images_folder.iterdir() if not path.name.startswith(".")}
    assert 50 <= len(done) < 1500
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert len(report["cases"]) == 1500
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    assert len(after) == 1500
    assert not any(name.startswith(".partial") for name in after)
    again = sum(after[name] != time_ for name, time_ in done.items())
    assert again <= 16  # those that were being written by a thread


def test_real_sets_are_prepared_without_loss(tmp_path, capsys):
    import nibabel

    if not SHARED.is_dir():
        pytest.skip("the shared data are not beside the checkout (GLOCAL_SHARED)")
    source = SHARED / "hippocampus"
    assert main(["data", "prepare", str(source), str(tmp_path / "raw"), "--to", "nnunet"]) == 0
    assert main(["data", "prepare", str(tmp_path / "raw"), str(tmp_path / "plain")]) == 0
    capsys.readouterr()
    for path in sorted((source / "masks").iterdir())[:4]:
        before, after = nibabel.load(path), nibabel.load(tmp_path / "plain" / "masks" / path.name)
        assert (np.asarray(before.dataobj) == np.asarray(after.dataobj)).all()
        np.testing.assert_allclose(before.affine, after.affine, atol=1e-4)
        image = tmp_path / "plain" / "images" / path.name
        assert image.read_bytes() == (source / "images" / path.name).read_bytes()
