"""Frames in, measurements out, one at a time: from masks, or from images through a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.biometry import Measurement, measure_aop
from glocal.biometry.drawing import draw_measurement
from glocal.data import Picture, read_image
from glocal.errors import UserError
from glocal.inference.measuring.frames import Frame
from glocal.inference.measuring.interval import AopInterval, Spread, aop_interval, structures_of, views_of
from glocal.inference.measuring.labels import Labels
from glocal.inference.prediction import save_image
from glocal.inference.predictor import Predictor

__all__ = ["MeasuredFrame", "measure_images", "measure_masks", "picture_path"]


@dataclass(frozen=True)
class MeasuredFrame:
    """What became of one frame: a measurement, or one line that says why there is none."""

    frame: Frame
    measurement: Measurement | None = None
    interval: AopInterval | None = None
    error: str | None = None


def measure_masks(
    frames: Sequence[Frame], labels: Labels, *, spacing: Any = None, output: Path | None = None, **options: Any
) -> Iterator[MeasuredFrame]:
    """Measure masks in order.

    Args:
        frames: Of :func:`glocal.inference.measuring.frames.find_frames`.
        labels: What their values mean.
        spacing: In mm, as :func:`glocal.biometry.measure_aop`; default: that of the table, or of the image's file.
        output: Folder of the pictures; ``None`` for none.
        **options: As :func:`glocal.biometry.measure_aop`.

    Raises:
        UserError: A picture cannot be written. What is wrong with a single frame is its ``error``.
    """
    for frame in frames:
        told = labels.unreadable.get((frame.path, frame.page))
        if told is not None:
            yield MeasuredFrame(frame, error=told)
            continue
        try:
            mask = labels.read(frame.path, frame.page)
            picture = None if frame.image is None else read_image(frame.image, page=frame.image_page)
            if picture is not None and picture.size != mask.shape:
                raise UserError(
                    f"{frame.path}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, its image {picture.size[1]}x"
                    f"{picture.size[0]} ({frame.image}); give them one size"
                )
            measured = measure_aop(mask, spacing=_spacing(spacing, frame, picture), **options)
        except UserError as error:
            yield MeasuredFrame(frame, error=str(error))
            continue
        result = MeasuredFrame(frame, measured)
        if output is not None:
            _draw(output, result, mask, picture)
        yield result


def measure_images(
    frames: Sequence[Frame],
    predictor: Predictor,
    *,
    spread: Spread = "thresholds",
    spacing: Any = None,
    output: Path | None = None,
    **options: Any,
) -> Iterator[MeasuredFrame]:
    """Segment images and measure the masks, in order.

    Args:
        frames: As :func:`measure_masks`, of images.
        predictor: A network of background, symphysis and head.
        spread: What the interval of AoP comes from; ``"none"``: there is no interval.
        spacing: As :func:`measure_masks`.
        output: As :func:`measure_masks`.
        **options: As :func:`glocal.biometry.measure_aop`.

    Raises:
        UserError: The network has other classes, or a picture cannot be written.
    """
    classes, _ = structures_of(predictor.classes)
    for frame in frames:
        try:
            picture = read_image(frame.path, page=frame.page)
            prediction = predictor(picture.pixels)
        except UserError as error:
            yield MeasuredFrame(frame, error=str(error))
            continue
        indices = np.zeros(3, np.uint8)
        indices[list(classes)] = 1, 2
        mask = indices[prediction.mask]
        steps = _spacing(spacing, frame, picture)
        measured = measure_aop(mask, spacing=steps, **options)
        interval = None
        if spread != "none":
            views = list(views_of(predictor, prediction, spread))
            interval = aop_interval(views, classes, measured.aop, spacing=steps, **options)
        result = MeasuredFrame(frame, measured, interval)
        if output is not None:
            _draw(output, result, mask, picture)
        yield result


def picture_path(output: Path, frame: Frame) -> Path:
    """Where the picture of a frame goes."""
    return output / "pictures" / f"{frame.id}.png"


def _spacing(given: Any, frame: Frame, picture: Picture | None) -> Any:
    if given is not None or frame.spacing is not None:
        return given if given is not None else frame.spacing
    return None if picture is None else picture.spacing


def _draw(output: Path, result: MeasuredFrame, mask: NDArray[np.uint8], picture: Picture | None) -> None:
    """Write the picture of a frame: on its image, or on the mask in shades of grey."""
    assert result.measurement is not None
    if picture is None:
        shown: NDArray[np.uint8] = np.array([0, 110, 60], np.uint8)[mask]
    else:
        shown = np.rint(255 * picture.unit(picture.channels)).astype(np.uint8)
        shown = shown[..., 0] if picture.channels == 1 else shown
    ends = None
    if result.interval is not None and result.interval.low is not None and result.interval.high is not None:
        ends = (result.interval.low, result.interval.high)
    drawn = draw_measurement(shown, result.measurement, mask=mask, interval=ends, title=result.frame.id)
    save_image(drawn, picture_path(output, result.frame))
