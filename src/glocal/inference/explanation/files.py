"""Explanation of files: pictures or maps of many images, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from glocal.errors import UserError
from glocal.inference.classifier import Classifier
from glocal.inference.explanation.explaining import Maps, Method, explain_prepared
from glocal.inference.explanation.result import ALPHA, draw
from glocal.inference.prediction import save_image
from glocal.inference.predictor import Predictor

__all__ = ["ExplainedFile", "MapFormat", "explain_files"]

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
        try:
            prepared = predictor.prepare(image)
        except UserError as error:
            yield ExplainedFile(image, error=str(error))
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
