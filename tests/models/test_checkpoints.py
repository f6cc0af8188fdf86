"""Checkpoint files of strangers: what is read, and that a hostile one gives one line and runs nothing."""

import contextlib
import logging
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from glocal.errors import UserError
from glocal.models.checkpoints import read_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def saved(path, value):
    torch.save(value, path)
    return path


def same(tensors):
    return tensors.keys() == TENSORS.keys() and all(torch.equal(v, TENSORS[k]) for k, v in tensors.items())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "network."])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
def test_bare_or_nested_with_or_without_prefix(tmp_path, prefix, key):
    tensors = OrderedDict((prefix + k, v) for k, v in TENSORS.items())
    value = tensors if key is None else {"epoch": 3, key: tensors, "optimizer": {"lr": 0.1}}
    read = read_checkpoint(saved(tmp_path / "x.pth", value))
    assert same(read.tensors)
    assert any(repr(key) in note and "epoch" in note for note in read.notes) == (key is not None)
    assert any(repr(prefix) in note for note in read.notes) == bool(prefix)


def test_the_content_counts_not_the_name(tmp_path):
    save_file(TENSORS, tmp_path / "x.pth")
    torch.save(TENSORS, tmp_path / "y.safetensors")
    torch.save(TENSORS, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("x.pth", "y.safetensors", "old.ckpt"):
        assert same(read_checkpoint(tmp_path / name).tensors)


def test_names_of_files_may_be_anything(tmp_path):
    for name in ("with space.pth", "Gewichte-ü-重み.pth", "-dash.pth", "no suffix"):
        assert same(read_checkpoint(saved(tmp_path / name, TENSORS)).tensors)


class Payload:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def refused(path, *words):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("form", ["zip", "legacy", "raw pickle"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickled_payload_is_refused_and_not_run(tmp_path, form, nested):
    mark, path = tmp_path / "ran", tmp_path / "evil.pth"
    value = {"state_dict": dict(TENSORS), "args": Payload(mark)} if nested else Payload(mark)
    if form == "raw pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
    message = refused(path)
    if form == "zip":
        assert "mkdir" in message
        assert "state_dict()" in message
    assert not mark.exists()


def test_an_object_of_a_class_is_refused_by_name(tmp_path):
    network = torch.nn.Linear(2, 2)
    refused(saved(tmp_path / "whole.pth", network), "torch.nn.modules.linear.Linear", "state_dict()")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated(tmp_path, suffix, keep):
    path = tmp_path / f"cut{suffix}"
    save_file(TENSORS, path) if suffix == ".safetensors" else torch.save(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path)


def test_flipped_bytes_give_tensors_or_one_line(tmp_path):
    """No damage of one byte may crash the reader in another way."""
    torch.save(TENSORS, tmp_path / "whole.pth")
    save_file(TENSORS, tmp_path / "whole.safetensors")
    for source in ("whole.pth", "whole.safetensors"):
        whole = (tmp_path / source).read_bytes()
        path = tmp_path / "flipped.bin"
        for at in range(0, len(whole), 37):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
            with contextlib.suppress(UserError):
                read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"hello, this is text\n" * 10, b"\x00" * 100, b"\x80", b"PK\x03\x04", b"{}", b"\x10\x00\x00\x00\x00\x00\x00\x00{"],
)
def test_files_that_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    refused(path)


def test_things_that_are_no_files(tmp_path):
    folder = tmp_path / "folder.pth"
    folder.mkdir()
    refused(folder, "folder")
    refused(tmp_path / "missing.pth", "no such file")
    link = tmp_path / "link.pth"
    link.symlink_to(tmp_path / "nowhere")
    refused(link, "link")
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    refused(pipe, "pipe")


def test_an_archive_that_grows_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"w": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    assert bomb.stat().st_size < 20_000
    refused(bomb, "compressed")


def test_a_tensor_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = saved(tmp_path / "wide.pth", {"w": torch.zeros(1).expand(10**12)})
    refused(path, "w claims shape (1000000000000,)")


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 1, "lr": 0.1}, {}, {"state_dict": {}}, torch.zeros(3)])
def test_no_tensors_by_name(tmp_path, value):
    refused(saved(tmp_path / "x.pth", value))


def test_sparse_and_foreign_tensors_are_refused(tmp_path):
    refused(saved(tmp_path / "sparse.pth", {"w": torch.eye(3).to_sparse()}), "w is not a dense tensor")
    refused(saved(tmp_path / "meta.pth", {"w": torch.zeros(3, device="meta")}), "w is not a dense tensor")


def test_nan_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "glocal"):
        read_checkpoint(saved(tmp_path / "x.pth", {"a": torch.ones(2), "b": torch.tensor([float("nan")])}))
    assert "NaN or infinite numbers in b" in caplog.text


def test_entries_that_are_no_tensors_are_told(tmp_path):
    read = read_checkpoint(saved(tmp_path / "x.pth", {**TENSORS, "step": 3}))
    assert same(read.tensors)
    assert read.notes == ("left step: no tensors",)


def test_names_cannot_write_to_the_terminal(tmp_path):
    message = refused(saved(tmp_path / "x.pth", {"\x1b[31mred\nline": torch.eye(2).to_sparse()}))
    assert "\x1b" not in message
