"""HiFuse's fusion blocks against their published form, side by side in one run: ``python benchmarks/hifuse.py``.

The published form goes step by step, channels-first: layer norms by hand, 1×1 convolutions as convolutions, batch norms
as they are. Ours is measured as it trains and as ``glocal.deploy`` leaves it. The four levels are those of HiFuse-Tiny
at 224×224. Times are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import glocal
from glocal.nn import HFF

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
from naive_hff import naive_hff

LEVELS = [(96, 56), (192, 28), (384, 14), (768, 7)]
"""Channels and side of the map."""


def medians(forms: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each form, run in turn so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            start = time.process_time()
            form()
            if turn:  # the first turn warms up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(channels: int, side: int, batch: int, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Forward passes and training steps of one level."""
    torch.manual_seed(0)
    first = channels == LEVELS[0][0]
    block = HFF(channels, None if first else channels // 2).eval()
    fast = glocal.deploy(block)
    plain: list[Tensor | None] = [torch.randn(batch, channels, side, side) for _ in range(2)]
    plain.append(None if first else torch.randn(batch, channels // 2, 2 * side, 2 * side))
    ours = [None if x is None else x.contiguous(memory_format=torch.channels_last) for x in plain]
    with torch.inference_mode():
        worst = (fast(*ours) - naive_hff(block, *plain)).abs().max().item()
        assert worst < 1e-4, f"the forms differ by {worst}"
        forward = medians(
            {
                "published": lambda: naive_hff(block, *plain),
                "ours": lambda: block(*ours),
                "deployed": lambda: fast(*ours),
            },
            repeats,
        )

    def step(form: Callable[..., Tensor], maps: list[Tensor | None]) -> None:
        block.zero_grad()
        form(*maps).square().mean().backward()

    block.train()
    training = medians(
        {
            "published": lambda: step(lambda *maps: naive_hff(block, *maps), plain),
            "ours": lambda: step(block, ours),
        },
        max(3, repeats // 2),
    )
    return forward, training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "  ch    map  batch  forward: published    ours  deployed  published/deployed  step: published    ours  ratio"
    )
    for batch in options.batch:
        for channels, side in LEVELS:
            forward, training = measure(channels, side, batch, options.repeats)
            gain = forward["published"] / forward["deployed"]
            print(
                f"{channels:4} {side:3}x{side:<3} {batch:4} {forward['published']:16.1f} ms {forward['ours']:7.1f}"
                f" {forward['deployed']:9.1f} {gain:19.2f} {training['published']:13.1f} ms {training['ours']:7.1f}"
                f" {training['published'] / training['ours']:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
