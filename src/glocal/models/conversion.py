"""A checkpoint of anybody's, made a model folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from glocal.errors import UserError
from glocal.models.checkpoints import read_checkpoint
from glocal.models.complexity import count_parameters
from glocal.models.fitting import adopt, fill
from glocal.models.network import Network
from glocal.models.record import ModelRecord, Preprocessing
from glocal.models.registry import ModelInfo, model_info
from glocal.models.weights import find_model, save_model

__all__ = ["Conversion", "convert_checkpoint"]


@dataclass(frozen=True)
class Conversion:
    """What was made of a checkpoint."""

    record: ModelRecord
    """As written in ``model.json``."""
    tensors: int
    """How many were taken over."""
    parameters: int
    """Trainable numbers of the network."""
    fresh: tuple[str, ...]
    """Tensors of the network that the checkpoint does not hold, or in another shape; they are freshly initialised."""
    left_out: tuple[str, ...]
    """Tensors of the checkpoint that the network has no place for."""
    notes: tuple[str, ...]
    """What was recognised, unwrapped, adopted and assumed, one sentence each."""


def convert_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = True,
) -> Conversion:
    """Make a model folder of a checkpoint file; nothing in the file is executed.

    Args:
        checkpoint: ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` with our tensor names or published ones.
        folder: The model folder to make; a model in it is replaced.
        name: Registered network; None: recognised by the tensors.
        classes: Names of the outputs; default: background and class 1, 2, …
        strict: Refuse missing, unexpected or mis-shaped tensors. False: load what fits.

    Raises:
        UserError: The checkpoint is damaged, hostile or of another network, already a model folder, ``classes`` are
            not as many as its outputs, or the folder cannot be written.
    """
    if name is not None:
        model_info(name)
    weights, record_path = find_model(checkpoint)
    if record_path is not None:
        raise UserError(f"{weights}: already a model folder ({record_path.name} is beside it); use it as it is")
    form, found = adopt(read_checkpoint(weights), name, {}, strict=strict)
    network, wrong = fill(form, found, strict=strict)
    info = model_info(form.name)
    if classes is None:
        classes = _class_names(info, network)
    elif len(classes) != network.num_classes:
        raise UserError(
            f"{weights}: has {network.num_classes} outputs, but {len(classes)} classes are named; name each"
        )
    preprocessing, assumed = _preprocessing(info, network)
    notes = (*found.notes, *assumed)
    arguments = {key: value for key, value in form.arguments.items() if key not in ("in_channels", "num_classes")}
    record = save_model(
        folder,
        network,
        name=form.name,
        arguments=arguments,
        classes=classes,
        task=info.task,
        preprocessing=preprocessing,
        manifest={
            "converted_from": weights.name,
            "sha256": _sha256(weights),
            "torch": str(torch.__version__),
            "notes": list(notes),
        },
    )
    return Conversion(
        record=record,
        tensors=len(found.tensors) - len(wrong.unexpected) - len(wrong.misshaped),
        parameters=count_parameters(network),
        fresh=(*wrong.missing, *wrong.misshaped),
        left_out=wrong.unexpected,
        notes=notes,
    )


def _class_names(info: ModelInfo, network: Network) -> list[str]:
    if info.task == "segmentation" and network.num_classes > 1:
        return ["background", *(f"class {i}" for i in range(1, network.num_classes))]
    return [f"class {i}" for i in range(network.num_classes)]


def _preprocessing(info: ModelInfo, network: Network) -> tuple[Preprocessing, list[str]]:
    """The published input size and normalisation; for other channels the mean of the published ones."""
    channels = network.in_channels
    if channels == len(info.mean):
        return Preprocessing(info.input_size, channels, info.mean, info.std), []
    mean, std = (round(sum(values) / len(values), 6) for values in (info.mean, info.std))
    note = f"normalisation for {channels} channels assumed: mean {mean}, std {std} (the published ones, averaged)"
    return Preprocessing(info.input_size, channels, (mean,) * channels, (std,) * channels), [note]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
