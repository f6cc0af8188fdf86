"""Arguments that no stored golden case has, against a second, plain implementation of the specification.

The records are made as the golden cases were: from the module's state dict, on the deterministic weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_harness import compute, gradient_differences, output_differences, prepare
from golden_values import image, weight
from reference_lmnet import COMPONENTS, ReparamConv

from glocal.models.published import Record


def cut(x: torch.Tensor, channels: list[int]) -> tuple[torch.Tensor, ...]:
    height, width = x.shape[-2:]
    ends = np.cumsum(channels)
    return tuple(
        x[:, end - c : end, : height >> i, : width >> i] for i, (c, end) in enumerate(zip(channels, ends, strict=True))
    )


def golden_case(
    component: str, arguments: dict[str, Any], shape: list[int], leftover: bool = False, **facts: Any
) -> tuple[Record, dict[str, Any]]:
    """A record and its arrays, as the published modules would have given them."""
    torch.manual_seed(0)
    module = COMPONENTS[component](**arguments)
    if leftover:
        for part in list(module.modules()):
            if isinstance(part, ReparamConv):
                part.leave_leftover()
    record = {
        "case": "made",
        "system": "lmnet",
        "component": component,
        "arguments": arguments,
        "input_shape": shape,
        **facts,
        "state": [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in module.state_dict().items()],
        "parameters": [k for k, _ in module.named_parameters()],
    }
    precise = facts.get("precision") == "float64"
    values = {name: weight(name, size) for name, size, kind in record["state"] if "float" in kind}
    module.load_state_dict({k: torch.from_numpy(v) for k, v in values.items() if v is not None}, strict=False)
    module.to(torch.float64 if precise else torch.float32).eval()
    x = torch.from_numpy(image("made", shape)).to(torch.float64 if precise else torch.float32)
    x = x * facts.get("input_scale", 1.0)
    output = module(*cut(x, facts["channels"])) if "channels" in facts else module(x)
    (output**2).mean().backward()
    norms = [0.0 if p.grad is None else float(p.grad.double().norm()) for p in module.parameters()]
    return record, {"output": output.detach().numpy(), "grad_norm": np.array(norms)}


def assert_computes(record: Record, reference: dict[str, Any]) -> None:
    computed = compute(prepare(record), record)
    assert output_differences(computed.outputs, reference, "lmnet") == []
    expected = dict(zip(record["parameters"], reference["grad_norm"].tolist(), strict=True))
    assert gradient_differences(computed.gradients, expected) == []


BLOCK = {"in_channels": 5, "expand_channels": 12, "out_channels": 7}
CHANNELS = {"M2Skip": [8, 20], "M3Skip": [6, 10, 14]}
EVERY = ["large", "square", "ver", "hor", "dilation", "big_large"]

CASES: dict[str, tuple[str, dict[str, Any], list[int], dict[str, Any]]] = {
    "the least arguments": ("ReparamConv", BLOCK, [2, 5, 9, 11], {}),
    **{
        f"kernels {large} and {small}": (
            "ReparamConv",
            {**BLOCK, "large_kernel_size": large, "kernel_size": small},
            [1, 5, 9, 11],
            {},
        )
        for large, small in ((7, 3), (5, 5), (7, 5), (3, 3), (9, 1), (1, 1))
    },
    **{
        f"branches {' '.join(names)}": ("ReparamConv", {**BLOCK, "branches": names}, [1, 5, 12, 10], {})
        for names in (["square"], ["hor", "ver"], ["big_large", "square"], ["dilation"], EVERY[:5], EVERY[::-1])
    },
    "built merged": ("ReparamConv", {**BLOCK, "deploy": True}, [1, 5, 9, 11], {}),
    "built merged, 7x7": ("ReparamConv", {**BLOCK, "deploy": True, "large_kernel_size": 7}, [1, 5, 9, 11], {}),
    "built merged, 9x9": ("ReparamConv", {**BLOCK, "deploy": True, "branches": EVERY}, [1, 5, 9, 11], {}),
    "merged with leftover": ("ReparamConv", {**BLOCK, "deploy": True}, [1, 5, 9, 11], {"leftover": True}),
    "a block in float64": ("ReparamConv", BLOCK, [1, 5, 9, 11], {"precision": "float64", "input_scale": 3.0}),
    "se, reduction left out": ("SE", {"input_channels": 17}, [2, 17, 5, 3], {}),
    "se 16": ("SE", {"input_channels": 40, "reduction": 16}, [1, 40, 1, 6], {}),
    "mlp to another width": ("Mlp", {"in_channel": 6, "mlp_channel": 5, "out_channel": 9}, [2, 7, 6], {}),
    "attention, one head": ("GlobalAttention", {"dim": 10, "num_heads": 1}, [2, 9, 10], {}),
    "attention, head of 1": ("GlobalAttention", {"dim": 10, "num_heads": 10}, [1, 1, 10], {}),
    **{
        f"gft, patch {patch}": (
            "GFT",
            {
                "patchsize": patch,
                "img_size": 7,
                "in_channels": 24,
                "expand_ratios": ratio,
                "out_channel": 10,
                "stride": 1,
                "num_heads": heads,
            },
            [2, 24, 5, 8],
            {},
        )
        for patch, ratio, heads in ((1, 4, 4), (5, 1, 24), (7, 1.5, 8))
    },
    **{
        f"pyramid of {len(channels)}": (
            "PyramidPool then GFT",
            {
                "patchsize": 3,
                "img_size": 14,
                "in_channels": sum(channels),
                "expand_ratios": 2,
                "out_channel": 9,
                "stride": 1,
                "num_heads": 4,
            },
            [1, sum(channels), *size],
            {"channels": channels},
        )
        for channels, size in (([4, 8], [12, 8]), ([8, 4, 12], [36, 20]), ([4, 4, 4, 4, 8], [37, 50]), ([8], [5, 3]))
    },
    **{
        f"lft {i}, {o}, patch {patch}, stride {stride}, heads {heads}, bias {rpb}": (
            "NeighborhoodTransformer",
            {
                "patchsize": patch,
                "img_size": 8,
                "in_channels": i,
                "out_channel": o,
                "stride": stride,
                "kernel_size": [7],
                "num_heads": heads,
                "rel_pos_bias": rpb,
            },
            [2, i, 7, 10],
            {},
        )
        for i, o, patch, stride, heads, rpb in (
            (6, 12, 3, 2, 3, True),
            (12, 12, 1, 1, 12, False),
            (4, 8, 7, 4, 1, True),
            (8, 64, 5, 1, 2, False),
        )
    },
    **{
        f"na {dim}/{heads}, window {window}, {height}x{width}, bias {rpb}": (
            "NeighborhoodAttention2D",
            {"dim": dim, "num_heads": heads, "kernel_size": window, "rel_pos_bias": rpb},
            [2, height, width, dim],
            {},
        )
        for dim, heads, window, height, width, rpb in (
            (12, 12, 3, 3, 3, True),
            (12, 4, 1, 4, 5, True),
            (24, 2, 5, 9, 6, True),
            (24, 2, 5, 17, 8, False),
            (64, 1, 3, 6, 7, True),
            (32, 1, 7, 7, 20, True),
            (40, 1, 9, 9, 10, True),
            (16, 4, 9, 11, 9, False),
            (16, 1, 13, 14, 13, True),
            (8, 2, 13, 5, 16, True),
            (32, 1, 7, 4, 3, True),
            (12, 4, 5, 9, 2, False),
            (6, 3, 3, 1, 1, True),
        )
    },
    "na, the window left out": ("NeighborhoodAttention2D", {"dim": 8, "num_heads": 2}, [1, 4, 6, 8], {}),
    **{
        f"two levels, {kind}": (
            "M2Skip",
            {"in_channels": CHANNELS["M2Skip"], "model_type": kind},
            [2, 28, 10, 6],
            {"channels": CHANNELS["M2Skip"]},
        )
        for kind in ("bottom", "top", "whatever")
    },
    "three levels": ("M3Skip", {"in_channels": CHANNELS["M3Skip"]}, [1, 30, 16, 8], {"channels": CHANNELS["M3Skip"]}),
    "aspp, rates left out": ("My_ASPP", {"in_dims": 6, "out_dims": 5}, [1, 6, 8, 7], {}),
    "aspp, two rates": ("My_ASPP", {"in_dims": 6, "out_dims": 5, "rate": [2, 3]}, [1, 6, 8, 7], {}),
    "aspp, one rate": ("My_ASPP", {"in_dims": 6, "out_dims": 5, "rate": [4]}, [2, 6, 1, 7], {}),
}

SMALL = {"filters": [12, 24, 36, 48, 60]}
NETWORKS: dict[str, tuple[dict[str, Any], list[int], dict[str, Any]]] = {
    "the least arguments": ({"channel": 2}, [1, 2, 32, 32], {}),
    "other widths, five classes": ({"channel": 4, "n_classes": 5, **SMALL}, [1, 4, 32, 64], {}),
    "one class": ({"channel": 1, "n_classes": 1, **SMALL, "deep_supervision": True}, [2, 1, 48, 32], {}),
    "16 x 32": ({"channel": 3, **SMALL, "rel_pos_bias": True}, [1, 3, 16, 32], {}),
    "float64": ({"channel": 3, **SMALL, "rel_pos_bias": True}, [1, 3, 32, 32], {"precision": "float64"}),
    **{
        f"{skip}, {'lft' if lft else 'no lft'}, {gft}": (
            {"channel": 3, **SMALL, "skip": skip, "lft": lft, "gft": gft, "rel_pos_bias": lft},
            [1, 3, 32, 32],
            {},
        )
        for skip in ("multi", "single")
        for lft in (True, False)
        for gft in ("multi", "single", "aspp", "none")
    },
    **{
        f"branches {' '.join(names)}": ({"channel": 3, **SMALL, "branches": names}, [1, 3, 32, 32], {})
        for names in (["square"], ["large"], ["hor", "ver"], EVERY[:3], EVERY)
    },
    "merged": ({"channel": 3, **SMALL, "deploy": True}, [1, 3, 32, 48], {}),
    "merged to 9x9": ({"channel": 3, **SMALL, "deploy": True, "branches": EVERY}, [1, 3, 32, 32], {}),
    "merged, leftover": ({"channel": 3, **SMALL, "deploy": True}, [1, 3, 32, 32], {"leftover": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_component(name: str) -> None:
    component, arguments, shape, facts = CASES[name]
    assert_computes(*golden_case(component, arguments, shape, **facts))


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    arguments, shape, facts = NETWORKS[name]
    assert_computes(*golden_case("LM_Net", arguments, shape, **facts))


def test_a_network_merged_after_loading_may_list_the_leftover_among_its_parameters() -> None:
    """The state is that of the four branches; parameters and gradients are those after the published merge."""
    arguments = {"channel": 3, **SMALL}
    record, reference = golden_case("LM_Net", arguments, [1, 3, 32, 32])
    merged, _ = golden_case("LM_Net", {**arguments, "deploy": True}, [1, 3, 32, 32], leftover=True)
    record = {**record, "parameters": merged["parameters"]}
    computed = compute(prepare(record), record)
    assert output_differences(computed.outputs, reference, "lmnet") == []
    untrained = {name for name, norm in computed.gradients.items() if norm == 0.0}
    assert untrained == {name for name in merged["parameters"] if ".large_conv." in name}


@pytest.mark.parametrize(
    ("component", "usual", "rest", "shape"),
    [
        ("NeighborhoodAttention2D", {"num_heads": 12, "rel_pos_bias": True}, {"dim": 24}, [1, 4, 5, 24]),
        ("GlobalAttention", {"num_heads": 12}, {"dim": 24}, [1, 5, 24]),
        (
            "NeighborhoodTransformer",
            {"patchsize": 3, "img_size": 8, "stride": 1, "kernel_size": [3, 5], "num_heads": 12, "rel_pos_bias": True},
            {"in_channels": 5, "out_channel": 12},
            [1, 5, 4, 6],
        ),
        (
            "GFT",
            {"patchsize": 3, "img_size": 8, "expand_ratios": 2, "stride": 1, "num_heads": 12},
            {"in_channels": 12, "out_channel": 5},
            [1, 12, 4, 6],
        ),
    ],
)
def test_arguments_left_out_are_those_of_the_network(
    component: str, usual: dict[str, Any], rest: dict[str, Any], shape: list[int]
) -> None:
    """The relative bias is told by its tensor, the others are what the published network passes."""
    record, reference = golden_case(component, {**usual, **rest}, shape)
    assert_computes({**record, "arguments": rest}, reference)
