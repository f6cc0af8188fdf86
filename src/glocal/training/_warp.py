"""One geometric warp: crop, shift, scale, rotation and flips as one matrix, distortions as a displacement field.

Coordinates are pixels from the image centre, x to the right and y down; a map goes from the output to the source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glocal.training.augment_config import AffineConfig, CropConfig, FlipConfig, OneOfConfig, OneOfName

__all__ = ["Plan", "draw_displacement", "draw_plan", "turned", "warp"]

_TRIES = 10
"""Crops drawn before the largest that fits the ratio is taken."""


@dataclass(frozen=True)
class Plan:
    """What was drawn for a batch, on the CPU in float64."""

    matrix: Tensor
    """``(N, 2, 3)``: source = matrix @ (x, y, 1)."""
    centre: Tensor
    """``(N, 2)``: centre (x, y) of the crop."""
    half: Tensor
    """``(N, 2)``: half width and half height of the crop; what lies outside it is black."""


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def _happens(p: float, n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) < p


def draw_plan(
    crop: CropConfig,
    affine: AffineConfig,
    flip: FlipConfig,
    size: tuple[int, int, int],
    generator: torch.Generator,
    still: Tensor | None = None,
) -> Plan:
    """Draw crop, shift, scale, rotation and flips for a batch.

    Args:
        crop: Applied first.
        affine: Applied second, about the centre of the crop.
        flip: Applied last.
        size: N, H, W.
        generator: Source of all draws.
        still: ``(N,)``, rows that are not shifted, scaled or rotated.
    """
    n, height, width = size
    centre, half = _draw_crop(crop, size, generator)
    angle = torch.deg2rad(_uniform(-affine.rotate, affine.rotate, (n,), generator))
    scale = _uniform(1 - affine.scale, 1 + affine.scale, (n,), generator)
    shift = _uniform(-affine.shift, affine.shift, (n, 2), generator) * torch.tensor([width, height])
    draws = _happens(affine.p, 3 * n, generator).view(3, n)
    if still is not None:
        draws = draws & ~still
    rotated, scaled, shifted = draws[:1].expand(3, n) if affine.together else draws
    angle, scale = torch.where(rotated, angle, 0.0), torch.where(scaled, scale, 1.0)
    shift = torch.where(shifted[:, None], shift, 0.0)
    mirrored = torch.stack([_happens(flip.horizontal, n, generator), _happens(flip.vertical, n, generator)], dim=1)
    sign = 1.0 - 2.0 * mirrored.double()
    # forward: p' = scale * R p + shift, then flip; backward: p = R^T (flip p' - shift) / scale, then into the crop
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    back = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], dim=1)
    zoom = half / (torch.tensor([width, height]) / 2)
    linear = zoom[:, :, None] * back * sign[:, None, :]
    offset = centre - zoom * (back @ shift[:, :, None])[..., 0]
    return Plan(torch.cat([linear, offset[:, :, None]], dim=2), centre, half)


def _draw_crop(crop: CropConfig, size: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centre and half size ``(N, 2)`` of the crops, (x, y)."""
    n, height, width = size
    full = torch.tensor([width, height], dtype=torch.float64)
    area = width * height * _uniform(*crop.scale, (n, _TRIES), generator)
    ratio = torch.exp(_uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1]), (n, _TRIES), generator))
    sides = torch.stack([torch.sqrt(area * ratio), torch.sqrt(area / ratio)], dim=-1)
    fits = (sides <= full).all(dim=-1)
    first = fits.int().argmax(dim=1)
    drawn = sides[torch.arange(n), first]
    nearest = min(max(width / height, crop.ratio[0]), crop.ratio[1])
    largest = torch.tensor([min(width, height * nearest), min(height, width / nearest)], dtype=torch.float64)
    position = _uniform(-1.0, 1.0, (n, 2), generator)
    cropped = _happens(crop.p, n, generator)[:, None]
    fitting = fits.any(dim=1)[:, None]
    side = torch.where(cropped, torch.where(fitting, drawn, largest), full)
    centre = torch.where(cropped & fitting, position * (full - side) / 2, 0.0)
    return centre, side / 2


