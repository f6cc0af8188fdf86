"""The cache equals decoding the files, is reused, and is whole or absent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from glocal.data import cache as cache_module
from glocal.data.cache import build_cache, default_folder, estimate_cache
from glocal.data.cases import Case, Dataset
from glocal.errors import UserError


def write_set(root: Path, count: int = 6, size: tuple[int, int] = (20, 30), colour: bool = True) -> Dataset:
    rng = np.random.default_rng(0)
    cases = []
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        image, mask = root / "images" / f"{index}.png", root / "masks" / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3) if colour else size, np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 3, size, np.uint8)).save(mask)
        cases.append(Case(str(index), image, (mask,)))
    return Dataset(root, "segmentation", "test", tuple(cases))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_set(tmp_path / "set")


def test_equals_direct_decode_at_full_size(dataset, tmp_path):
    cached = build_cache(dataset, dataset.cases, (20, 30), 3, tmp_path / "cache")
    assert (len(cached), cached.scale, cached.channels, cached.size) == (6, 255, 3, (20, 30))
    for index, case in enumerate(dataset.cases):
        item = cached[index]
        assert item["index"] == index
        assert item["image"].dtype == item["label"].dtype == torch.uint8
        np.testing.assert_array_equal(item["image"].numpy(), np.asarray(Image.open(case.image)).transpose(2, 0, 1))
        np.testing.assert_array_equal(item["label"].numpy(), np.asarray(Image.open(case.masks[0])))
    assert cached[-1]["index"] == 5
    with pytest.raises(IndexError):
        cached[6]


def test_resized_as_pillow_does(dataset, tmp_path):
    cached = build_cache(dataset, dataset.cases[::-1], (8, 12), 3, tmp_path)
    image = Image.open(dataset.cases[-1].image).resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(cached.images[0], np.asarray(image).transpose(2, 0, 1))
    assert cached.labels.shape == (6, 8, 12)
    assert set(np.unique(cached.labels)) <= {0, 1, 2}
    assert cached.notes == ("6 images: stretched to 8x12",)


def test_shrinking_averages(tmp_path):
    """Antialiased: a fine checkerboard becomes even grey, not black or white."""
    root = tmp_path / "set"
    dataset = write_set(root, 1, (64, 64), colour=False)
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(dataset.cases[0].image)
    image = build_cache(dataset, dataset.cases, (8, 8), 1, in_memory=True).images
    assert np.abs(image[0, 0, 1:-1, 1:-1].astype(int) - 127).max() <= 2


def test_channels(tmp_path):
    colour, grey = write_set(tmp_path / "colour"), write_set(tmp_path / "grey", colour=False)
    as_grey = build_cache(colour, colour.cases, (20, 30), 1, in_memory=True)
    red, green, blue = np.asarray(Image.open(colour.cases[0].image)).astype(float).transpose(2, 0, 1)
    assert np.abs(as_grey.images[0, 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
    assert as_grey.notes == ("6 images: colour reduced to grey",)
    as_colour = build_cache(grey, grey.cases, (20, 30), 3, in_memory=True)
    for channel in range(3):
        np.testing.assert_array_equal(as_colour.images[2, channel], np.asarray(Image.open(grey.cases[2].image)))


@pytest.mark.parametrize("in_memory", [True, False])
def test_16_bit_keeps_its_depth(tmp_path, in_memory):
    """Also when the first image has 8 bits: those are then written as 16."""
    dataset = write_set(tmp_path / "set", 3, colour=False)
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    Image.fromarray(deep).save(dataset.cases[2].image)
    cached = build_cache(dataset, dataset.cases, (20, 30), 1, tmp_path / "cache", in_memory=in_memory)
    assert cached.scale == 65535
    assert cached[2]["image"].dtype == torch.int32
    np.testing.assert_array_equal(cached[2]["image"][0].numpy(), deep)
    shallow = np.asarray(Image.open(dataset.cases[0].image))
    np.testing.assert_allclose(cached[0]["image"][0].numpy() / cached.scale, shallow / 255, atol=1e-9)


def test_classification(dataset, tmp_path):
    cases = tuple(Case(case.id, case.image, label=index % 2) for index, case in enumerate(dataset.cases))
    dataset = Dataset(dataset.root, "classification", "test", cases, class_names=("a", "b"))
    cached = build_cache(dataset, cases, (8, 8), 1, tmp_path / "cache")
    assert [cached[index]["label"] for index in range(6)] == [0, 1] * 3
    batch = next(iter(DataLoader(cached, batch_size=6)))
    assert batch["image"].shape == (6, 1, 8, 8)
    assert batch["label"].tolist() == [0, 1] * 3


def test_reused_until_something_changes(dataset, tmp_path):
    decoded: list[int] = []

    def build(**changes):
        before = len(decoded)
        options = {"cases": dataset.cases, "size": (8, 8), "channels": 1, **changes}
        fresh = Dataset(dataset.root, "segmentation", "test", dataset.cases)
        build_cache(fresh, folder=tmp_path / "c", progress=lambda done, _: decoded.append(done), **options)
        return len(decoded) - before

    assert build() == 6
    assert build() == 0
    assert build(size=(8, 9)) == 6
    assert build(channels=3) == 6
    assert build(cases=dataset.cases[:4]) == 4
    assert build(cases=dataset.cases[::-1]) == 6
    assert build() == 0
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(dataset.cases[0].masks[0])
    assert build() == 6


def test_estimate_is_what_is_written(dataset, tmp_path):
    estimate = estimate_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c")
    assert estimate.bytes == 6 * 8 * 8 * 4
    assert estimate.fits
    assert not estimate.exists
    assert "6 images at 8x8x3: 2 KiB on disk" in str(estimate)
    assert not (tmp_path / "c").exists()
    cached = build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c")
    assert cached.images.nbytes + cached.labels.nbytes == estimate.bytes
    assert estimate_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c").exists


@pytest.mark.parametrize(("in_memory", "cure"), [(True, "on disk"), (False, "GLOCAL_CACHE")])
def test_no_room_is_told_first(dataset, tmp_path, monkeypatch, in_memory, cure):
    monkeypatch.setattr(cache_module, "_available", lambda folder: 100)
    calls: list[int] = []
    with pytest.raises(UserError, match=cure):
        build_cache(
            dataset,
            dataset.cases,
            (64, 64),
            3,
            tmp_path / "c",
            in_memory=in_memory,
            progress=lambda done, _: calls.append(done),
        )
    assert not calls
    assert not (tmp_path / "c").exists()


def test_disk_that_fills_up(dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "_write_header", full)
    with pytest.raises(UserError, match=r"No space left on device.*GLOCAL_CACHE"):
        build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_unreadable_image_names_the_file_and_leaves_nothing(dataset, tmp_path):
    dataset.cases[4].image.write_bytes(dataset.cases[4].image.read_bytes()[:200])
    with pytest.raises(UserError, match=r"4\.png"):
        build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_no_cases_or_impossible_size(dataset, tmp_path):
    for cases, size, channels in [((), (8, 8), 3), (dataset.cases, (0, 8), 3), (dataset.cases, (8, 8), 2)]:
        with pytest.raises(UserError):
            build_cache(dataset, cases, size, channels, tmp_path)


def test_killed_build_is_not_taken_for_whole(dataset, tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from glocal.data.cache import build_cache
from glocal.data.cases import Case, Dataset
root, cache = map(Path, sys.argv[1:])
cases = tuple(Case(str(i), root / "images" / f"{i}.png", (root / "masks" / f"{i}.png",)) for i in range(6))
def kill(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
build_cache(Dataset(root, "segmentation", "test", cases), cases, (8, 8), 3, cache, progress=kill)
"""
    folder = tmp_path / "c"
    killed = subprocess.run([sys.executable, "-c", script, str(dataset.root), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (remains,) = folder.iterdir()
    assert remains.name.startswith(".partial-")
    calls: list[int] = []
    cached = build_cache(dataset, dataset.cases, (8, 8), 3, folder, progress=lambda done, _: calls.append(done))
    assert len(calls) == 6
    assert remains.exists()  # it might be a build that goes on
    old = time.time() - 2 * cache_module.STALE
    for path in (*remains.iterdir(), remains):
        os.utime(path, (old, old))
    build_cache(dataset, dataset.cases, (9, 9), 3, folder)
    assert not remains.exists()
    assert cached.folder is not None
    assert cached.folder.exists()


@pytest.mark.parametrize("damage", ["truncate", "remove", "record"])
def test_damaged_cache_is_made_anew(dataset, tmp_path, damage):
    cached = build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path)
    expected = cached.images.copy()
    images = cached.folder / "images.npy"
    if damage == "truncate":
        os.truncate(images, 300)
    elif damage == "remove":
        images.unlink()
    else:
        (cached.folder / "cache.json").write_text("[]")
    np.testing.assert_array_equal(build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path).images, expected)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_shared_by_workers(dataset, tmp_path, context):
    """A worker gets the path of the arrays, not their content, and reads the same."""
    cached = build_cache(dataset, dataset.cases, (20, 30), 3, tmp_path)
    assert len(pickle.dumps(cached)) < 2000 < cached.images.nbytes
    loader = DataLoader(cached, batch_size=2, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    np.testing.assert_array_equal(torch.cat([batch["image"] for batch in batches]).numpy(), cached.images)
    np.testing.assert_array_equal(torch.cat([batch["label"] for batch in batches]).numpy(), cached.labels)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(6))


