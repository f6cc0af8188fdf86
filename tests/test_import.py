"""The core needs no extra, and what needs one says which."""

import subprocess
import sys

import pytest

EXTRAS = (
    "lightning monai kornia PIL matplotlib tensorboard onnx onnxscript onnxruntime torchvision pandas nibabel pydicom"
)

HIDE = f"""
import sys
from importlib.machinery import PathFinder

class Hiding:
    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {EXTRAS.split()!r}
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding()
"""


def python(code: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", HIDE + code, *map(str, words)], capture_output=True, text=True)


def run(code: str, *words: object) -> str:
    done = python(code, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_glocal_brings_nothing_heavy():
    loaded = run("import torch; before = set(sys.modules); import glocal; print(*sorted(set(sys.modules) - before))")
    top = {name.partition(".")[0] for name in loaded.split()}
    assert "glocal" in top
    heavy = {*EXTRAS.split(), "scipy", "yaml", "jsonargparse", "rich", "safetensors", "sympy"}
    assert not top & heavy


def test_networks_are_made_deployed_saved_and_loaded_without_extras(tmp_path):
    code = """
import torch, glocal
from glocal.models.weights import Preprocessing, load_model, save_model

assert "lmnet" in glocal.list_models()
network = glocal.create_model("lmnet_tiny", in_channels=1)
fast = glocal.deploy(network)
x = torch.rand(1, 1, 33, 47)
with torch.no_grad():
    y = fast(x)
pre = Preprocessing((32, 32), 1, (0.5,), (0.5,))
save_model(sys.argv[1], fast, name="lmnet_tiny", arguments={}, classes=["a", "b"], task="segmentation",
           preprocessing=pre)
with torch.no_grad():
    assert torch.equal(load_model(sys.argv[1]).network(x), y)
    assert torch.equal(glocal.create_model("lmnet_tiny", weights=sys.argv[1])(x), y)
print("done")
"""
    assert run(code, tmp_path / "model") == "done\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["models", "lmnet", "--json"],
        ["profile", "lmnet_tiny", "--size", "32", "--runs", "1"],
    ],
    ids=" ".join,
)
def test_core_commands_run_without_extras(words):
    assert run("from glocal.cli import main; sys.exit(main(sys.argv[1:]))", *words)


def test_convert_runs_without_extras(tmp_path):
    code = """
import torch, glocal
from glocal.cli import main
torch.save(glocal.create_model("lmnet_tiny").state_dict(), sys.argv[1])
sys.exit(main(["convert", *sys.argv[1:]]))
"""
    assert "lmnet_tiny" in run(code, tmp_path / "x.pth", tmp_path / "out")


def test_what_needs_an_extra_names_it():
    code = "from glocal.errors import optional_import; optional_import('lightning.pytorch', 'train')"
    done = python(code)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("pip install 'glocal[train]'")


@pytest.mark.parametrize("command", ["train {}", "evaluate {}", "demo --output {}/demo", "data inspect {}"])
def test_commands_that_need_an_extra_name_it_in_one_line(tmp_path, command):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"no picture")
    words = [word.format(tmp_path) for word in command.split()]
    done = python("from glocal.cli import main; sys.exit(main(sys.argv[1:]))", *words)
    assert done.returncode == 2, done.stderr
    assert "glocal[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_public_name_is_there():
    run("import glocal; [getattr(glocal, name) for name in glocal.__all__]")
