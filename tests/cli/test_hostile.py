"""Hostile input through the commands: one line that names the file, exit code 2, nothing executed or half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glocal
from glocal.cli import main
from glocal.data import read_mask
from glocal.models.weights import Preprocessing, save_model

FAST = ["--recipe", "quick", "--data.size", "32", "--data.cache", "memory", "--train.epochs", "1"]
FAST += ["--train.device", "cpu", "--data.fractions", "[0.5, 0.25, 0.25]", "--evaluate", "false"]


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _checksum(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 40] ^= 0xFF
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("not an image\n" * 20)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere.png")


def _bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _nan(path: Path) -> None:
    values = np.asarray(Image.open(path)).astype(np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(path, format="TIFF")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "truncated": _truncated,
    "checksum": _checksum,
    "empty": _empty,
    "text": _text,
    "folder": _folder,
    "pipe": _pipe,
    "dangling link": _dangling,
    "bomb": _bomb,
    "nan": _nan,
}


@pytest.fixture(params=HOSTILE)
def spoil(request) -> Callable[[Path], None]:
    return HOSTILE[request.param]


def test_predict_keeps_the_good_images(trained, discs, spoil, refused, capsys):
    bad = discs / "images" / "disc 05.png"
    spoil(bad)
    assert str(bad) in refused("predict", trained, bad, "--output", "out")
    assert not Path("out").exists()
    assert "1 of 12 images could not be read" in refused("predict", trained, discs / "images", "--output", "out")
    assert len(list(Path("out").iterdir())) == 11
    assert not Path("out/disc 05.png").exists()
    assert main(["predict", str(trained), str(discs / "images"), "--output", "again", "--json"]) == 2
    shown = capsys.readouterr()
    assert sum(str(bad) in line for line in shown.err.splitlines()) == 1
    facts = {Path(one["image"]).name: one for one in json.loads(shown.out)}
    assert str(bad) in facts["disc 05.png"]["error"]
    assert "error" not in facts["disc 06.png"]


def test_train_stops_before_anything_is_written(discs, spoil, refused, tmp_path):
    bad = discs / "images" / "disc 05.png"
    spoil(bad)
    assert "disc 05.png" in refused("train", discs, *FAST, "--output", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_inspect_names_it_and_goes_on(discs, spoil, capsys):
    spoil(discs / "images" / "disc 05.png")
    code = main(["data", "inspect", str(discs)])
    shown = capsys.readouterr()
    assert code in (0, 2)
    assert "disc 05.png" in shown.out + shown.err
    assert "Traceback" not in shown.err


def test_evaluate_measures_all_or_nothing(trained, discs, spoil, refused):
    case = json.loads((trained / "splits.json").read_text())["splits"]["test"][0]
    spoil(discs / "images" / f"{case}.png")
    assert case in refused("evaluate", trained, "--data", discs)
    assert not (trained / "evaluation").exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("kind", ["size", "values", "truncated", "fractions"])
def test_masks_that_cannot_be_labels(trained, discs, kind, command, refused, tmp_path):
    part = "train" if command == "train" else "test"
    case = json.loads((trained / "splits.json").read_text())["splits"][part][0]
    path = discs / "masks" / f"{case}.png"
    mask = read_mask(path).values
    if kind == "size":
        Image.fromarray(mask[:-3]).save(path)
    elif kind == "values":
        for index, mask_path in enumerate(sorted((discs / "masks").iterdir())):
            Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40) + index).save(mask_path)
    elif kind == "truncated":
        _truncated(path)
    else:
        Image.fromarray(mask / np.float32(300)).save(path, format="TIFF")
    words = ["train", discs, *FAST, "--output", tmp_path / "new"]
    if command == "evaluate":
        words = ["evaluate", trained, "--data", discs]
    assert "masks" in refused(*words)
    assert not (tmp_path / "new").exists()
    assert not (trained / "evaluation").exists()


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (subprocess.check_call, (["touch", str(self.mark)],))


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(
    "kind", ["pickle", "renamed pickle", "truncated", "empty", "pipe", "other network", "record", "gone"]
)
def test_weights_that_cannot_be_used(trained, discs, kind, command, refused, tmp_path):
    weights, record = trained / "model" / "model.safetensors", trained / "model" / "model.json"
    if kind == "pickle":
        weights.write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    elif kind == "renamed pickle":
        record.unlink()
        weights.rename(trained / "model" / "model.pth")
        (trained / "model" / "model.pth").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif kind == "empty":
        weights.write_bytes(b"")
    elif kind == "pipe":
        weights.unlink()
        os.mkfifo(weights)
    elif kind == "other network":
        name = json.loads(record.read_text())["name"]
        other = glocal.create_model("lmnet_tiny" if name == "lmnet" else "lmnet", in_channels=1, num_classes=2)
        steps = Preprocessing((32, 32), 1, (0.5,), (0.2,))
        known = {"name": "lmnet_tiny" if name == "lmnet" else "lmnet", "arguments": {}, "classes": ["a", "b"]}
        save_model(tmp_path / "other", other, task="segmentation", preprocessing=steps, **known)
        shutil.copy(tmp_path / "other" / "model.safetensors", weights)
    elif kind == "record":
        record.write_text('{"format": 1, "name": "os.system"}')
    else:
        shutil.rmtree(trained / "model")
    words = ["predict", trained, discs / "images", "--output", "out"]
    line = refused(*(words if command == "predict" else ["evaluate", trained, "--data", discs]))
    assert "run" in line
    assert not (tmp_path / "executed").exists()
    assert not Path("out").exists()
    assert not (trained / "evaluation").exists()


def test_a_payload_named_as_the_run(discs, refused, tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    assert "x.pth" in refused("predict", tmp_path / "x.pth", discs / "images", "--output", tmp_path / "out")
    assert "x.pth" in refused("convert", tmp_path / "x.pth", tmp_path / "out")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trian: {epochs: 3}", "Did you mean"),
        ("train: {epoch: 3}", "Did you mean"),
        ("train: {epochs: many}", "epochs"),
        (BOMB, "aliases"),
        ("x: !!python/object/apply:os.system [touch executed]", "not a usable YAML"),
        ("a: [", "line"),
        ("", "empty"),
    ],
)
def test_recipes(discs, text, words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    line = refused("train", discs, "--recipe", "mine.yaml", "--output", "new")
    assert "mine.yaml" in line
    assert words in line
    assert not Path("executed").exists()
    assert not Path("new").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 96 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if (
        not mounted
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", folder], check=False).returncode
    ):
        pytest.skip("a small disk can only be mounted as root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_predict_on_a_full_disk(trained, tmp_path, small_disk, refused):
    random = np.random.default_rng(0)
    (tmp_path / "many").mkdir()
    for index in range(6):
        noise = random.integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "many" / f"{index}.png")
    line = refused("predict", trained, tmp_path / "many", "--output", small_disk / "out", "--overlay")
    assert "no space left" in line
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    assert left
    for path in left:
        assert not path.name.startswith(".")
        with Image.open(path) as image:
            image.load()


def test_evaluate_on_a_full_disk(trained, small_disk, refused):
    (small_disk / "filler").write_bytes(bytes(60_000))
    line = refused("evaluate", trained, "--output", small_disk / "report")
    assert "no space left" in line
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_train_on_a_full_disk(discs, small_disk, refused):
    line = refused("train", discs, *FAST, "--output", small_disk / "run")
    assert "no space left" in line
    assert not [path for path in small_disk.rglob("*") if path.name.startswith(".partial")]
