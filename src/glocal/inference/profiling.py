"""What a network costs on this machine: parameters, multiply-adds, latency, memory, and where they go."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glocal.devices import choose_device
from glocal.errors import UserError
from glocal.models.complexity import complexity, stages

__all__ = ["Latency", "Profile", "StageProfile", "profile_network"]

_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass of a whole batch, over ``runs`` passes after the warm-up."""

    median: float
    first_quartile: float
    third_quartile: float
    fastest: float
    runs: int


@dataclass(frozen=True)
class StageProfile:
    """One stage of the network; ``"(other)"`` is what happens outside all of them."""

    name: str
    parameters: int
    multiply_adds: int
    """True multiply-adds for one image."""
    time_share: float
    """Of the whole forward pass, 0 to 1."""


@dataclass(frozen=True)
class Profile:
    """The cost of a network in eval mode."""

    in_channels: int
    num_classes: int | None
    size: tuple[int, int]
    batch: int
    device: str
    """Name of the processor."""
    threads: int | None
    """Threads of PyTorch on a CPU; None elsewhere."""
    parameters: int
    multiply_adds: int
    """True multiply-adds for one image: attention and transposed convolutions included."""
    papers_multiply_adds: int
    """What the papers' counter reports; :func:`glocal.models.complexity.papers_count` lists its errors."""
    papers_parameters: int
    latency: Latency
    images_per_second: float
    """From the median."""
    memory: int
    """Peak bytes that PyTorch's allocator held during a pass: weights, input, intermediate maps and workspace."""
    stages: tuple[StageProfile, ...]

    def to_json(self) -> dict[str, Any]:
        """The profile as plain JSON values."""
        return asdict(self)


def profile_network(
    network: nn.Module,
    *,
    size: tuple[int, int],
    batch: int = 1,
    device: str | torch.device = "cpu",
    runs: int = 20,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Measure a network on random images.

    Args:
        network: Moved to ``device`` and put in eval mode. Deploy it first to profile it deployed.
        size: Height and width of the images.
        batch: Images in one pass.
        device: Where to run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"``.
        runs: Timed passes, after three that are not counted.
        threads: Threads of PyTorch on a CPU; default: as they are.
        progress: Called after each pass with how many are done and how many there will be.

    Raises:
        UserError: ``device`` is not on this machine, a number is below 1, or the memory does not suffice.
    """
    for what, value in (
        ("batch", batch),
        ("runs", runs),
        ("threads", 1 if threads is None else threads),
        ("size", min(size)),
    ):
        if value < 1:
            raise UserError(f"{what} is {value}; it must be at least 1 (--{what})")
    place = choose_device(device) if isinstance(device, str) else device
    channels = int(getattr(network, "in_channels", 3))
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), _enough_memory(size, batch):
            cost = complexity(network, size, in_channels=channels)
            network = network.to(place).eval()
            x = torch.rand(batch, channels, *size, device=place)
            total = _WARM_UP + 2 * runs + 1
            step = _Steps(progress, total)
            for _ in range(_WARM_UP):
                step(network, x)
            times = [_timed(place, step, network, x) for _ in range(runs)]
            shares = _stage_shares(place, step, network, x, runs)
            memory = _peak_memory(place, step, network, x)
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    low, median, high = _quartiles(times)
    return Profile(
        in_channels=channels,
        num_classes=getattr(network, "num_classes", None),
        size=size,
        batch=batch,
        device=_device_name(place),
        threads=used if place.type == "cpu" else None,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        papers_multiply_adds=cost.papers.multiply_adds,
        papers_parameters=cost.papers.parameters,
        latency=Latency(median, low, high, min(times), runs),
        images_per_second=batch / median,
        memory=memory,
        stages=_stage_profiles(cost.stages, shares),
    )


class _Steps:
    """Runs the network and tells how far the whole measurement is."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, network: nn.Module, x: Tensor) -> None:
        network(x)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _stage_profiles(costs: Any, shares: dict[str, float]) -> tuple[StageProfile, ...]:
    rest = max(0.0, 1.0 - sum(shares.values()))
    found = [StageProfile(c.name, c.parameters, c.multiply_adds, shares.get(c.name, rest)) for c in costs]
    if all(stage.name != "(other)" for stage in found):
        found.append(StageProfile("(other)", 0, 0, rest))
    return tuple(found)


@contextmanager
def _enough_memory(size: tuple[int, int], batch: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and not any(word in str(error) for word in ("allocate", "overflow")):
            raise
        raise UserError(
            f"not enough memory for {batch} × {size[0]}×{size[1]}; lower --batch or --size, or use another --device"
        ) from error


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _now(device: torch.device) -> float:
    _wait(device)
    return time.perf_counter()


def _timed(device: torch.device, step: _Steps, network: nn.Module, x: Tensor) -> float:
    start = _now(device)
    step(network, x)
    return _now(device) - start


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    if len(times) == 1:
        return times[0], times[0], times[0]
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, median, high


def _stage_shares(device: torch.device, step: _Steps, network: nn.Module, x: Tensor, runs: int) -> dict[str, float]:
    """Share of each stage in the time of a pass; the device is waited for at each border."""
    spent: dict[str, list[float]] = defaultdict(list)
    started: list[float] = []
    handles = []
    for name, stage in stages(network):
        handles += [
            stage.register_forward_pre_hook(lambda _module, _inputs: started.append(_now(device))),
            stage.register_forward_hook(
                lambda _module, _inputs, _output, name=name: spent[name].append(_now(device) - started.pop())
            ),
        ]
    try:
        whole = sum(_timed(device, step, network, x) for _ in range(runs))
    finally:
        for handle in handles:
            handle.remove()
    return {name: sum(times) / whole for name, times in spent.items()}


def _peak_memory(device: torch.device, step: _Steps, network: nn.Module, x: Tensor) -> int:
    """Bytes: what is held before a pass and the most that a pass adds to it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step(network, x)
        return torch.cuda.max_memory_allocated(device)
    held = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers(), x))
    if device.type == "mps":
        step(network, x)
        return int(torch.mps.driver_allocated_memory())
    return held + _peak_of_allocations(step, network, x)


def _peak_of_allocations(step: _Steps, network: nn.Module, x: Tensor) -> int:
    """The highest sum of allocations and releases that the profiler records during one pass on the CPU."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the tracer talks on stderr otherwise
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as trace:
        step(network, x)
    assert trace.profiler is not None
    events = [e for e in trace.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        cpus = Path("/proc/cpuinfo")
        found = re.search(r"model name\s*:\s*(.+)", cpus.read_text()) if cpus.is_file() else None
        return found[1] if found else platform.processor() or platform.machine()
    return device.type
