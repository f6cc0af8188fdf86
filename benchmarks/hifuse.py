"""HiFuse and its fusion blocks against their published form, side by side in one run: ``python benchmarks/hifuse.py``.

The published form goes channels-first, layer norms by hand, 1×1 convolutions as convolutions, attention scores in
memory, masks and biases made anew at each call. Ours is measured as it trains and as ``glocal.deploy`` leaves it. The
four blocks are those of HiFuse-Tiny at 224×224. Times are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import glocal
from glocal.models.hifuse import HiFuse
from glocal.nn import HFF

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
from naive_hff import naive_hff
from naive_hifuse import naive_hifuse

LEVELS = [(96, 56), (192, 28), (384, 14), (768, 7)]
"""Channels and side of the map."""
Inputs = list[Tensor | None]


def medians(forms: dict[str, Callable[[], object]], repeats: int) -> list[float]:
    """Median milliseconds of each form, run in turn so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            start = time.process_time()
            form()
            if turn:  # the first turn warms up
                times[name].append((time.process_time() - start) * 1e3)
    return [statistics.median(values) for values in times.values()]


def measure(what: str, module: nn.Module, naive: Callable[..., Tensor], inputs: Inputs, repeats: int) -> None:
    """Forward passes and training steps of one module; the published form is fed ``inputs`` as they are."""
    fast = glocal.deploy(module.eval())
    blocks = not isinstance(module, HiFuse)
    ours = [x.contiguous(memory_format=torch.channels_last) if x is not None and blocks else x for x in inputs]
    with torch.inference_mode():
        worst = (fast(*ours) - naive(module, *inputs)).abs().max().item()
        assert worst < 1e-4, f"the forms differ by {worst}"
        published, trained, deployed = medians(
            {"p": lambda: naive(module, *inputs), "o": lambda: module(*ours), "d": lambda: fast(*ours)}, repeats
        )

    def step(form: Callable[..., Tensor], *maps: Any) -> None:
        module.zero_grad()
        form(*maps).square().mean().backward()

    module.train()
    steps = medians({"p": lambda: step(naive, module, *inputs), "o": lambda: step(module, *ours)}, max(3, repeats // 2))
    batch = len(cast(Tensor, inputs[0]))
    print(
        f"{what:18} {batch:3} {published:8.1f} ms {trained:7.1f} {deployed:8.1f}  {published / deployed:5.2f}"
        f"    {steps[0]:8.1f} ms {steps[1]:7.1f}  {steps[0] / steps[1]:5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("                 batch   forward:  ours  deployed  ratio  training step:  ours  ratio")
    for batch in options.batch:
        for channels, side in LEVELS:
            first = channels == LEVELS[0][0]
            inputs: Inputs = [torch.randn(batch, channels, side, side) for _ in range(2)]
            inputs.append(None if first else torch.randn(batch, channels // 2, 2 * side, 2 * side))
            block = HFF(channels, None if first else channels // 2)
            measure(f"HFF {channels}, {side}x{side}", block, naive_hff, inputs, options.repeats)
        for name in ("hifuse_tiny", "hifuse_micro"):
            image: Inputs = [torch.randn(batch, 3, 224, 224)]
            measure(name, glocal.create_model(name), naive_hifuse, image, options.repeats)


if __name__ == "__main__":
    main()
