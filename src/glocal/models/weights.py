"""Model folders: ``model.safetensors`` beside ``model.json``.

The folder is all that prediction needs, and holds no code. Loading holds network and file against each other, name by
name and shape by shape, before a number is taken over; a record that asks for a network far larger than the file is
refused before anything is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import UserError
from glocal.files import atomic, read_json, require_regular_file, write_json
from glocal.models import registry
from glocal.models.checkpoints import read_checkpoint
from glocal.models.fitting import Form, adopt, fill, in_file, other_variant, shapes
from glocal.models.network import Network
from glocal.models.parts import fill_part, weights_for_part
from glocal.models.record import ModelRecord, Preprocessing

__all__ = ["LoadedModel", "ModelRecord", "Preprocessing", "find_model", "load_model", "read_record", "save_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A network in eval mode on the CPU, and its record."""

    network: Network
    record: ModelRecord


def save_model(
    folder: str | Path,
    network: nn.Module,
    *,
    name: str,
    arguments: Mapping[str, Any],
    classes: Sequence[str],
    task: registry.Task,
    preprocessing: Preprocessing,
    manifest: Mapping[str, Any] | None = None,
    temperature: float = 1.0,
    multi_label: bool = False,
    postprocessing: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """Write a model folder: ``model.safetensors`` (float32), then ``model.json``; each whole or not at all.

    Args:
        folder: Made if missing; a model in it is replaced.
        network: In training form or deployed; which of the two is recorded.
        name: Registered name of the network.
        arguments: What the network was made with, beside ``in_channels`` and ``num_classes``, which it knows itself.
        classes: Names of the outputs, in order.
        task: ``"segmentation"`` or ``"classification"``.
        preprocessing: What is done to an image before the network sees it.
        manifest: Where the weights come from; JSON values.
        temperature: Classification: what logits are divided by before they become probabilities.
        multi_label: Classification: each class is present or absent by itself.
        postprocessing: Segmentation: what is mended in a predicted mask; see :class:`ModelRecord`.

    Returns:
        The record as written.

    Raises:
        ValueError: ``name`` and ``arguments`` do not make this network, ``classes`` are not as many as its outputs, or
            ``temperature`` or ``multi_label`` are not those of a classifier, or ``postprocessing`` makes no sense.
        UserError: The folder cannot be written, or the disk is full.
    """
    if not isinstance(network, Network):
        raise ValueError(f"{type(network).__name__} is not a registered network; save the network inside it")
    if len(classes) != network.num_classes:
        raise ValueError(f"{len(classes)} class names for {network.num_classes} outputs of {name}; name each output")
    full = {**arguments, "in_channels": network.in_channels, "num_classes": network.num_classes}
    deployed = _form(network, name, full)
    facts = (manifest or {}, temperature, multi_label, postprocessing or {})
    record = ModelRecord(name, full, tuple(classes), task, preprocessing, deployed, *facts)
    folder = Path(folder)
    with atomic(folder / "model.safetensors") as temporary:
        _write_tensors(temporary, network.state_dict())
    write_json(folder / "model.json", record.to_json())
    return record


def _form(network: Network, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the network is deployed; a ValueError if ``arguments`` make another."""
    held = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for deployed in (False, True):
        if shapes(Form(name, arguments, deployed)) == held:
            return deployed
    raise ValueError(f"{name} with arguments {dict(arguments)} is not the network given; pass what it was made with")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {key: _storable(value) for key, value in tensors.items()}
    try:
        save_file(plain, path, metadata={"format": "pt"})
    except SafetensorError as error:
        system = re.search(r"os error (\d+)", str(error))
        if system is None:
            raise
        raise OSError(int(system[1]), "cannot write the weights") from error


def _storable(tensor: Tensor) -> Tensor:
    """A dense CPU copy of its own; floating-point numbers as float32."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)


def find_model(source: str | Path) -> tuple[Path, Path | None]:
    """The tensors and, if there is one, the record that ``source`` means.

    Args:
        source: A model folder, a run folder (its ``model/`` is meant), the ``model.json`` or ``.safetensors`` of a
            model folder, or a checkpoint file, which has no record.

    Raises:
        UserError: It does not exist, or is a folder without a model.
    """
    source = Path(source)
    if source.is_dir():
        for folder in (source, source / "model"):
            if (folder / "model.json").exists():
                return folder / "model.safetensors", folder / "model.json"
        raise UserError(f"{source}: no model in this folder (model.json and model.safetensors); name a run or a model")
    if source.name == "model.json":
        return source.with_name("model.safetensors"), source
    record = source.with_suffix(".json")
    return source, record if source.suffix == ".safetensors" and record.exists() else None


def read_record(path: str | Path) -> ModelRecord:
    """Read and check a ``model.json``.

    Raises:
        UserError: It is missing, damaged, newer than this package, or names an unknown network.
    """
    record = ModelRecord.from_json(read_json(path), path)
    with in_file(path):
        registry.model_info(record.name)
    return record


def load_model(source: str | Path, *, strict: bool = True) -> LoadedModel:
    """Load a model folder; outputs are bit-equal to those of the network that was saved.

    Args:
        source: A model folder, a run folder, or one of the two files of a model folder.
        strict: Refuse missing, unexpected or mis-shaped tensors. False: load what fits, and log what was left out.

    Returns:
        The network, in eval mode, deployed if it was saved so; and the record.

    Raises:
        UserError: Nothing is there, a file is damaged or hostile, or tensors and record do not fit each other.
    """
    weights, record_path = find_model(source)
    if record_path is None:
        require_regular_file(weights)
        raise UserError(
            f"{source}: no {weights.with_suffix('.json').name} beside it says which network this is; "
            "make a model folder of it: glocal convert FILE OUT"
        )
    record = read_record(record_path)
    if len(record.classes) != record.arguments.get("num_classes", len(record.classes)):
        raise UserError(
            f"{record_path}: {len(record.classes)} classes but num_classes {record.arguments['num_classes']}; "
            "restore the file or save the model again"
        )
    checkpoint = read_checkpoint(weights)
    with in_file(record_path, weights):
        network, _ = fill(Form(record.name, record.arguments, record.deployed), checkpoint, strict=strict)
    return LoadedModel(network.eval(), record)


def network_with_weights(name: str, options: Mapping[str, Any], source: str | Path, *, strict: bool = True) -> Network:
    """Make a network with the weights of a model folder or of a checkpoint, ours or published.

    Args:
        name: Registered name.
        options: What the caller asked for; what the weights imply is adopted beside it.
        source: As in :func:`find_model`.
        strict: Refuse missing, unexpected or mis-shaped tensors. False: load what fits, and log what was left out;
            weights of another network are then taken for the part that they fit (a backbone trained on ImageNet).

    Returns:
        The network in training mode; deployed, and then in eval mode, if the weights are.

    Raises:
        UserError: As :func:`load_model`, or the weights are those of another network.
    """
    registry.model_info(name)
    weights, record_path = find_model(source)
    record = None if record_path is None else read_record(record_path)
    checkpoint = read_checkpoint(weights)
    with in_file(weights):
        part = weights_for_part(name, options, checkpoint, record)
    if part is not None:
        return fill_part(name, options, part, strict=strict)
    if record is None or record_path is None:
        form, checkpoint = adopt(checkpoint, name, options, strict=strict)
        return fill(form, checkpoint, strict=strict)[0]
    arguments = record.arguments
    if record.name != name:
        arguments = other_variant(record_path, record.name, name, arguments, strict=strict)
    form = Form(name, {**arguments, **options}, record.deployed)
    with in_file(record_path, weights):
        return fill(form, checkpoint, strict=strict)[0]
