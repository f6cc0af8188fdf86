"""Weights of one network for a part of another: a backbone trained on ImageNet, for a segmentation network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glocal.errors import UserError
from glocal.models import registry
from glocal.models.checkpoints import Checkpoint, first_names
from glocal.models.fitting import Form, Shape, fill, shapes, without_filling
from glocal.models.network import Network, PretrainedPart
from glocal.models.published import convert_state_dict, recognise
from glocal.models.record import ModelRecord

__all__ = ["PartWeights", "fill_part", "weights_for_part"]

logger = logging.getLogger("glocal")


@dataclass(frozen=True)
class PartWeights:
    """Tensors of another network, by the names they have in the part of ours that they fit."""

    owner: str
    """The network that they are of, such as ``"swin_base"``."""
    part: str
    """Name of the part, such as ``"global_branch"``."""
    tensors: dict[str, Tensor]
    path: Path
    notes: tuple[str, ...]
    """What was done to get there, and what has no place in the part."""


def weights_for_part(
    name: str, options: Mapping[str, Any], checkpoint: Checkpoint, record: ModelRecord | None = None
) -> PartWeights | None:
    """The tensors of a checkpoint for the part of a network that they fit; None: it is not of a network for a part.

    Args:
        name: Registered name of the network that is to be made.
        options: Its options.
        checkpoint: Tensors by published names or, with a ``record``, by ours.
        record: Says which network of ours the tensors are of.

    Raises:
        UserError: An unknown name or option, a damaged published checkpoint, or one of the family that fits the part,
            but of other widths.
    """
    owner, tensors, notes = _identified(checkpoint, record)
    if owner is None or owner == name:
        return None
    with torch.device("meta"), without_filling():
        parts = Form(name, options).make().pretrained_parts
    part = parts.get(registry.model_info(owner).family)
    if part is None:
        return None
    placed = {_place(key, part): value for key, value in tensors.items()}
    expected = {key: shape for key, shape in shapes(Form(name, options)).items() if key.startswith(part.ours)}
    tensors = {key: tensor for key, tensor in placed.items() if key in expected}
    _require_same_widths(tensors, expected, owner, name, part, checkpoint.path)
    notes = (f"recognised as {owner}, for {_title(part)} of {name}", *notes)
    without = [key for key in placed if key not in expected]
    if without:
        notes += (f"left out {len(without)} tensors that have no place there ({first_names(without, 4)})",)
    return PartWeights(owner, _title(part), tensors, checkpoint.path, notes)


def fill_part(name: str, options: Mapping[str, Any], weights: PartWeights, *, strict: bool) -> Network:
    """Make the network, load the part, and log what was loaded and what stays freshly initialised.

    Raises:
        UserError: ``strict``: the rest of the network would stay as it is initialised.
    """
    if strict:
        raise UserError(
            f"{weights.path}: these are weights of {weights.owner}, for a part of {name} ({weights.part}); "
            "strict=False (--no-strict) loads them there and leaves the rest freshly initialised"
        )
    for note in weights.notes:
        logger.info("%s: %s", weights.path, note)
    return fill(Form(name, options), Checkpoint(weights.tensors, weights.path, weights.notes), strict=False)[0]


def _identified(
    checkpoint: Checkpoint, record: ModelRecord | None
) -> tuple[str | None, dict[str, Tensor], tuple[str, ...]]:
    """The network that tensors are of, the tensors by our names, and what was done to them."""
    if record is not None:
        return record.name, checkpoint.tensors, checkpoint.notes
    if recognise(checkpoint.tensors) is None:
        return None, checkpoint.tensors, checkpoint.notes
    converted = convert_state_dict(checkpoint.tensors)
    return converted.name, {**converted.state, **converted.unexpected}, (*checkpoint.notes, *converted.notes)


def _require_same_widths(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Shape],
    owner: str,
    name: str,
    part: PretrainedPart,
    path: Path,
) -> None:
    """A few tensors may have another shape (the stem, tables of other windows); most may not."""
    fitting = sum(tuple(tensor.shape) == expected[key] for key, tensor in tensors.items())
    if 2 * fitting < len(tensors) or not fitting:
        raise UserError(
            f"{path}: these are weights of {owner}, which {_title(part)} of {name} is too unlike ({fitting} of "
            f"{len(tensors)} tensors have its shapes); take the variant of {name} that is made on {owner}"
        )


def _place(name: str, part: PretrainedPart) -> str:
    """The name of a tensor here; as it is, and so unknown here, if it is not of the part."""
    return part.ours + name.removeprefix(part.theirs) if name.startswith(part.theirs) else name


def _title(part: PretrainedPart) -> str:
    return part.ours.rstrip(".")
