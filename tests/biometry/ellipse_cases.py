"""Pairs of ellipses with known answers, and masks drawn of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glocal.biometry import Ellipse
from glocal.biometry.ellipse_method import between_ellipses


class Known(NamedTuple):
    """A row of the table of analytic cases: centre, semi-axes and direction of both, and the answer."""

    symphysis: Ellipse
    head: Ellipse
    inferior: tuple[float, float]
    tangent: tuple[float, float]
    aop: float
    nearest: float
    perpendicular: float | None


E = Ellipse
KNOWN = [
    Known(E(250, 78, 52, 15, 9), E(235, 265, 120, 98, 25), (301.359794, 86.134592), (347.970423, 256.055119),
          114.339406, 92.650760, 96.302350),
    Known(E(100, 100, 50, 10, 0), E(200, 200, 50, 50, 0), (150, 100), (230, 160), 143.130102, 61.803399, 100),
    Known(E(100, 100, 50, 10, 0), E(150, 250, 100, 100, 0), (150, 100), (224.535599, 183.333333), 131.810315, 50, 50),
    Known(E(100, 100, 50, 10, 0), E(150, 250, 100, 60, 0), (150, 100), (241.651514, 226), 126.031879, 90, 90),
    Known(E(215, 90, 50, 18, 38), E(230, 290, 130, 100, -35), (254.400538, 120.783074), (331.400371, 208.937689),
          169.136025, 58.511225, 92.548981),
    Known(E(245, 95, 52, 17, -12), E(235, 270, 125, 105, 70), (295.863675, 84.188592), (337.948733, 247.908371),
          92.416074, 78.721569, 129.302801),
    Known(E(170, 180, 52, 17, -25), E(330, 262, 118, 116, 0), (217.128005, 158.023850), (316.485566, 146.763292),
          161.465952, 36.390567, 40.152671),
    Known(E(180, 130, 50, 15, 35), E(330, 255, 118, 105, 0), (220.957602, 158.678822), (318.928713, 150.463181),
          219.793482, 33.579718, None),
    Known(E(330, 140, 50, 18, 10), E(180, 330, 110, 90, 0), (379.240388, 148.682409), (283.170427, 361.218360),
          75.676201, 168.694659, None),
    Known(E(60, 60, 26, 7.5, 9), E(117.5, 132.5, 60, 49, 25), (85.679897, 64.067296), (137.713265, 87.862315),
          164.425237, 20.546247, 23.911176),
]  # fmt: skip


def drawn(symphysis: Ellipse, head: Ellipse, size: int = 512) -> NDArray[np.uint8]:
    """A mask: a pixel belongs to an ellipse if its centre lies in it."""
    grid = np.arange(size, dtype=np.float64)
    mask = np.zeros((size, size), np.uint8)
    mask[head.covers(grid, grid)] = 2
    mask[symphysis.covers(grid, grid)] = 1
    return mask


def realistic(rng: np.random.Generator, size: int) -> tuple[Ellipse, Ellipse]:
    """A symphysis upper left and a head below, with an angle between 80° and 150°."""
    while True:
        symphysis = E(*rng.uniform([170, 75], [260, 130]), *rng.uniform([45, 13], [60, 19]), rng.uniform(-15, 40))
        head = E(*rng.uniform([210, 260], [320, 310]), *rng.uniform([110, 90], [135, 108]), rng.uniform(-89, 89))
        aop = between_ellipses(symphysis, head).aop
        if aop is not None and 80 < aop < 150:
            return symphysis.scaled(size / 512, size / 512), head.scaled(size / 512, size / 512)
