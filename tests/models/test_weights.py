"""Model folders: what is saved is loaded, bit for bit; what does not fit is said by name, in one line."""

import json
import logging
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import glocal
from glocal.errors import UserError
from glocal.models.weights import ModelRecord, Preprocessing, load_model, save_model

PREPROCESSING = Preprocessing(size=(64, 48), channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
CLASSES = ("background", "polyp")


def save(folder, network, **changed):
    given = {
        "name": "lmnet_tiny",
        "arguments": {},
        "classes": CLASSES,
        "task": "segmentation",
        "preprocessing": PREPROCESSING,
        "manifest": {"note": "ü"},
    }
    return save_model(folder, network, **{**given, **changed})


def trained(**options):
    """A network whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    network = glocal.create_model("lmnet_tiny", **options)
    network(torch.rand(2, network.in_channels, 32, 32))
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return trained()


@pytest.fixture
def folder(tmp_path, network):
    save(tmp_path / "model", network)
    return tmp_path / "model"


def refused(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message


@pytest.mark.parametrize("deployed", [False, True])
def test_saved_and_loaded_is_bit_equal(tmp_path, network, deployed):
    network = glocal.deploy(network) if deployed else network
    record = save(tmp_path / "a b", network)
    loaded = load_model(tmp_path / "a b")
    assert loaded.record == record
    assert record.deployed is deployed
    assert not loaded.network.training
    state = loaded.network.state_dict()
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    x = torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        assert torch.equal(loaded.network(x), network(x))


def test_the_record_says_everything(folder):
    value = json.loads((folder / "model.json").read_text())
    assert value == {
        "format": 1,
        "name": "lmnet_tiny",
        "arguments": {"in_channels": 3, "num_classes": 2},
        "classes": ["background", "polyp"],
        "task": "segmentation",
        "preprocessing": {
            **{"size": [64, 48], "channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "mode": "resize"}
        },
        "deployed": False,
        "manifest": {"note": "ü"},
    }


def test_options_of_the_network_are_kept(tmp_path):
    network = trained(in_channels=1, num_classes=3, skip="single", branches=("5x5", "3x1"), rel_pos_bias=True)
    options = {"skip": "single", "branches": ("5x5", "3x1"), "rel_pos_bias": True}
    save(tmp_path, network, arguments=options, classes=("a", "b", "c"))
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path).network(x), network(x))
        assert torch.equal(glocal.create_model("lmnet_tiny", weights=tmp_path).eval()(x), network(x))


def test_a_run_folder_or_one_of_its_files_means_its_model(tmp_path, network):
    save(tmp_path / "run" / "model", network)
    for source in (tmp_path / "run", *(tmp_path / "run/model" / name for name in ("model.json", "model.safetensors"))):
        assert load_model(source).record.classes == CLASSES


@pytest.mark.parametrize("change", [lambda n: n.half(), lambda n: n.double(), lambda n: n.bfloat16()])
def test_numbers_are_stored_as_float32(tmp_path, change):
    network = change(trained())
    save(tmp_path, network)
    stored = load_file(tmp_path / "model.safetensors")
    assert {v.dtype for v in stored.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(v, network.state_dict()[k].to(v.dtype)) for k, v in stored.items())


def test_memory_format_does_not_matter(tmp_path, network):
    save(tmp_path, trained().to(memory_format=torch.channels_last))
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in load_model(tmp_path).network.state_dict().items())


def test_saving_refuses_a_record_that_would_lie(tmp_path, network):
    with pytest.raises(ValueError, match="is not the network given"):
        save(tmp_path, network, arguments={"skip": "single"})
    with pytest.raises(ValueError, match="is not the network given"):
        save(tmp_path, network, name="lmnet")
    with pytest.raises(ValueError, match="3 class names for 2 outputs"):
        save(tmp_path, network, classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="not a registered network"):
        save(tmp_path, torch.nn.Linear(2, 2))
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_model(folder):
    other = trained()
    torch.nn.init.zeros_(other.head.weight)
    save(folder, other, classes=("a", "b"))
    assert load_model(folder).record.classes == ("a", "b")
    assert not load_model(folder).network.head.weight.any()
    assert sorted(os.listdir(folder)) == ["model.json", "model.safetensors"]


FULL_DISK = """
import resource, signal, sys
import glocal
from glocal.models.weights import Preprocessing, save_model
network = glocal.create_model("lmnet_tiny")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
pre = Preprocessing((64, 64), 3, (0.5,) * 3, (0.5,) * 3)
try:
    save_model(sys.argv[1], network, name="lmnet_tiny", arguments={}, classes=["a", "b"], task="segmentation",
               preprocessing=pre)
except glocal.UserError as error:
    print(error)
"""


def test_a_full_disk_gives_one_line_and_leaves_the_old_model(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = subprocess.run([sys.executable, "-c", FULL_DISK, folder], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "no space left" in done.stdout
    assert str(folder) in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path, network):
    (tmp_path / "file").write_text("x")
    refused(lambda: save(tmp_path / "file", network), tmp_path / "file")
    refused(lambda: save(tmp_path / "file" / "inside", network), tmp_path / "file")


def test_what_is_not_a_model_folder(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    refused(lambda: load_model(tmp_path / "empty"), tmp_path / "empty", "no model in this folder")
    refused(lambda: load_model(tmp_path / "nowhere"), "no such file")
    (folder / "model.json").unlink()
    refused(lambda: load_model(folder / "model.safetensors"), "model.json", "glocal convert")


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xfe\x00", b"[1, 2]", b'{"format": 1', b"null", b"[" * 100000])
def test_a_damaged_record(folder, content):
    (folder / "model.json").write_bytes(content)
    refused(lambda: load_model(folder), folder / "model.json")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("format", 2, "update glocal"),
        ("format", 0, "save the model again"),
        ("format", "1", "format must be a whole number"),
        ("name", "lmnt_tiny", "Did you mean 'lmnet_tiny'?"),
        ("name", 3, "name must be a text"),
        ("task", "detection", "segmentation, classification"),
        ("classes", [], "classes"),
        ("classes", ["a", 2], "classes"),
        ("classes", ["a", "b", "c"], "3 classes but num_classes 2"),
        ("arguments", [], "arguments must be an object"),
        ("arguments", {"skp": "multi"}, "Did you mean 'skip'?"),
        ("arguments", {"skip": 7}, "skip"),
        ("arguments", {"weights": "/etc/passwd"}, "no option 'weights'"),
        ("arguments", {"name": "lmnet"}, "no option 'name'"),
        ("arguments", {"features_only": True}, "no option 'features_only'"),
        ("arguments", {"strict": False}, "no option 'strict'"),
        ("arguments", {"branches": {"a.b": "3x3"}}, "plain word"),
        ("arguments", {"filters": [[1], 2, 3, 4, 5]}, "each item a whole number"),
        ("arguments", {"filters": [12.5, 24, 48, 96, 192]}, "each item a whole number"),
        ("arguments", {"num_heads": "3"}, "num_heads is '3'"),
        ("arguments", {"window_size": "3"}, "must be a whole number"),
        ("arguments", {"filters": [10**9] * 5}, "overflowed"),
        ("arguments", {"filters": [10**5] * 5}, "does not fit"),
        ("arguments", {"num_classes": 10**12}, "2 classes but num_classes"),
        ("deployed", "no", "deployed must be true or false"),
        ("deployed", True, "does not fit"),
        ("manifest", None, "manifest must be an object"),
        ("preprocessing", {}, "preprocessing.size"),
        ("preprocessing.size", [64], "size"),
        ("preprocessing.size", [64, -1], "size"),
        ("preprocessing.size", [64.5, 64], "size"),
        ("preprocessing.channels", True, "channels must be a whole number"),
        ("preprocessing.mean", [0.5], "mean"),
        ("preprocessing.std", [0.2, 0.2, 0], "above 0"),
        ("preprocessing.std", [0.2, 0.2, "x"], "std"),
        ("preprocessing.meen", [0.5] * 3, "Did you mean 'mean'?"),
        ("class", ["a"], "unknown key"),
    ],
)
def test_a_record_with_one_wrong_value(folder, key, value, word):
    path = folder / "model.json"
    record = json.loads(path.read_text())
    at = record
    *parents, last = key.split(".")
    for parent in parents:
        at = at[parent]
    at[last] = value
    path.write_text(json.dumps(record))
    refused(lambda: load_model(folder), folder, word)


@pytest.mark.parametrize("key", ["format", "name", "arguments", "classes", "task", "preprocessing", "deployed"])
def test_a_record_with_a_key_missing(folder, key):
    path = folder / "model.json"
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    refused(lambda: load_model(folder), path, f"no key '{key}'")


def test_a_record_survives_json():
    record = ModelRecord(
        "lmnet", {"filters": (1, 2)}, CLASSES, "segmentation", PREPROCESSING, True, {"a": [1, {"b": 2}]}
    )
    read = ModelRecord.from_json(json.loads(json.dumps(record.to_json())), "x.json")
    assert read.to_json() == record.to_json()
    assert read.preprocessing == PREPROCESSING


def edit(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_tensors_that_do_not_fit_are_listed_by_name(folder):
    def change(tensors):
        del tensors["down.0.1.bias"]
        tensors["extra.weight"] = torch.zeros(2)
        tensors["up.0.conv.weight"] = torch.zeros(1, 2)

    edit(folder, change)
    refused(
        lambda: load_model(folder),
        "1 missing (down.0.1.bias)",
        "1 unexpected (extra.weight)",
        "1 of another shape (up.0.conv.weight (1, 2) in the file, (4, 8, 3, 3) in the network)",
        "strict=False",
    )


def test_not_strict_loads_the_rest_and_says_what_it_left_out(folder, network, caplog):
    edit(folder, lambda tensors: tensors.pop("down.0.1.bias"))
    with caplog.at_level(logging.WARNING, "glocal"):
        loaded = load_model(folder, strict=False).network
    assert "down.0.1.bias" in caplog.text
    assert "1 missing" in caplog.text
    state = loaded.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items() if k != "down.0.1.bias")


def test_many_misfits_are_one_short_line(folder):
    edit(folder, lambda tensors: [tensors.pop(k) for k in list(tensors) if "encoder" in k])
    message = refused(lambda: load_model(folder), "more)")
    assert len(message) < 800


class TestCreateModel:
    def test_adopts_the_classes_and_channels_of_the_weights(self, tmp_path):
        save(tmp_path, trained(in_channels=1, num_classes=3), classes=("a", "b", "c"), arguments={})
        network = glocal.create_model("lmnet_tiny", weights=tmp_path)
        assert (network.in_channels, network.num_classes) == (1, 3)

    def test_adopts_them_from_bare_tensors_too_and_says_so(self, tmp_path, caplog):
        source = trained(in_channels=1, num_classes=3)
        torch.save(source.state_dict(), tmp_path / "bare.pt")
        save_file(source.state_dict(), tmp_path / "bare.safetensors")
        for name in ("bare.pt", "bare.safetensors"):
            with caplog.at_level(logging.INFO, "glocal"):
                network = glocal.create_model("lmnet_tiny", weights=tmp_path / name).eval()
            assert "adopted in_channels=1, num_classes=3" in caplog.text
            x = torch.rand(1, 1, 32, 32)
            with torch.no_grad():
                assert torch.equal(network(x), source(x))

    def test_deployed_tensors_are_recognised(self, tmp_path, network):
        fast = glocal.deploy(network)
        torch.save(fast.state_dict(), tmp_path / "fast.pt")
        x = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(glocal.create_model("lmnet_tiny", weights=tmp_path / "fast.pt").eval()(x), fast(x))

    def test_other_classes_are_refused_with_the_cure(self, folder):
        refused(
            lambda: glocal.create_model("lmnet_tiny", num_classes=5, weights=folder),
            "head.weight (2, 4, 1, 1) in the file, (5, 4, 1, 1) in the network",
            "num_classes=2",
            "strict=False",
        )

    def test_not_strict_keeps_a_fresh_head(self, folder, network):
        fresh = glocal.create_model("lmnet_tiny", num_classes=5, weights=folder, strict=False)
        assert fresh.num_classes == 5
        assert torch.equal(fresh.state_dict()["up.0.conv.weight"], network.state_dict()["up.0.conv.weight"])

    def test_weights_of_another_network_say_which(self, tmp_path, folder):
        refused(lambda: glocal.create_model("lmnet", weights=folder), "weights of lmnet_tiny, not of lmnet")
        torch.save(trained().state_dict(), tmp_path / "bare.pt")
        refused(lambda: glocal.create_model("lmnet", weights=tmp_path / "bare.pt"), "It looks like lmnet_tiny")

    def test_tensors_of_no_network(self, tmp_path):
        torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "x.pth")
        for strict in (True, False):
            refused(
                lambda strict=strict: glocal.create_model("lmnet_tiny", weights=tmp_path / "x.pth", strict=strict),
                "none of its 1 tensors fits lmnet_tiny",
            )

    def test_features_take_weights(self, folder, network):
        features = glocal.create_model("lmnet_tiny", features_only=True, weights=folder).eval()
        x = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            ours, theirs = features(x), network.forward_features(x)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_are_converted_and_told(self, tmp_path, network, dtype, caplog):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in network.state_dict().items()}
        torch.save(state, tmp_path / "x.pt")
        with caplog.at_level(logging.INFO, "glocal"):
            loaded = glocal.create_model("lmnet_tiny", weights=tmp_path / "x.pt")
        assert f"converted from {str(dtype).removeprefix('torch.')} to float32" in caplog.text
        assert all(torch.equal(v, state[k].to(v.dtype)) for k, v in loaded.state_dict().items())
