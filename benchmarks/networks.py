"""Time, memory and arithmetic of every network beside a U-Net of 31 M parameters: ``python benchmarks/networks.py``.

Each network is measured in a process of its own, by turns with the U-Net, at the size its figures are published for:
forward (batch 1, evaluation, also deployed) and a training step (batch 2, forward and backward), in CPU time of one
thread; and, in two further processes, the memory a training step adds at its peak. All columns but the first two are
ratios to the U-Net at the same size. ``--page FILE`` also writes the table as a page.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import glocal
from glocal.files import write_text
from glocal.models.complexity import count_parameters, multiply_adds

COLUMNS = ("network", "size", "parameters", "multiply-adds", "forward", "deployed", "training step", "memory")


def make(name: str) -> nn.Module:
    """A registered network."""
    torch.manual_seed(0)
    return glocal.create_model(name)


def step(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Forward and backward, gradients cleared before."""

    def run() -> None:
        network.zero_grad()
        network(x).float().square().mean().backward()

    return run


def seconds(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median CPU time of two functions that take turns."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for function, times in zip((first, second), spent, strict=True):
            start = time.process_time()
            function()
            if turn:  # the first turn warms up
                times.append(time.process_time() - start)
    return statistics.median(spent[0]), statistics.median(spent[1])


def measure_time(name: str, repeats: int) -> dict[str, float]:
    """Ratios of time to the U-Net."""
    info = glocal.model_info(name)
    network, unet = make(name), make("unet")
    single, double = (torch.rand(batch, 3, *info.input_size) for batch in (1, 2))
    training, reference = seconds(step(network.train(), double), step(unet.train(), double), max(1, repeats // 2))
    network.zero_grad()
    unet.zero_grad()
    network.eval()
    unet.eval()
    fast = glocal.deploy(network)
    with torch.inference_mode():
        forward, plain = seconds(lambda: network(single), lambda: unet(single), repeats)
        deployed, again = seconds(lambda: fast(single), lambda: unet(single), repeats)
    return {"training step": training / reference, "forward": forward / plain, "deployed": deployed / again}


def measure_memory(name: str, size: list[int]) -> dict[str, float]:
    """Bytes that a training step adds at its peak to what the process holds with the network made."""
    network = make(name).train()
    x = torch.rand(2, 3, *size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(network, x)()
    return {"bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024.0}


def in_a_process(*words: str) -> dict[str, float]:
    """What this script prints when it is called to measure one thing."""
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def row(name: str, repeats: int) -> list[str]:
    """One line of the table."""
    info = glocal.model_info(name)
    size = [str(side) for side in info.input_size]
    with torch.device("meta"):
        unet = glocal.create_model("unet")
    parameters, arithmetic = count_parameters(unet), multiply_adds(unet, info.input_size, in_channels=3)
    times = in_a_process("--time", name, "--repeats", str(repeats))
    memory = [in_a_process("--memory", network, *size)["bytes"] for network in (name, "unet")]
    return [
        f"`{name}`",
        "×".join(size),
        f"{info.parameters / 1e6:.2f} M ({info.parameters / parameters:.2f})",
        f"{info.multiply_adds / 1e9:.2f} G ({info.multiply_adds / arithmetic:.2f})",
        *(f"{times[column]:.2f}" for column in COLUMNS[4:7]),
        f"{memory[0] / memory[1]:.2f}",
    ]


def page(rows: list[list[str]], names: list[str]) -> str:
    """The table as a page."""
    return "\n".join(
        [
            "# Every network beside a U-Net",
            "",
            f"Written by `python benchmarks/networks.py --page docs/results/networks.md{' '.join(['', *names])}`; "
            "not edited by hand.",
            "",
            "Ratios to a plain U-Net of 31 million parameters at the same size, measured by turns in one process on "
            "one thread: below 1 is less than the U-Net needs. Forward is one image in evaluation; deployed the same "
            "after `glocal.deploy`; a training step is forward and backward of two images; memory is what such a step "
            "adds at its peak. Parameters and multiply-adds are given, with their ratio in parentheses.",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{'---|' * len(COLUMNS)}",
            *(f"| {' | '.join(line)} |" for line in rows),
            "",
            f"Machine: {platform.machine()}, torch {torch.__version__}.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all with at most --max-params")
    parser.add_argument("--max-params", type=float, default=450e6)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--time", help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.time:
        print(json.dumps(measure_time(options.time, options.repeats)))
        return
    if options.memory:
        print(json.dumps(measure_memory(options.memory[0], [int(side) for side in options.memory[1:]])))
        return
    names = options.names or glocal.list_models(max_params=options.max_params)
    rows = []
    print(" | ".join(COLUMNS), flush=True)
    for name in names:
        rows.append(row(name, options.repeats))
        print(" | ".join(rows[-1]), flush=True)
        if options.page:
            write_text(options.page, page(rows, options.names))


if __name__ == "__main__":
    main()
