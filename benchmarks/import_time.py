"""CPU seconds of ``import torch`` and of ``import glocal`` on top of it, side by side in fresh processes (bar P8)."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

PROBE = """
import time
start = time.process_time()
import torch
between = time.process_time()
import glocal
print(between - start, time.process_time() - between)
"""


def measure(repeats: int) -> list[tuple[float, float]]:
    rows = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        torch_seconds, glocal_seconds = map(float, done.stdout.split())
        rows.append((torch_seconds, glocal_seconds))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    rows = measure(parser.parse_args().repeats)
    torch_seconds, glocal_seconds = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"import torch    {torch_seconds:.3f} CPU-s (median of {len(rows)})")
    print(f"import glocal   {glocal_seconds:.3f} CPU-s above it; bar P8: at most 0.300")


if __name__ == "__main__":
    main()
