"""What each model costs: parameters, multiply-adds, latency, memory; and which models are worth theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal.comparison.sources import Cell
from glocal.errors import UserError

__all__ = ["COSTS", "Cost", "costs_of", "pareto"]

COSTS: Mapping[str, str] = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "latency": "latency",
    "memory": "memory",
}
"""Fields of :class:`Cost` that can be compared, and what they are called."""

_RUNS = 10


@dataclass(frozen=True)
class Cost:
    """Of one forward pass of one image, in the size of the training.

    Attributes:
        label: Of the model.
        parameters: Number.
        multiply_adds: True ones, of one image.
        latency: Median seconds.
        memory: Peak bytes: weights, input, maps and workspace.
        size: Height and width.
        device: Name of the processor.
        threads: Of PyTorch on a CPU.
        source: ``"benchmark"``, ``"measured"`` now, or ``"manifest"`` (parameters only).
    """

    label: str
    parameters: int | None = None
    multiply_adds: int | None = None
    latency: float | None = None
    memory: int | None = None
    size: tuple[int, int] | None = None
    device: str | None = None
    threads: int | None = None
    source: str | None = None


def costs_of(
    cells: Mapping[str, Sequence[Cell]], *, measure: bool = True, progress: Callable[[str], None] | None = None
) -> tuple[tuple[Cost, ...], tuple[str, ...]]:
    """Find what each model costs, from the first of its cells that knows.

    Args:
        cells: By label.
        measure: Profile models whose cells do not know, on the CPU, one after another.
        progress: Called with the label of each model before it is profiled.

    Returns:
        By model, and what a reader must be told.
    """
    found, notes = [], []
    for label, of_model in cells.items():
        known = next((cell for cell in of_model if cell.facts.get("costs")), None)
        run = next((cell.run for cell in of_model if cell.run is not None), None)
        if known is not None:
            found.append(_of_benchmark(label, known.facts["costs"]))
        elif run is not None and measure and (run / "model" / "model.json").exists():
            if progress is not None:
                progress(label)
            try:
                found.append(_measured(label, run / "model"))
            except UserError as error:
                notes.append(f"{label}: its costs could not be measured ({error})")
                found.append(Cost(label))
        else:
            network = next((cell.facts["network"] for cell in of_model if cell.facts.get("network")), None)
            parameters = network.get("parameters") if isinstance(network, dict) else None
            found.append(Cost(label, parameters, source=None if parameters is None else "manifest"))
    timed = [cost for cost in found if cost.latency is not None]
    if len({(cost.device, cost.threads) for cost in timed}) > 1:
        notes.append("latencies were measured on different processors or numbers of threads: do not compare them")
    if len({cost.size for cost in timed}) > 1:
        sizes = ", ".join(f"{cost.label} {_shown(cost.size)}" for cost in timed)
        notes.append(f"networks see images of different sizes: {sizes}")
    return tuple(found), tuple(notes)


def pareto(costs: Sequence[float | None], scores: Sequence[float]) -> tuple[bool, ...]:
    """Which models no other one beats: none is cheaper and as good, or better and no dearer.

    Args:
        costs: Less is better; ``None`` where not known: never on the front.
        scores: More is better; NaN is never on the front.
    """
    known = [(cost, score) for cost, score in zip(costs, scores, strict=True) if cost is not None and score == score]

    def beaten(cost: float, score: float) -> bool:
        return any(c <= cost and s >= score and (c < cost or s > score) for c, s in known)

    return tuple(
        cost is not None and score == score and not beaten(cost, score)
        for cost, score in zip(costs, scores, strict=True)
    )


def _of_benchmark(label: str, facts: Mapping[str, Any]) -> Cost:
    size = facts.get("size")
    return Cost(
        label,
        facts.get("parameters"),
        facts.get("multiply_adds"),
        facts.get("latency_seconds"),
        facts.get("memory_bytes"),
        (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None,
        facts.get("device"),
        facts.get("threads"),
        "benchmark",
    )


def _measured(label: str, model: Path) -> Cost:
    from glocal.inference.profiling import profile_network
    from glocal.models.weights import load_model

    loaded = load_model(model)
    height, width = loaded.record.preprocessing.size
    profile = profile_network(loaded.network, size=(height, width), runs=_RUNS)
    return Cost(
        label,
        profile.parameters,
        profile.multiply_adds,
        profile.latency.median,
        profile.memory,
        profile.size,
        profile.device,
        profile.threads,
        "measured",
    )


def _shown(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[0]}×{size[1]}"
