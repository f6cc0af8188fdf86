"""Stepwise patch merging against its published form, side by side in one run: ``python benchmarks/spm.py``.

The published form, as the tests write it (``tests/nn/naive_spm.py``), projects all five tokens of every window and
keeps one. Bars, from the specification: GLE 2.3 to 3.6 times faster, the block 1.9 to 3 times, forward on one core.
Times are CPU time of one thread, so that other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from glocal.nn import StepwisePatchMerging

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
import naive_spm as naive

TRANSITIONS = [(64, 128, 56), (128, 320, 28), (320, 512, 14)]
"""Channels before and after, and side of the map, between the stages of PVT at 224×224."""

Form = Callable[[Tensor], Tensor]


def medians(forms: dict[str, Form], run: Callable[[Form], object], repeats: int) -> dict[str, float]:
    """Median milliseconds of each form, run in turn so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            start = time.process_time()
            run(form)
            if turn:  # the first turn warms up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def compare(title: str, published: Form, ours: Form, x: Tensor, repeats: int) -> None:
    """Print a line for the forward pass and one for the training step."""
    forms = {"published": published, "ours": ours}
    with torch.no_grad():
        difference = (published(x) - ours(x)).abs().max().item()
        assert difference < 1e-5, f"the forms differ by {difference}"
        forward = medians(forms, lambda form: form(x), repeats)
    training = medians(forms, lambda form: form(x).square().mean().backward(), max(3, repeats // 2))
    for what, times in (("forward", forward), ("training", training)):
        figures = "  ".join(f"{milliseconds:9.1f}" for milliseconds in times.values())
        print(f"{title}  {what:8} {figures}  {times['published'] / times['ours']:6.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("widths   map   part  pass     published       ours   ratio   (ms, two images)")
    for before, after, side in TRANSITIONS:
        block = StepwisePatchMerging(before, after).eval()
        x = torch.randn(2, before, side, side).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            y = block.msa(x)
        title = f"{before:3}→{after:<3}  {side}²"
        compare(f"{title}  MSA", partial(naive.multi_scale_aggregation, block.msa), block.msa, x, repeats)
        compare(f"{title}  GLE", partial(naive.guided_local_enhancement, block.gle), block.gle, y, repeats)
        compare(f"{title}  SPM", partial(naive.stepwise_patch_merging, block), block, x, repeats)


if __name__ == "__main__":
    main()
