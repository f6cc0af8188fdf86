"""Explanation of files: pictures or maps of many images, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from glocal.errors import UserError
from glocal.inference._guards import naming_memory
from glocal.inference.base import Prepared
from glocal.inference.classifier import Classifier
from glocal.inference.explanation.explaining import Maps, Method, explain_prepared, told
from glocal.inference.explanation.result import ALPHA, displayed, draw
from glocal.inference.prediction import save_image
from glocal.inference.predictor import Predictor
from glocal.inference.routing import routing_pictures, save_routing

__all__ = ["ExplainedFile", "MapFormat", "explain_files", "route_files"]

MapFormat: TypeAlias = Literal["npy", "png"]


@dataclass(frozen=True)
class ExplainedFile:
    """What became of one image."""

    image: Path
    output: Path | None = None
    """What was written; ``None`` if nothing was."""
    classes: tuple[tuple[str, float], ...] = ()
    """The classes explained, with their probabilities."""
    notes: tuple[str, ...] = ()
    error: str | None = None
    """Why the image could not be read: one line."""


def explain_files(
    predictor: Predictor | Classifier,
    outputs: Mapping[Path, Path],
    *,
    target: str | None = None,
    method: Method = "gradcam",
    level: int = -1,
    maps: Maps = "fused",
    alpha: float = ALPHA,
    map_only: MapFormat | None = None,
) -> Iterator[ExplainedFile]:
    """Explain and write files; what cannot be read is told in its result and left out.

    Args:
        predictor: As :func:`glocal.inference.explain`.
        outputs: For each file that is written its image, as :func:`glocal.inference.files.plan_outputs`.
        target: Name of the class. Default: the predicted one; of a segmentation each that has pixels, without the
            background, side by side.
        method: As :func:`glocal.inference.explain`.
        level: As :func:`glocal.inference.explain`.
        maps: As :func:`glocal.inference.explain`.
        alpha: Opacity of the map where it is highest.
        map_only: Write the map alone (:meth:`Explanation.save_map`) and no picture; needs the ``target`` of a
            segmentation.

    Returns:
        One result for each image, in their order, when its file is written.

    Raises:
        UserError: A file cannot be written, or as :func:`glocal.inference.explain`.
    """
    if map_only is not None and target is None and isinstance(predictor, Predictor):
        raise UserError("a file of a map holds one class: name it (--class), or draw pictures (without --map_only)")
    for output, image in outputs.items():
        prepared = _prepared(predictor, image)
        if isinstance(prepared, ExplainedFile):
            yield prepared
            continue
        targets = None if target is None else [target]
        most = None if map_only is None else 1
        found = explain_prepared(predictor, prepared, targets=targets, method=method, level=level, maps=maps, most=most)
        if not found:
            yield ExplainedFile(image, notes=(*prepared.notes, "nothing but background: no class to explain"))
            continue
        if map_only is None:
            save_image(draw(found, alpha), output)
        else:
            found[0].save_map(output)
        notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
        yield ExplainedFile(image, output, tuple((one.target, one.probability) for one in found), notes)


def route_files(
    predictor: Predictor | Classifier,
    outputs: Mapping[Path, Path],
    *,
    at: tuple[float, float] = (0.5, 0.5),
    every_block: bool = False,
) -> Iterator[ExplainedFile]:
    """Draw where a network with routed attention looks; what cannot be read is told in its result and left out.

    Args:
        predictor: Of a network with DSSA or STAR-DSSA.
        outputs: As :func:`explain_files`.
        at: The point whose region is asked, as shares of height and width of the image.
        every_block: All routed blocks; False: the last of each level.

    Returns:
        As :func:`explain_files`; no class is explained.

    Raises:
        UserError: A file cannot be written, or as :func:`glocal.inference.routing.routing_pictures`.
    """
    for output, image in outputs.items():
        prepared = _prepared(predictor, image)
        if isinstance(prepared, ExplainedFile):
            yield prepared
            continue
        drawn_on = np.asarray(displayed(prepared.picture))
        x = predictor.normalised([prepared])
        with naming_memory(predictor.device):
            pictures = routing_pictures(predictor.network, x, drawn_on, at=at, every_block=every_block)
        save_routing(pictures, output)
        yield ExplainedFile(image, output, notes=told(prepared))


def _prepared(predictor: Predictor | Classifier, image: Path) -> Prepared | ExplainedFile:
    try:
        return predictor.prepare(image)
    except UserError as error:
        return ExplainedFile(image, error=str(error))
