"""What ``glocal.deploy`` saves on one core, side by side in one run: ``python benchmarks/deploy.py [NAME ...]``.

Bar P2: at most 0.6 of the time as trained, where branches merge; outputs equal to 1e-4.
Times are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import glocal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["lmnet", "lmnet_paper", "lmnet_tiny"])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("network          as trained   deployed   ratio   difference")
    for name in options.names:
        torch.manual_seed(0)
        network = glocal.create_model(name).eval()
        x = torch.rand(1, network.in_channels, options.size, options.size)
        forms = (network, glocal.deploy(network))
        times: list[list[float]] = [[], []]
        with torch.inference_mode():
            difference = (forms[0](x) - forms[1](x)).abs().max().item()
            for turn in range(options.repeats + 1):
                for form, spent in zip(forms, times, strict=True):
                    start = time.process_time()
                    form(x)
                    if turn:  # the first turn warms up
                        spent.append((time.process_time() - start) * 1e3)
        trained, deployed = map(statistics.median, times)
        print(
            f"{name:15} {trained:8.1f} ms {deployed:7.1f} ms {deployed / trained:7.2f} {difference:12.1e}", flush=True
        )


if __name__ == "__main__":
    main()
