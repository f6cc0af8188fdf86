"""Pictures of cases: the image, with the outlines of truth and prediction drawn over it as vectors."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from glocal.errors import optional_import
from glocal.evaluation.page import Markup, element
from glocal.evaluation.thumbnails import Thumbnail

__all__ = ["draw", "picture"]

_MOST_POINTS = 20_000


def draw(thumbnail: Thumbnail, label: str) -> Markup:
    """Return an ``<svg>`` of the case, the truth outlined solid and the prediction dashed.

    Outlines run half a pixel outside the pixels of each class. Beyond 20,000 points the smallest outlines are left out.

    Args:
        thumbnail: Of the case.
        label: What is to be read where pictures cannot be seen.

    Raises:
        UserError: Pillow or matplotlib is not installed.
    """
    image, prediction, truth = thumbnail.unpack()
    paths = [
        element("path", d=_outlines(labels), class_=role) for labels, role in ((truth, "truth"), (prediction, "guess"))
    ]
    return picture(image, label, *paths)


def picture(image: NDArray[np.uint8], label: str, *over: Markup) -> Markup:
    """Return an ``<svg>`` of an image.

    Args:
        image: ``(H, W, 3)``.
        label: What is to be read where pictures cannot be seen.
        over: Elements drawn over it, a pixel being 1 wide.

    Raises:
        UserError: Pillow is not installed.
    """
    height, width = image.shape[:2]
    pixels = element("image", href=_jpeg(image), width=str(width), height=str(height), preserveAspectRatio="none")
    return element("svg", pixels, *over, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def _jpeg(image: NDArray[np.uint8]) -> str:
    pillow = optional_import("PIL.Image", "train")
    stream = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _outlines(labels: NDArray[np.uint8]) -> str:
    """Path data of the outlines of every class but the background."""
    contourpy = optional_import("contourpy", "train")
    lines = []
    for index in np.unique(labels[labels > 0]):
        padded = np.pad((labels == index).astype(np.float64), 1)
        lines += contourpy.contour_generator(z=padded).lines(0.5)
    lines.sort(key=len, reverse=True)
    points, parts = 0, []
    for line in lines:
        points += len(line)
        if points > _MOST_POINTS:
            break
        parts.append("M" + "L".join(f"{x - 0.5:g} {y - 0.5:g}" for x, y in line) + "Z")
    return "".join(parts)
