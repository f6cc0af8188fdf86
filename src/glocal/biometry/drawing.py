"""A frame with its measurement drawn as on an ultrasound machine: thin lines, and numbers in a strip below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry.contours import longest_border
from glocal.biometry.ellipse import Ellipse, Point
from glocal.biometry.measurement import FLAGS, HSD_OF, REASONS, Measurement
from glocal.errors import optional_import

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["caption", "draw_measurement"]

SHOWN_SIDE = 768
"""Pixels of the longer side that smaller frames are enlarged to, by a whole factor."""
_FINE = 3  # lines are drawn so many times larger and reduced, which smooths them
_OUTLINE, _LINE, _NEAREST, _ACROSS = "#35d0e8", "#ffffff", "#ffd24a", "#7be37b"
_COLOURS = {"HSD nearest": _NEAREST, "HSD perpendicular": _ACROSS}


def caption(measurement: Measurement, interval: tuple[float, float] | None = None) -> list[str]:
    """The numbers in words: AoP with its interval, each HSD by its name, the method, then flags and reasons."""
    aop = "AoP not measurable" if measurement.aop is None else f"AoP {measurement.aop:.1f}°"
    if interval is not None and measurement.aop is not None:
        aop += f" ({interval[0]:.1f} to {interval[1]:.1f}°)"
    lines = [f"{aop}   method {measurement.method}"]
    for kind in HSD_OF[measurement.method]:
        known = {unit: getattr(measurement, f"hsd_{kind}_{unit}") for unit in ("mm", "px")}
        shown = [f"{value:.1f} {unit}" for unit, value in known.items() if value is not None]
        if shown:
            lines.append(f"HSD {kind} {' = '.join(shown)}")
    lines += [REASONS[reason] for reason in measurement.reasons]
    return lines + [FLAGS[flag] for flag in measurement.flags if flag not in measurement.reasons]


def draw_measurement(
    image: NDArray[Any],
    measurement: Measurement,
    *,
    mask: NDArray[Any] | None = None,
    interval: tuple[float, float] | None = None,
    title: str = "",
) -> Image.Image:
    """Draw ellipses (or outlines), the axis of the symphysis, the tangent, the angle's arc and the distances.

    Args:
        image: ``uint8`` ``(H, W)`` or ``(H, W, 3)``.
        measurement: Of this frame, points in its pixels.
        mask: Label map ``(H, W)``, 1 symphysis and 2 head, whose outlines stand in where there are no ellipses.
        interval: Of the AoP in degrees, printed beside it.
        title: Printed first, such as the name of the frame.

    Returns:
        An RGB picture; a frame smaller than :data:`SHOWN_SIDE` is enlarged by a whole factor.

    Raises:
        UserError: Pillow is not installed.
    """
    pillow = optional_import("PIL.Image", "train")
    pixels = np.ascontiguousarray(image)
    height, width = pixels.shape[:2]
    factor = max(1, -(-SHOWN_SIDE // max(height, width)))
    frame = pillow.fromarray(pixels).convert("RGB").resize((width * factor, height * factor), pillow.Resampling.BICUBIC)
    pen = _Pen(frame.size, factor)
    for label, part in ((1, measurement.symphysis), (2, measurement.head)):
        if part is not None and part.ellipse is not None:
            pen.closed(_points(part.ellipse), _OUTLINE)
        elif part is not None and mask is not None:
            border = longest_border(mask == label)
            if border is not None:
                pen.closed([(float(x), float(y)) for x, y in border], _OUTLINE)
    _draw_lines(pen, measurement)
    drawn: Image.Image = pen.over(frame)
    if measurement.aop is not None:
        _number_at_arc(drawn, measurement, factor)
    lines = caption(measurement, interval)
    return _with_strip(drawn, [title, *lines] if title else lines)


def _draw_lines(pen: _Pen, measurement: Measurement) -> None:
    superior, inferior, tangent = measurement.superior, measurement.inferior, measurement.tangent
    if superior is None or inferior is None:
        return
    for kind, colour in (("nearest", _NEAREST), ("perpendicular", _ACROSS)):
        foot: Point | None = getattr(measurement, kind)
        if foot is not None:
            pen.dashes(inferior, foot, colour)
            pen.dot(foot, colour)
    pen.line(superior, inferior, _LINE)
    if tangent is not None:
        beyond = 1.25
        end = tuple(i + beyond * (t - i) for i, t in zip(inferior, tangent, strict=True))
        pen.line(inferior, (end[0], end[1]), _LINE)
        pen.dot(tangent, _LINE)
        if measurement.aop is not None:
            start = math.degrees(math.atan2(tangent[1] - inferior[1], tangent[0] - inferior[0]))
            pen.arc(inferior, _arc_radius(measurement), *_span(measurement, start), _LINE)
    pen.dot(superior, _LINE)
    pen.dot(inferior, _LINE)


def _span(measurement: Measurement, start: float) -> tuple[float, float]:
    """From where to where the arc goes, in degrees clockwise on the screen: the side on which the head lies."""
    assert measurement.superior is not None
    assert measurement.inferior is not None
    assert measurement.aop is not None
    (sx, sy), (ix, iy) = measurement.superior, measurement.inferior
    end = math.degrees(math.atan2(sy - iy, sx - ix))
    clockwise = (end - start) % 360
    if abs(clockwise - measurement.aop) <= abs(360 - clockwise - measurement.aop):  # pixels need not be square
        return start, start + clockwise
    return end, end + 360 - clockwise


def _arc_radius(measurement: Measurement) -> float:
    """In pixels of the frame: short of the landmarks, so that the arc stands free."""
    assert measurement.superior is not None
    assert measurement.inferior is not None
    assert measurement.tangent is not None
    near = min(math.dist(measurement.inferior, end) for end in (measurement.superior, measurement.tangent))
    return max(4.0, 0.3 * near)


def _number_at_arc(picture: Image.Image, measurement: Measurement, factor: int) -> None:
    """Write the angle at its vertex, on the side where no line runs."""
    from PIL import ImageDraw

    inferior, tangent = measurement.inferior, measurement.tangent
    assert inferior is not None
    assert tangent is not None
    start = math.degrees(math.atan2(tangent[1] - inferior[1], tangent[0] - inferior[0]))
    low, high = _span(measurement, start)
    middle = math.radians((low + high) / 2)
    size = _text_size(picture)
    reach = -1.6 * size
    at = [
        factor * (i + 0.5) + reach * turn
        for i, turn in zip(inferior, (math.cos(middle), math.sin(middle)), strict=True)
    ]
    text = f"{measurement.aop:.1f}°"
    inside = [min(max(a, 2.0 * size), side - 2.0 * size) for a, side in zip(at, picture.size, strict=True)]
    ImageDraw.Draw(picture).text(
        (inside[0], inside[1]),
        text,
        "#ffffff",
        _font(size),
        "mm",
        stroke_width=max(1, size // 9),
        stroke_fill="#000000",
    )


def _with_strip(picture: Image.Image, lines: list[str]) -> Image.Image:
    """The picture with lines of text on black below it."""
    from PIL import Image, ImageDraw

    size = _text_size(picture)
    font = _font(size)
    pen = ImageDraw.Draw(picture)
    wrapped = [
        part for line in lines for part in _wrapped(line, lambda t: pen.textlength(t, font), picture.width - size)
    ]
    step = round(1.45 * size)
    whole = Image.new("RGB", (picture.width, picture.height + step * len(wrapped) + size // 2), "#000000")
    whole.paste(picture)
    strip = ImageDraw.Draw(whole)
    for n, text in enumerate(wrapped):
        colour = next((colour for start, colour in _COLOURS.items() if text.startswith(start)), _LINE)
        strip.text((size // 2, picture.height + size // 4 + n * step), text, colour, font)
    return whole


def _wrapped(line: str, length: Any, most: float) -> list[str]:
    words, rows = line.split(" "), [""]
    for word in words:
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if rows[-1] and length(longer) > most:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


def _text_size(picture: Image.Image) -> int:
    return max(13, round(picture.width / 42))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _points(ellipse: Ellipse) -> list[Point]:
    return [(float(x), float(y)) for x, y in ellipse.boundary(240)]


class _Pen:
    """Thin smooth lines over a frame of ``size`` (width, height) that was enlarged ``factor`` times."""

    def __init__(self, size: tuple[int, int], factor: int) -> None:
        from PIL import Image, ImageDraw

        self.factor = factor * _FINE
        self.width = max(_FINE, round(_FINE * max(size) / 520))
        self.layer = Image.new("RGBA", (size[0] * _FINE, size[1] * _FINE), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.layer)

    def _at(self, point: Point) -> Point:
        return (point[0] + 0.5) * self.factor, (point[1] + 0.5) * self.factor

    def line(self, start: Point, end: Point, colour: str) -> None:
        self.draw.line([self._at(start), self._at(end)], colour, self.width)

    def closed(self, points: list[Point], colour: str) -> None:
        self.draw.line([self._at(point) for point in [*points, *points[:2]]], colour, self.width, joint="curve")

    def dashes(self, start: Point, end: Point, colour: str) -> None:
        (x0, y0), (x1, y1) = self._at(start), self._at(end)
        dash = 5 * self.width
        count = max(1, round(math.hypot(x1 - x0, y1 - y0) / dash)) | 1
        for n in range(0, count, 2):
            low, high = n / count, (n + 1) / count
            ends = [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in (low, high)]
            self.draw.line(ends, colour, self.width)

    def dot(self, point: Point, colour: str) -> None:
        (x, y), radius = self._at(point), 2.2 * self.width
        self.draw.ellipse([x - radius, y - radius, x + radius, y + radius], colour)

    def arc(self, centre: Point, radius: float, start: float, end: float, colour: str) -> None:
        (x, y), reach = self._at(centre), radius * self.factor
        self.draw.arc([x - reach, y - reach, x + reach, y + reach], start, end, colour, self.width)

    def over(self, frame: Image.Image) -> Image.Image:
        from PIL import Image

        layer = self.layer.resize(frame.size, Image.Resampling.BOX)
        return Image.alpha_composite(frame.convert("RGBA"), layer).convert("RGB")
