"""Our networks compute what the published ones compute: outputs and the gradient of every parameter.

The full cases are read from ``$GLOCAL_SHARED/golden`` (default: ``../shared`` beside the checkout). Of the small ones,
``compact.json`` keeps sampled figures, so that a clone alone proves parity.
"""

from __future__ import annotations

import copy
import json
import math
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_compact import COMPACT, compact_differences, read_compact
from golden_harness import (
    ILL_CONDITIONED,
    ROUNDING,
    SHARED,
    STRICT,
    compute,
    double_gradients,
    gradient_differences,
    output_differences,
    prepare,
    read_case,
    shared_records,
)
from golden_kinks import across_kinks
from golden_values import image, weight

from glocal.models.published import Component, Record, UnknownComponentError, build_component

FULL = shared_records()
SMALL = read_compact()
WHOLE = ("whole_224_c9", "whole_gray_160x192_c6")
"""Networks of 415 M parameters."""


def require_known(record: Record) -> None:
    """Skip what no network of ours corresponds to yet; with ``GLOCAL_GOLDEN_STRICT=1`` fail."""
    try:
        build_component(record)
    except UnknownComponentError as unknown:
        if STRICT:
            pytest.fail(f"{unknown} (GLOCAL_GOLDEN_STRICT=1)")
        pytest.skip(str(unknown))


@pytest.mark.skipif(
    not FULL, reason=f"no golden cases under {SHARED}/golden; set GLOCAL_SHARED to the folder above them"
)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=f"{path.parent.name}/{path.stem}", marks=[pytest.mark.slow] * path.stem.startswith(WHOLE))
        for path in FULL
    ],
)
def test_full_case(path: Path) -> None:
    record, reference = read_case(path)
    require_known(record)
    computed = compute(prepare(record), record)
    expected = dict(zip(record["parameters"], reference["grad_norm"].tolist(), strict=True))
    assert output_differences(computed.outputs, reference, record["system"]) == []
    if record["case"] in ILL_CONDITIONED:
        assert gradient_differences(computed.gradients, expected, ILL_CONDITIONED[record["case"]]) == []
        return
    assert gradient_differences(computed.gradients, expected, ROUNDING) == []
    moved = [name for name in expected if gradient_differences(computed.gradients, {name: expected[name]})]
    if moved:
        wanted = {name: expected[name] for name in moved}
        sides = (gradients for _, gradients in across_kinks(partial(double_gradients, record, moved)))
        assert [] in (gradient_differences(gradients, wanted) for gradients in sides), moved


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case['record']['system']}/{case['record']['case']}")
def test_small_case_kept_in_the_repository(case: dict[str, Any]) -> None:
    record = case["record"]
    computed = compute(prepare(record), record)
    assert compact_differences(computed.outputs, case["outputs"], record["system"]) == []
    assert (
        gradient_differences(computed.gradients, dict(zip(record["parameters"], case["gradients"], strict=True))) == []
    )


def test_the_generator_of_weights_is_the_documented_one() -> None:
    """A few values, computed by hand from the rules with exact integers."""
    assert image("se", (2, 24, 7, 9)).dtype == np.float32
    for name, shape, index in (("a.weight", (3, 4), 5), ("norm.weight", (7,), 3), ("norm.running_var", (7,), 6)):
        assert weight(name, shape).flat[index] == np.float32(by_hand(name, shape, index))
    assert weight("norm.num_batches_tracked", ()) is None


def by_hand(name: str, shape: tuple[int, ...], index: int) -> float:
    wrap = (1 << 64) - 1
    z = ((index + (zlib.crc32(name.encode()) << 32)) * 0x9E3779B97F4A7C15) & wrap
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & wrap
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & wrap
    u = 2.0 * (((z ^ (z >> 31)) >> 11) / 2.0**53) - 1.0
    if name.endswith("running_var"):
        return 1.25 + 0.25 * u
    if len(shape) == 1:
        return 1.0 + 0.1 * u
    return math.sqrt(3.0 / math.prod(shape[1:])) * u


# The comparison must be able to fail.


def small(name: str) -> dict[str, Any]:
    return copy.deepcopy(next(case for case in SMALL if case["record"]["case"] == name))


def differences(case: dict[str, Any], component: Component) -> tuple[list[str], list[str]]:
    record = case["record"]
    computed = compute(component, record)
    expected = dict(zip(record["parameters"], case["gradients"], strict=True))
    return (
        compact_differences(computed.outputs, case["outputs"], record["system"]),
        gradient_differences(computed.gradients, expected),
    )


@pytest.mark.parametrize("case_name", ["reparam_conv", "lft", "m3skip", "aspp", "na2d_k7_rpb"])
def test_a_weight_that_is_one_percent_off_is_seen(case_name: str) -> None:
    case = small(case_name)
    component = prepare(case["record"])
    with torch.no_grad():
        max(component.module.parameters(), key=torch.Tensor.numel).mul_(1.01)
    outputs, gradients = differences(case, component)
    assert outputs
    assert gradients


@pytest.mark.parametrize("case_name", ["reparam_conv", "m3skip", "lft"])
def test_a_wrong_eps_is_seen(case_name: str) -> None:
    case = small(case_name)
    component = prepare(case["record"])
    for part in component.module.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
            part.eps = 1e-3
    assert differences(case, component)[0]


def test_a_parameter_that_the_published_network_does_not_train_is_seen() -> None:
    case = small("se")
    case["gradients"][0] = 0.0
    assert any("never trained" in line for line in differences(case, prepare(case["record"]))[1])


def test_a_case_is_built_from_its_arguments_not_its_name() -> None:
    """Sizes, kernels and forms that no stored case has."""
    name, arguments = "ReparamConv", {"in_channels": 4, "expand_channels": 8, "out_channels": 6}
    record = {"system": "lmnet", "component": name, "state": [], "parameters": [], "case": "unseen"}
    block = build_component({**record, "arguments": {**arguments, "large_kernel_size": 9, "kernel_size": 5}}).module
    shapes = {
        n.split(".")[2]: tuple(p.shape)
        for n, p in block.named_parameters()
        if n.endswith(".conv.weight") and "branches" in n
    }
    assert shapes == {"large": (8, 1, 9, 9), "square": (8, 1, 5, 5), "ver": (8, 1, 5, 1), "hor": (8, 1, 1, 5)}
    merged = {
        **record,
        "state": [["fuse_conv.weight", [8, 1, 7, 7], "float32"]],
        "arguments": {**arguments, "deploy": True},
    }
    assert build_component(merged).module.depthwise.fused.weight.shape == (8, 1, 7, 7)


def test_an_unknown_component_is_named() -> None:
    with pytest.raises(UnknownComponentError, match="Frobnicator"):
        build_component({"system": "lmnet", "component": "Frobnicator"})
    with pytest.raises(UnknownComponentError, match="other-system"):
        build_component({"system": "other-system", "component": "LM_Net"})


def test_the_compact_figures_stay_small() -> None:
    assert COMPACT.stat().st_size < 2**20
    json.loads(COMPACT.read_text())


def test_only_a_relu_next_to_zero_has_another_side() -> None:
    x = torch.tensor([3.0, -1e-9, 1e-4, -2.0], requires_grad=True)

    def gradients() -> dict[str, float]:
        (gradient,) = torch.autograd.grad(torch.relu(x).sum(), x)
        return {str(i): g.item() for i, g in enumerate(gradient)}

    (as_it_is, first), *others = across_kinks(gradients)
    assert (as_it_is, list(first.values())) == (None, [1, 0, 1, 0])
    assert [list(sides.values()) for _, sides in others] == [[1, 1, 1, 0]]
