"""Equivalent forms in the comparison networks, side by side in one run: ``python benchmarks/comparison_blocks.py``.

Doubling and convolving in one (Attention U-Net, four levels at 256×256), and dilated convolutions whose taps leave the
map (DeepLabv3+'s rates at 256×256). Times are CPU time of one thread; below 1 the form in use is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn import DilatedConv2d, NearestUpsampleConv

DOUBLINGS = [(1024, 16), (512, 32), (256, 64), (128, 128)]
"""Channels in (half as many come out) and side of the small map."""
DILATIONS = [(320, 256, 32, 12), (320, 256, 32, 24), (320, 256, 32, 36), (320, 256, 16, 18)]
"""Channels in and out, side, rate."""


def plain_doubling(block: NearestUpsampleConv, x: Tensor) -> Tensor:
    """Repeat every pixel, then convolve."""
    return F.relu(block.layer(F.interpolate(x, scale_factor=2)))


def plain_dilation(conv: DilatedConv2d, x: Tensor) -> Tensor:
    """All nine taps."""
    return F.conv2d(x, conv.weight, conv.bias, padding=conv.dilation, dilation=conv.dilation)


def medians(forms: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median milliseconds of each form, run in turn so that all see the same machine."""
    times: list[list[float]] = [[] for _ in forms]
    for turn in range(repeats + 1):
        for spent, form in zip(times, forms, strict=True):
            start = time.process_time()
            form()
            if turn:  # the first turn warms up
                spent.append((time.process_time() - start) * 1e3)
    return [statistics.median(spent) for spent in times]


def compare(what: str, module: nn.Module, plain: Callable[..., Tensor], x: Tensor, repeats: int) -> None:
    """One line: both forms, forward and training step."""

    def step(form: Callable[[Tensor], Tensor]) -> None:
        module.zero_grad()
        form(x.requires_grad_()).square().mean().backward()

    module.eval()
    with torch.inference_mode():
        worst = (module(x) - plain(module, x)).abs().max().item()
        assert worst < 1e-4, f"the forms differ by {worst}"
        forward = medians([lambda: module(x), lambda: plain(module, x)], repeats)
    training = medians([lambda: step(module), lambda: step(lambda x: plain(module, x))], max(3, repeats // 2))
    for name, (ours, theirs) in (("forward", forward), ("training", training)):
        print(f"{what:34} {name:8} {ours:8.1f} ms  plain {theirs:8.1f} ms  ratio {ours / theirs:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for channels, side in DOUBLINGS:
        doubling = NearestUpsampleConv(channels, channels // 2)
        compare(
            f"doubled, {channels} at {side}²", doubling, plain_doubling, torch.rand(1, channels, side, side), repeats
        )
    for inputs, outputs, side, rate in DILATIONS:
        dilated = DilatedConv2d(inputs, outputs, rate)
        compare(
            f"dilated by {rate}, {inputs} at {side}²",
            dilated,
            plain_dilation,
            torch.rand(1, inputs, side, side),
            repeats,
        )


if __name__ == "__main__":
    main()