def test_items_do_not_alias_the_cache(dataset):
    cached = build_cache(dataset, dataset.cases, (8, 8), 3, in_memory=True)
    before = cached.images.copy()
    item = cached[0]
    item["image"].zero_()
    item["label"].fill_(9)
    np.testing.assert_array_equal(cached.images, before)
    assert cached.labels.max() <= 2


def test_two_processes_at_once(dataset, tmp_path):
    """The one that comes second keeps what the first has made."""
    results: list[np.ndarray] = []

    def other(done: int, total: int) -> None:
        if done == 4 and not results:
            results.append(np.zeros(0))
            results[0] = build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path).images.copy()

    cached = build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path, progress=other)
    np.testing.assert_array_equal(cached.images, results[0])
    assert [path.name for path in tmp_path.iterdir() if path.name != "set"] == [cached.folder.name]


def test_really_two_processes_at_once(dataset, tmp_path):
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        jobs = [pool.apply_async(build_cache, (dataset, dataset.cases, (8, 8), 3, tmp_path / "c")) for _ in range(4)]
        folders = {job.get(timeout=60).folder for job in jobs}
    assert len(folders) == len(list((tmp_path / "c").iterdir())) == 1


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.delenv("GLOCAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "glocal"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "glocal"


def test_folder_that_is_a_file(dataset, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="GLOCAL_CACHE"):
        build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "file")


def test_cache_removed_under_a_worker(dataset, tmp_path):
    cached = pickle.loads(pickle.dumps(build_cache(dataset, dataset.cases, (8, 8), 3, tmp_path / "c")))
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(UserError, match="start again"):
        cached[0]
