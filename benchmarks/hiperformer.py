"""HiPerformer against its published form, part by part, side by side in one run: ``python benchmarks/hiperformer.py``.

The published form goes channels-first, layer norms by hand, attention scores in memory, masks and biases made anew at
each call, norms unfolded. Ours is measured as it trains and as ``glocal.deploy`` leaves it; the parts are those of each
network at 224×224. Times are CPU time of one thread. The published width takes about 6 GB.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import glocal

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
import naive_hiperformer as naive

Part = tuple[str, Callable[[Any], Any], Callable[..., Any], list[Tensor]]
"""Name; the part of a network; its published form; what it is fed."""


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


def parts(width: int, batch: int) -> list[Part]:
    """The parts that the specification measures, and the whole."""

    def maps(level: int, channels: int) -> Tensor:
        return torch.randn(batch, channels, 56 >> level, 56 >> level)

    found: list[Part] = []
    for i in range(4):
        c = width * 2**i
        inputs = [maps(i, c), maps(i, c), *([maps(i - 1, c // 2)] if i else [])]
        published = naive.level_fusion if i else lambda b, x, y: naive.level_fusion(b, x, y, None)
        found.append((f"LGFF {i + 1}", lambda n, i=i: n.fusion[i], published, inputs))
    for i in range(3):
        found.append(
            (f"PSA {i + 1}", lambda n, i=i: n.skips[i].attention, naive.pyramid_squeeze, [maps(i, 2 * width * 2**i)])
        )
    image = torch.randn(batch, 3, 224, 224)
    found.append(("Swin", lambda n: n.global_branch, naive.global_branch, [image]))
    found.append(("whole", lambda n: n, naive.naive_hiperformer, [image]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["hiperformer_tiny", "hiperformer"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("                           published     ours  deployed  published / deployed   training step: ratio")
    for name in options.names:
        torch.manual_seed(0)
        network = glocal.create_model(name, drop_path=0.0)
        fast = glocal.deploy(network)
        for title, part, published, inputs in parts(network.feature_info[0].channels, options.batch):
            ours, deployed = part(network.eval()), part(fast)
            with torch.inference_mode():
                times = medians(
                    {
                        "p": lambda p=published, o=ours, i=inputs: p(o, *i),
                        "o": lambda o=ours, i=inputs: o(*i),
                        "d": lambda d=deployed, i=inputs: d(*i),
                    },
                    options.repeats,
                )
            print(
                f"{name:17} {title:7} {times[0]:8.1f} ms {times[1]:8.1f} {times[2]:9.1f} {times[0] / times[2]:12.2f}",
                end="",
            )
            network.train()
            steps = medians(
                {
                    "p": lambda p=published, o=ours, i=inputs: step(lambda *x: p(o, *x), i),
                    "o": lambda o=ours, i=inputs: step(o, i),
                },
                max(2, options.repeats // 2),
            )
            print(f" {steps[0]:18.1f} ms {steps[1]:8.1f} {steps[0] / steps[1]:6.2f}", flush=True)


def step(form: Callable[..., Any], inputs: list[Tensor]) -> None:
    """Forward and backward; gradients are added up in the parameters."""
    out = form(*(x.requires_grad_() for x in inputs))
    torch.stack([y.square().mean() for y in (out if isinstance(out, list) else [out])]).sum().backward()


if __name__ == "__main__":
    main()