def draw_displacement(
    chosen: Mapping[OneOfName, Tensor], config: OneOfConfig, size: tuple[int, int, int], generator: torch.Generator
) -> Tensor | None:
    """Displacements of grid and elastic distortion.

    Args:
        chosen: Which rows ``(N,)`` get ``grid_distortion`` and ``elastic``; other changes are passed over.
        config: Their strengths.
        size: N, H, W.
        generator: Source of all draws.

    Returns:
        ``(N, H, W, 2)`` in pixels (x, y), float32; None where no row is displaced.
    """
    n, height, width = size
    field: Tensor | None = None
    for name, rows in chosen.items():
        if name not in ("grid_distortion", "elastic"):
            continue
        field = torch.zeros(n, height, width, 2) if field is None else field
        for row in rows.nonzero()[:, 0].tolist():
            draw = _grid_distortion if name == "grid_distortion" else _elastic
            field[row] = draw(config, height, width, generator)
    return field


def _grid_distortion(config: OneOfConfig, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Cells of a regular grid, each stretched by its own factor along each axis: ``(H, W, 2)``."""
    shifts = []
    for length in (width, height):
        stretch = _uniform(1 - config.grid_limit, 1 + config.grid_limit, (config.grid_steps,), generator)
        knots = F.pad(stretch.cumsum(0), (1, 0)) * length / config.grid_steps
        place = (torch.arange(length, dtype=torch.float64) + 0.5) / length * config.grid_steps
        cell = place.floor().long().clamp(max=config.grid_steps - 1)
        source = knots[cell] + (place - cell) * (knots[cell + 1] - knots[cell])
        source = length - (length - source).abs()  # reflected at the far border
        shifts.append(source - torch.arange(length) - 0.5)
    return torch.stack([shifts[0][None, :].expand(height, width), shifts[1][:, None].expand(height, width)], -1).float()


def _elastic(config: OneOfConfig, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Independent displacements in [-alpha, alpha], smoothed by a Gaussian: ``(H, W, 2)``."""
    noise = _uniform(-config.elastic_alpha, config.elastic_alpha, (2, height, width), generator)

    def smoothing(length: int) -> Tensor:
        distance = torch.arange(length)[:, None] - torch.arange(length)
        kernel = torch.exp(-0.5 * (distance / config.elastic_sigma) ** 2).double()
        return kernel / kernel.sum(dim=1, keepdim=True)

    return (smoothing(height) @ noise @ smoothing(width).T).permute(1, 2, 0).float()


def warp(
    images: Tensor, labels: Tensor | None, plan: Plan, displacement: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Sample images bilinearly and labels at the nearest pixel, at the same places.

    Args:
        images: ``(N, C, H, W)`` float.
        labels: ``(N, H, W)`` integers, or None where there are no masks.
        plan: Of :func:`draw_plan`.
        displacement: Of :func:`draw_displacement`.

    Returns:
        Both at the same size; 0 outside the crop.
    """
    n, _, height, width = images.shape
    device = images.device
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device) + 0.5 - height / 2,
        torch.arange(width, device=device) + 0.5 - width / 2,
        indexing="ij",
    )
    places = torch.stack([xs, ys], dim=-1).expand(n, height, width, 2)
    if displacement is not None:
        places = places + displacement.to(device)
    matrix, centre, half = (t.float().to(device)[:, None, None] for t in (plan.matrix, plan.centre, plan.half))
    # written out, as a matrix product may be computed in TF32, which is a tenth of a pixel off
    source = matrix[..., 0] * places[..., :1] + matrix[..., 1] * places[..., 1:] + matrix[..., 2]
    inside = ((source - centre).abs() <= half).all(dim=-1)
    grid = source / torch.tensor([width / 2, height / 2], device=device)
    warped = F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)
    if labels is None:
        return warped * inside[:, None], None
    sampled = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return warped * inside[:, None], (sampled[:, 0] * inside).to(labels.dtype)


def turned(
    images: Tensor, labels: Tensor | None, rows: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Turn chosen rows by 0 to 3 right angles, then mirror them along one of the two axes; nothing is interpolated.

    Args:
        images: ``(N, C, H, W)``, H and W equal.
        labels: ``(N, H, W)``, or None.
        rows: ``(N,)`` boolean on the CPU.
        generator: Source of all draws.
    """
    quarter = torch.randint(4, (len(images),), generator=generator)
    axis = torch.randint(2, (len(images),), generator=generator)
    images, labels = images.clone(), None if labels is None else labels.clone()
    for row in rows.nonzero()[:, 0].tolist():
        times, mirrored = int(quarter[row]), int(axis[row])
        for maps in (images,) if labels is None else (images, labels):
            maps[row] = torch.rot90(maps[row], times, (-2, -1)).flip(mirrored - 2)
    return images, labels
