"""DSSA against its published form, side by side in one run: ``python benchmarks/dssa.py``.

The published form, as the tests write it (``tests/nn/naive_dssa.py``), expands keys and values to one copy a query
region and gathers the kept values a query. Bars, from the specification: forward and backward of the block at batch 2
4.3, 3.6 and 3 times faster at 96, 192 and 384 channels; a training step of DSSAU-Net at 256×256, batch 2, 2.7 times.
In the networks only the attention differs. Times are CPU time of one thread; memory is what a first forward
and backward adds to the peak of a process of its own. ``--large`` adds training steps at 512×512, which take minutes.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import glocal
from glocal.nn import DualSparseSelectionAttention, StarDSSA

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
from naive_dssa import naive

BLOCKS = [(96, 3, 1, 64, 2), (192, 6, 4, 32, 2), (384, 12, 16, 16, 2), (96, 3, 1, 128, 1)]
"""Channels, heads, routed regions, side of the map, batch: the levels of DSSAU-Net at 256×256, the first at 512×512."""
FORMS = ("published", "lean")


class Published(nn.Module):
    """A block, computed in the published form."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        return naive(self.block, x)


def block_step(index: int, form: str, kind: type[nn.Module] = DualSparseSelectionAttention) -> Callable[[], None]:
    """Forward and backward of one block."""
    torch.manual_seed(0)
    channels, heads, topk, side, batch = BLOCKS[index]
    block: nn.Module = kind(channels, heads, topk)
    x = torch.randn(batch, side, side, channels, requires_grad=True)
    return _step(block if form == "lean" else Published(block), x)


def network_step(side: int, batch: int, form: str) -> Callable[[], None]:
    """A training step of DSSAU-Net, without the optimiser."""
    torch.manual_seed(0)
    network = glocal.create_model("dssaunet", drop_path=0.0)
    if form == "published":
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, DualSparseSelectionAttention):
                    setattr(module, name, Published(child))
    return _step(network, torch.rand(batch, 3, side, side))


def _step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        module.zero_grad()
        module(x).square().mean().backward()

    return run


def milliseconds(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median of each, run in turn so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn or repeats == 1:  # the first turn warms up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def memory(*words: object) -> float:
    """MB that this script says one step adds, in a process of its own."""
    command = [sys.executable, __file__, "--memory", *map(str, words)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def measure_memory(what: str, *numbers: str) -> None:
    *sizes, form = numbers
    step = block_step(int(sizes[0]), form) if what == "block" else network_step(int(sizes[0]), int(sizes[1]), form)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def line(what: str, times: dict[str, float], megabytes: dict[str, float]) -> None:
    figures = "  ".join(f"{times[form]:9.0f}" for form in FORMS)
    figures += f"  {times['published'] / times['lean']:5.1f}  " + "  ".join(f"{megabytes[f]:9.0f}" for f in FORMS)
    print(f"{what:32} {figures}  {megabytes['published'] / max(1.0, megabytes['lean']):5.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="training steps at 512x512 too")
    parser.add_argument("--memory", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        measure_memory(*options.memory)
        return
    # Memory first: a process begins with the peak of the one that started it.
    networks = ((256, 2), (512, 1))[: 2 if options.large else 1]
    of_blocks = [{form: memory("block", index, form) for form in FORMS} for index in range(len(BLOCKS))]
    of_networks = [{form: memory("network", *sizes, form) for form in FORMS} for sizes in networks]
    print("forward and backward              published ms  lean ms  ratio  published MB    lean MB  ratio")
    for index, (channels, _, topk, side, batch) in enumerate(BLOCKS):
        times = milliseconds({form: block_step(index, form) for form in FORMS}, options.repeats)
        line(f"C {channels}, {side}x{side}, k {topk}, batch {batch}", times, of_blocks[index])
    for (side, batch), megabytes in zip(networks, of_networks, strict=True):
        steps = {form: network_step(side, batch, form) for form in FORMS}
        line(f"dssaunet {side}x{side}, batch {batch}", milliseconds(steps, max(1, options.repeats // 2)), megabytes)
    star = {"dssa": block_step(0, "lean"), "star": block_step(0, "lean", StarDSSA)}
    times = milliseconds(star, options.repeats)
    print(f"STAR-DSSA takes {times['star'] / times['dssa']:.2f} of the time of DSSA (C 96, 64x64)")


if __name__ == "__main__":
    main()
