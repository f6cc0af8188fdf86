"""What a curved probe would show of the two ellipses: speckle, attenuation, shadow and gain.

The echo is built on the probe's own grid, (samples along a beam, beams) = (R, B), in decibels, log-compressed, and
scan-converted to pixels last; so speckle widens with depth and shadows follow the beams, as in the real thing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from glocal.data.phantom.anatomy import Anatomy
from glocal.data.phantom.geometry import Ellipse, Fan

__all__ = ["draw_image"]

Floats = NDArray[np.float64]


def _smooth(rng: np.random.Generator, shape: tuple[int, int], cycles: tuple[int, int]) -> Floats:
    """A smooth random field of about unit variance with up to ``cycles`` half-waves along each side."""
    waves = [
        np.cos(np.pi * np.outer(np.linspace(0, 1, n), np.arange(k + 1))) for n, k in zip(shape, cycles, strict=True)
    ]
    weights = rng.normal(size=(cycles[0] + 1, cycles[1] + 1)) * 2 / np.sqrt((cycles[0] + 1) * (cycles[1] + 1))
    field: Floats = waves[0] @ weights @ waves[1].T
    return field


def _speckle(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> Floats:
    """Fully developed speckle in decibels: a Rayleigh envelope of unit mean square, correlated by ``sigma``."""
    real, imaginary = (gaussian_filter(rng.normal(size=shape), sigma, mode="nearest") for _ in range(2))
    power = real**2 + imaginary**2
    decibels: Floats = 10 * np.log10(power / power.mean() + 1e-6)
    return decibels


def _facing(ellipse: Ellipse, fan: Fan, x: Floats, y: Floats) -> Floats:
    """Cosine of the angle between beam and surface normal: +1 on the near side seen head-on, -1 on the far side."""
    u, v = ellipse.local(x, y)
    along, across = ellipse.axis, np.array([-ellipse.axis[1], ellipse.axis[0]])
    normal = np.multiply.outer(along, u / ellipse.a) + np.multiply.outer(across, v / ellipse.b)
    beam = np.stack([x - fan.x, y - fan.y])
    cosine: Floats = -(normal * beam).sum(0) / (np.hypot(*normal) * np.hypot(*beam) + 1e-9)
    return cosine


def _rim(ellipse: Ellipse, x: Floats, y: Floats, thickness: float) -> Floats:
    """1 on the ellipse, falling to 0 over about ``thickness`` pixels on either side."""
    distance = (ellipse.radius(x, y) - 1) * np.sqrt(ellipse.a * ellipse.b)
    rim: Floats = np.exp(-((distance / thickness) ** 2))
    return rim


def _echo(anatomy: Anatomy, spacing: float, depth: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Mean echo in decibels, (R, B), before speckle; ``depth`` (R, 1) in millimetres from the probe."""
    fan, symphysis, head = anatomy.fan, anatomy.symphysis, anatomy.head
    shape = x.shape
    in_symphysis, in_head = symphysis.radius(x, y) <= 1, head.radius(x, y) <= 1

    # Reflectivity: layered tissue, a dark head with some structure, an oval of medium echo.
    echo = 5.0 * _smooth(rng, shape, (12, 6)) + 3.5 * _smooth(rng, shape, (44, 12))
    echo[in_head] = (-rng.uniform(8, 18) + 3.5 * _smooth(rng, shape, (18, 14)))[in_head]
    echo[in_symphysis] = (-rng.uniform(5, 12) + 3.0 * _smooth(rng, shape, (50, 18)))[in_symphysis]

    # Bone is bright where it faces the beam, and everything behind it loses energy.
    skull = _rim(head, x, y, rng.uniform(1.0, 1.8) / spacing)
    facing = _facing(head, fan, x, y)
    near, far = np.clip(facing, 0, 1) ** 1.5, np.clip(-facing, 0, 1) ** 2
    patchy = np.clip(1 + 0.45 * _smooth(rng, shape, (6, 14)), 0.2, 1.5)
    peak = (rng.uniform(18, 26) * near + rng.uniform(16, 26) * far) * patchy
    echo += skull * (peak - np.where(in_head, echo, 0))
    capsule = _rim(symphysis, x, y, rng.uniform(0.7, 1.3) / spacing)
    echo += capsule * rng.uniform(9, 16) * patchy * (0.3 + 0.7 * np.abs(_facing(symphysis, fan, x, y)))

    step = float(depth[1, 0] - depth[0, 0])
    uneven = np.clip(1 + 0.6 * _smooth(rng, shape, (2, 24)), 0.1, None)
    loss = skull * np.abs(facing) * rng.uniform(0.8, 3.0) * uneven + in_symphysis * rng.uniform(0.1, 1.3)
    echo -= np.minimum(np.cumsum(loss, axis=0) * step, 40)

    # Depth attenuation left over by the time-gain compensation, uneven gain, and poor contact at the fan's edges.
    echo -= rng.uniform(0.02, 0.12) * depth
    echo += 3.0 * _smooth(rng, shape, (3, 2))
    sides = np.linspace(-1, 1, shape[1])
    echo -= rng.uniform(0, 14) * np.clip(-sides - 0.35, 0, None) + rng.uniform(0, 10) * np.clip(sides - 0.45, 0, None)
    return echo


def draw_image(anatomy: Anatomy, spacing: float, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a frame.

    Args:
        anatomy: Geometry in pixels.
        spacing: Millimetres per pixel.
        size: ``(H, W)`` in pixels.
        rng: Source of all that is random.

    Returns:
        ``(H, W)`` uint8, 0 outside the fan.
    """
    fan = anatomy.fan
    half_angle = np.deg2rad(fan.half_angle)
    samples = max(48, round(1.2 * (fan.outer - fan.inner)))
    beams = max(32, round(1.2 * half_angle * fan.outer))
    radius = np.linspace(fan.inner, fan.outer, samples)[:, None]
    angle = np.linspace(-half_angle, half_angle, beams)[None, :]
    x, y = fan.x + radius * np.sin(angle), fan.y + radius * np.cos(angle)

    echo = _echo(anatomy, spacing, (radius - fan.inner) * spacing, x, y, rng)
    step = (fan.outer - fan.inner) * spacing / samples
    echo += _speckle(rng, (samples, beams), (max(0.45 / step, 0.5), max(0.8 / step, 0.5)))
    dynamic_range = rng.uniform(38, 52)
    gain = rng.uniform(-23, -13)
    grey = 255 * np.clip(1 + (echo + gain) / dynamic_range, 0, 1)

    row, column = np.mgrid[: size[0], : size[1]].astype(np.float64)
    to_radius, to_angle = fan.polar(column, row)
    where = [
        (to_radius - fan.inner) / (fan.outer - fan.inner) * (samples - 1),
        (to_angle + half_angle) / (2 * half_angle) * (beams - 1),
    ]
    image = map_coordinates(grey, where, order=1, mode="nearest")
    image[~fan.contains(column, row)] = 0
    pixels: NDArray[np.uint8] = np.rint(image).astype(np.uint8)
    return pixels
