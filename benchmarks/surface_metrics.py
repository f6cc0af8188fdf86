"""Surface metrics by k-d tree beside SciPy's distance transform of the whole image, in one run.

Prints seconds (median), their ratio and the largest difference of HD, HD95, ASSD and NSD. The bar at 256³ is a ratio of
15, and 1e-6.

    python benchmarks/surface_metrics.py
    python benchmarks/surface_metrics.py --size 128 --repeat 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from glocal.evaluation.metrics import distance_metrics

Mask = NDArray[np.bool_]
TOLERANCE = 2.0


def ball(size: int, axes: int, centre: tuple[float, ...], radius: float) -> Mask:
    """Return a ball in an image of ``size`` along each of ``axes``."""
    grid = np.ogrid[(slice(0, size),) * axes]
    return np.asarray(sum((x - c) ** 2 for x, c in zip(grid, centre, strict=True)) <= radius**2)


def by_distance_transform(prediction: Mask, truth: Mask, spacing: tuple[float, ...]) -> dict[str, float]:
    """Compute the metrics from the distance transforms of both surfaces over the whole image."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    there, back = maps[1][edges[0]], maps[0][edges[1]]
    both = np.concatenate([there, back])
    return {
        "hd": float(both.max()),
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(both.mean()),
        "nsd": float((both <= TOLERANCE).mean()),
    }


def timed(function: Callable[[], dict[str, float]], repeat: int) -> tuple[float, dict[str, float]]:
    """Return the median of the seconds of ``repeat`` calls, and the result."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels along each axis")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each form")
    arguments = parser.parse_args()
    n = arguments.size
    r = n * 60 / 256
    c = n / 2
    near, far = c + n * 6 / 256, c - n * 2 / 256
    cases = {
        "spheres, offset": (3, ((c, c, c), r), ((near, c + 2, far), r * 1.03), (1.0, 1.0, 1.0)),
        "spheres, 2.5 × 0.8 × 0.8 mm": (3, ((c, c, c), r), ((near, c + 2, far), r * 1.03), (2.5, 0.8, 0.8)),
        "spheres, concentric": (3, ((c, c, c), r), ((c, c, c), r * 1.1), (1.0, 1.0, 1.0)),
        "spheres, one twice as large": (3, ((c, c, c), r * 0.8), ((c, c, c), r * 1.6), (1.0, 1.0, 1.0)),
        "discs, offset": (2, ((c, c), r), ((near, far), r * 1.03), (1.0, 1.0)),
    }
    print(f"{'case':<30} {'size':>7} {'EDT s':>9} {'tree s':>9} {'ratio':>7} {'difference':>11}")
    for name, (axes, first, second, spacing) in cases.items():
        prediction, truth = ball(n, axes, *first), ball(n, axes, *second)
        slow, wanted = timed(lambda p=prediction, t=truth, s=spacing: by_distance_transform(p, t, s), arguments.repeat)
        fast, found = timed(
            lambda p=prediction, t=truth, s=spacing: distance_metrics(p, t, s, tolerance=TOLERANCE), arguments.repeat
        )
        gap = max(abs(found[key] - wanted[key]) for key in wanted)
        print(f"{name:<30} {n:>5}^{axes} {slow:>9.3f} {fast:>9.4f} {slow / fast:>6.1f}× {gap:>11.1e}")


if __name__ == "__main__":
    main()
