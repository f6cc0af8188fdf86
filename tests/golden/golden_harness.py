"""Build the module a golden record names, give it the published weights, and compare what it computes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_values import image, weight
from numpy.typing import NDArray
from torch import Tensor

from glocal.models.published import Component, Record, build_component
from glocal.models.published.system import part_of

ABSOLUTE = 1e-4
"""Largest difference of an output."""
RELATIVE = 2e-5
"""Largest difference of an output over the largest reference value, for the systems whose specification asks it."""
RELATIVE_SYSTEMS = {"spm"}
GRADIENT = 1e-3
"""Largest relative difference of a gradient norm."""
ROUNDING = 1e-2
"""The same in float32 for a gradient norm that keeps to :data:`GRADIENT` in float64: one that is the rest of terms that
nearly cancel each other, which the order of sums moves in float32, also in the published code."""
ILL_CONDITIONED = {"transunet_mk_64": 5e-2}
"""Cases whose specification calls the gradients indicative, and this for them: twelve saturated softmaxes in a row."""
GRADIENT_FLOOR = 1e-6
"""Gradient norms are compared no more finely than this."""

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
STRICT = os.environ.get("GLOCAL_GOLDEN_STRICT") == "1"


def shared_records() -> list[Path]:
    """The records of every case there is, in the order of system and name."""
    return sorted(SHARED.glob("golden/*/*.json"))


def read_case(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A record and its reference arrays."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return json.loads(path.read_text()), {key: arrays[key] for key in arrays.files}


@dataclass
class Computed:
    """What our module computes on a golden case."""

    outputs: list[NDArray[Any]]
    gradients: dict[str, float]
    """Published parameter name -> norm of the gradient of the mean square of the output; 0.0: none."""


def load_published(component: Component, record: Record) -> None:
    """Load the golden weights through the table of names; every floating tensor of ours must get a value."""
    module = component.module
    own = module.state_dict()
    values: dict[str, Tensor] = {}
    for name, shape, dtype in record["state"]:
        ours = component.rename(name)
        value = weight(name, shape) if "float" in dtype else None
        if ours is not None and value is not None:
            ours, i, count = part_of(ours)
            assert ours in own, f"{name}: our module has no {ours}"
            part = values.setdefault(ours, torch.full_like(own[ours], torch.nan))
            part = piece(part, i, count)
            part.copy_(torch.from_numpy(value).reshape(part.shape))
    absent = [
        name for name, t in own.items() if t.is_floating_point() and (name not in values or values[name].isnan().any())
    ]
    assert not absent, f"no published tensor for {absent}"
    module.load_state_dict({**own, **values})


def piece(tensor: Tensor, i: int, count: int) -> Tensor:
    """The part of a tensor that one published tensor is."""
    return tensor if count == 1 else tensor.chunk(count)[i]


def prepare(record: Record) -> Component:
    """The component of a record, in eval mode, with the golden weights in the record's precision."""
    component = build_component(record)
    if record.get("precision") == "float64":
        component.module.double()
    load_published(component, record)
    component.module.eval()
    component.finish(component.module)
    return component


def golden_input(record: Record) -> Tensor:
    """The input array, scaled and shifted as the record says."""
    x = torch.from_numpy(image(record["case"], record["input_shape"]))
    if record.get("precision") == "float64":
        x = x.double()
    transform = record.get("input_transform", {})
    return x * (record.get("input_scale", 1.0) * transform.get("scale", 1.0)) + transform.get("shift", 0.0)


def compute(component: Component, record: Record) -> Computed:
    """Run the module and take the gradient norm of every published parameter."""
    result = component.module(*component.feed(golden_input(record)))
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    torch.stack([(o**2).mean() for o in outputs]).sum().backward()
    parameters = dict(component.module.named_parameters())
    gradients = {}
    for name in record["parameters"]:
        ours, i, count = part_of(component.rename(name) or "")
        parameter = parameters.get(ours)  # none: what merging leaves behind; it trains nothing
        gradient = None if parameter is None or parameter.grad is None else piece(parameter.grad, i, count)
        gradients[name] = 0.0 if gradient is None else float(gradient.double().norm())
    return Computed([o.detach().numpy() for o in outputs], gradients)


def double_gradients(record: Record, names: Iterable[str]) -> dict[str, float]:
    """Gradient norms of a few parameters with everything computed in float64."""
    component = prepare({**record, "precision": "float64"})
    parameters = dict(component.module.named_parameters())
    asked = {name: part_of(component.rename(name) or "") for name in names}
    result = component.module(*component.feed(golden_input({**record, "precision": "float64"})))
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    total = torch.stack([(o**2).mean() for o in outputs]).sum()
    wholes = [parameters[ours] for ours, _, _ in asked.values()]
    gradients = torch.autograd.grad(total, wholes)
    return {
        name: float(piece(g, i, count).norm())
        for (name, (_, i, count)), g in zip(asked.items(), gradients, strict=True)
    }


def output_differences(outputs: list[NDArray[Any]], reference: Mapping[str, NDArray[Any]], system: str) -> list[str]:
    """What is wrong with the outputs, a sentence each; empty: they agree."""
    keys = sorted((k for k in reference if k.startswith("output")), key=lambda k: int(k[6:] or 0))
    if len(keys) != len(outputs):
        return [f"{len(outputs)} outputs, expected {len(keys)}"]
    problems = []
    for key, ours in zip(keys, outputs, strict=True):
        expected = reference[key]
        if ours.shape != expected.shape:
            problems.append(f"{key} is {ours.shape}, expected {expected.shape}")
            continue
        difference = float(np.abs(ours.astype(np.float64) - expected).max())
        bound = min(ABSOLUTE, RELATIVE * float(np.abs(expected).max())) if system in RELATIVE_SYSTEMS else ABSOLUTE
        if not difference <= bound:
            problems.append(f"{key} differs by {difference:.2e}, allowed {bound:.2e}")
    return problems


def gradient_differences(
    gradients: Mapping[str, float], expected: Mapping[str, float], tolerance: float = GRADIENT
) -> list[str]:
    """What is wrong with the gradient norms, a sentence each; empty: they agree."""
    problems = []
    for name, norm in expected.items():
        ours = gradients[name]
        if (norm == 0.0) != (ours == 0.0) and max(norm, ours) > GRADIENT_FLOOR:
            problems.append(f"{name}: gradient norm {ours:.3e}, expected {norm:.3e} (0 = never trained)")
        elif not abs(ours - norm) <= tolerance * norm + GRADIENT_FLOOR:
            problems.append(f"{name}: gradient norm {ours:.6e}, expected {norm:.6e}")
    return problems
