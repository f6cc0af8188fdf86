"""Where in a feature map the score of a class comes from: by gradients (Grad-CAM), or without (ablation)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["CELLS", "Route", "Score", "ablation", "gradcam"]

CELLS = 8
"""Rows and columns of cells at most that an ablation removes, one at a time."""

_TOGETHER = 8
"""Ablated maps decoded at once."""

_ROUNDING = 1e-5
"""Share of a score by which it may change without a cause, as batches are computed otherwise than one image."""

Score = Callable[[Tensor], Tensor]
"""Logits ``(N, K)`` or ``(N, K, H, W)`` -> the number explained, ``(N,)``."""


@dataclass(frozen=True)
class Route:
    """One image half-way through a network: N = 1.

    Attributes:
        maps: Feature maps ``(1, C, h, w)``, each part of what ``logits`` were computed from.
        logits: Of these maps.
        decode: Maps, changed or not, -> logits.
    """

    maps: list[Tensor]
    logits: Tensor
    decode: Callable[[list[Tensor]], Tensor]


def gradcam(route: Route, level: int, score: Score) -> Tensor | None:
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2); Seg-Grad-CAM by its score (Vinogradova et al., 2020).

    The channels of the map, weighted by the mean gradient of the score with respect to each, are added up, and what
    speaks against the class is set to 0.

    Args:
        route: With gradients recorded.
        level: Index of the map.
        score: What is explained.

    Returns:
        ``(h, w)``, 0 or more; ``None`` where the score does not depend on the map.
    """
    chosen = route.maps[level]
    total = score(route.logits).sum()
    gradient: Tensor | None = torch.autograd.grad(total, chosen, retain_graph=True, allow_unused=True)[0]
    if gradient is None:
        return None
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * chosen.detach()).sum(1)[0].relu()


@torch.no_grad()
def ablation(route: Route, level: int, score: Score) -> Tensor:
    """How much the score falls when a part of the map is set to 0 and all else is kept; no gradients, no attention.

    This is occlusion sensitivity (Zeiler and Fergus, ECCV 2014) moved from the image to the feature map. Of a network
    that averages the map and is linear then, it is the class-activation map itself. A map of more than 8 rows or
    columns is cut into that many, so that no more than 64 passes through the decoder are needed.

    Args:
        route: Its ``decode`` is called with batches.
        level: Index of the map.
        score: What is explained.

    Returns:
        ``(h, w)``, 0 or more: the fall of the score by pixel of the map. It is 0 throughout where ``decode`` does not
        use the map, as that of a classifier may use the deepest one alone.
    """
    chosen = route.maps[level]
    height, width = chosen.shape[2:]
    cells = [(rows, columns) for rows in _parts(height) for columns in _parts(width)]
    falls = torch.zeros(height, width, dtype=torch.float64)
    whole = float(score(route.logits)[0])
    noise = _ROUNDING * max(1.0, abs(whole))
    for start in range(0, len(cells), _TOGETHER):
        some = cells[start : start + _TOGETHER]
        kept = torch.ones(len(some), 1, height, width, dtype=chosen.dtype, device=chosen.device)
        for index, (rows, columns) in enumerate(some):
            kept[index, :, rows, columns] = 0
        maps = [one.detach().expand(len(some), -1, -1, -1) for one in route.maps]
        maps[level] = chosen.detach() * kept
        scores = score(route.decode(maps)).cpu().double()
        for (rows, columns), fall in zip(some, (whole - scores).tolist(), strict=True):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            falls[rows, columns] = fall / pixels if abs(fall) > noise else 0
    return falls.relu().float()


def _parts(side: int) -> list[slice]:
    """At most :data:`CELLS` slices of nearly equal length."""
    ends = [round(side * part / min(side, CELLS)) for part in range(min(side, CELLS) + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
