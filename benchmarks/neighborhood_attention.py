"""Neighbourhood attention against its gather form, side by side in one run.

``python benchmarks/neighborhood_attention.py``. The gather form indexes every window of keys and values into a k² times
larger tensor. Bar P1: forward at 56×56×64, two heads, window 7, at least 15 times faster on one core.
Times are CPU time of one thread, so that other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from glocal.nn import neighborhood, neighborhood_attention

Form = Callable[[Tensor, Tensor, Tensor, int], Tensor]

LEVELS = [
    (56, 64, 2, 7),
    (56, 64, 2, 3),
    (256, 12, 12, 3),
    (128, 24, 12, 3),
    (64, 48, 12, 3),
    (64, 48, 12, 5),
    (64, 48, 12, 7),
]
"""Side of the map, channels, heads, window: the bar, then the levels of LM-Net and wider windows."""


def gather(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    starts = ((torch.arange(size) - window // 2).clamp(0, size - window)[:, None] for size in q.shape[1:3])
    rows, columns = (start + torch.arange(window) for start in starts)
    keys, values = (t[:, rows[:, None, :, None], columns[None, :, None, :]].flatten(3, 4) for t in (k, v))
    weights = torch.einsum("nijhd,nijkhd->nijhk", q * q.shape[-1] ** -0.5, keys).softmax(-1)
    return torch.einsum("nijhk,nijkhd->nijhd", weights, values)


FORMS: dict[str, Form] = {
    "gather": gather,
    "shifted": lambda q, k, v, window: neighborhood._shifted(q, k, v, window, None, q.shape[-1] ** -0.5),
    "tiled": lambda q, k, v, window: neighborhood._tiled(q, k, v, window, None, q.shape[-1] ** -0.5),
    "chosen": neighborhood_attention,
}


def medians(run: Callable[[Form], object], repeats: int) -> dict[str, float]:
    """Median milliseconds of each form, run in turn so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(repeats + 1):
        for name, form in FORMS.items():
            start = time.process_time()
            run(form)
            if turn:  # the first turn warms up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(side: int, channels: int, heads: int, window: int, repeats: int) -> dict[str, dict[str, float]]:
    """Forward and training step of every form on one map, laid out as the block's projection leaves it."""
    by_shifts = neighborhood._by_shifts(window, channels // heads)
    projected = torch.randn(3, 1, heads, channels // heads, side, side).permute(0, 1, 4, 5, 2, 3)
    qkv = (projected if by_shifts else projected.contiguous()).unbind(0)
    with torch.no_grad():
        worst = max((form(*qkv, window) - gather(*qkv, window)).abs().max().item() for form in FORMS.values())
        assert worst < 1e-5, f"the forms differ by {worst}"
        forward = medians(lambda form: form(*qkv, window), repeats)
    leaves = [t.detach().requires_grad_() for t in qkv]
    training = medians(lambda form: form(*leaves, window).square().mean().backward(), max(3, repeats // 2))
    return {"forward": forward, "training": training}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("    map   ch heads  k   pass      " + "  ".join(f"{name:>7}" for name in FORMS) + "  gather/chosen")
    for level in LEVELS:
        side, channels, heads, window = level
        for what, times in measure(*level, repeats=repeats).items():
            figures = "  ".join(f"{milliseconds:7.1f}" for milliseconds in times.values())
            ratio = times["gather"] / times["chosen"]
            print(
                f"{side:3}x{side:<3} {channels:4} {heads:5} {window:2}   {what:8}  {figures}  {ratio:7.1f}", flush=True
            )


if __name__ == "__main__":
    main()
