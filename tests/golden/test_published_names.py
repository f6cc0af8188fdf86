"""Published LM-Net checkpoints: recognised by their tensors, translated whole, whatever they are wrapped in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_compact import read_compact
from golden_harness import read_case, shared_records
from golden_values import weight
from torch import Tensor

import glocal
from glocal.errors import UserError
from glocal.models.checkpoints import read_checkpoint
from glocal.models.published import convert_state_dict, recognise

NETWORKS = {c["record"]["case"]: c["record"] for c in read_compact() if c["record"]["component"] == "LM_Net"}
for path in shared_records():
    if path.parent.name == "lmnet":
        record, _ = read_case(path)
        if record["component"] == "LM_Net":
            NETWORKS[record["case"]] = record


def checkpoint(case: str) -> dict[str, Tensor]:
    """The state dict that the published network of a golden case would save."""
    values = {name: weight(name, shape) for name, shape, _ in NETWORKS[case]["state"]}
    return {n: torch.zeros((), dtype=torch.long) if v is None else torch.from_numpy(v) for n, v in values.items()}


@pytest.mark.parametrize("case", NETWORKS)
def test_the_tensors_tell_every_argument(case: str) -> None:
    given = NETWORKS[case]["arguments"]
    converted = convert_state_dict(checkpoint(case))
    told = converted.arguments
    assert (converted.family, converted.name) == ("lmnet", "lmnet")
    assert (told["in_channels"], told["num_classes"]) == (given["channel"], given["n_classes"])
    assert told["filters"] == given.get("filters", [12, 24, 48, 96, 192])
    assert (told["skip"], told["lft"], told["gft"]) == tuple(
        given.get(key, usual) for key, usual in (("skip", "multi"), ("lft", True), ("gft", "multi"))
    )
    assert told["rel_pos_bias"] == given["rel_pos_bias"]
    assert converted.unexpected == {}
    network = glocal.create_model(converted.name, **told)
    assert set(network.state_dict()) == set(converted.state)
    network.load_state_dict(converted.state)


def test_the_leftovers_of_the_published_merge_are_ignored_and_told() -> None:
    converted = convert_state_dict(checkpoint("net_deployed_checkpoint"))
    assert converted.arguments["merged"]
    assert len(converted.ignored) == 16 * 6
    assert all(".large_conv." in name for name in converted.ignored)
    assert any("96 tensors" in note for note in converted.notes)


def test_a_clean_merged_checkpoint_loads_too() -> None:
    clean = {n: t for n, t in checkpoint("net_deployed_checkpoint").items() if ".large_conv." not in n}
    converted = convert_state_dict(clean)
    assert converted.ignored == ()
    assert converted.arguments["merged"]


WRAPPINGS: dict[str, Any] = {
    "bare": lambda s: s,
    "trained with DataParallel": lambda s: {f"module.{n}": t for n, t in s.items()},
    "the published script": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {}}, "lr_schedule": {}},
    "nested twice and prefixed": lambda s: {"model": {"state_dict": {f"module.model.{n}": t for n, t in s.items()}}},
    "compiled": lambda s: {"net": {f"_orig_mod.{n}": t for n, t in s.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings_are_taken_off(tmp_path: Path, wrapping: str) -> None:
    state = checkpoint("net_batch2_small")
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "authors.pth")
    read = read_checkpoint(tmp_path / "authors.pth")
    assert recognise(read.tensors) == "lmnet"
    assert list(read.tensors) == list(state)
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in state.items())
    assert bool(read.notes) == (wrapping != "bare")


def test_other_kernels_are_told_by_their_shapes() -> None:
    state = checkpoint("net_batch2_small")
    for name in [n for n in state if n.endswith("large_conv.conv.weight")]:
        state[name] = torch.zeros(state[name].shape[0], 1, 7, 7)
    branches = convert_state_dict(state).arguments["branches"]
    assert branches == {"large": "7x7", "square": "3x3", "ver": "3x1", "hor": "1x3"}


def test_tensors_that_no_rule_knows_are_kept_apart() -> None:
    state = {**checkpoint("net_batch2_small"), "aux.weight": torch.zeros(3)}
    converted = convert_state_dict(state)
    assert set(converted.unexpected) == {"aux.weight"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: {}, "its 0 tensors"),
        (lambda s: {"fc.weight": torch.zeros(2, 2)}, "no published network that is known"),
        (lambda s: {n: t for n, t in s.items() if n != "output_layer.weight"}, "'output_layer.weight' is missing"),
        (lambda s: {**s, "conv1.0.expand_conv.0.weight": torch.zeros(())}, "other shapes"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused_in_one_line(spoil, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        convert_state_dict(spoil(checkpoint("net_batch2_small")))
    assert "\n" not in str(refusal.value)
