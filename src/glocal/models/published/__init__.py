"""Networks as their authors published them: foreign tensors in our words, foreign modules as ours.

Add a system: one file with a :class:`System` (rules from published tensor names to ours, the arguments that shapes and
names imply, and the published components that golden cases name), and a line in ``_SYSTEMS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from glocal.errors import UserError
from glocal.models.published import lmnet
from glocal.models.published.system import Component, Converted, Record, System, UnknownComponentError
from glocal.models.registry import model_info

__all__ = [
    "Component",
    "Converted",
    "Record",
    "System",
    "UnknownComponentError",
    "build_component",
    "convert_state_dict",
    "recognise",
]

_SYSTEMS: Mapping[str, System] = {system.family: system for system in (lmnet.SYSTEM,)}

_NESTED_UNDER = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "weights",
    "params",
    "ema_state_dict",
    "model_ema",
    "ema",
    "module",
)
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")


def recognise(state: Mapping[str, Any]) -> str | None:
    """The family whose published network a checkpoint holds; None: none that is known.

    Args:
        state: As for :func:`convert_state_dict`.
    """
    tensors, _ = _bare(state)
    return next((s.family for s in _SYSTEMS.values() if s.recognises(tensors)), None)


def convert_state_dict(name: str | None, state: Mapping[str, Any]) -> Converted:
    """Translate a published checkpoint into our tensors and the arguments of the network that takes them.

    Args:
        name: The registered network that was asked for, or None: whichever the tensors are recognised as.
        state: What ``torch.load(..., weights_only=True)`` returned: the state dict itself, or a dictionary that holds
            it under one of the usual keys; names with or without a prefix such as ``module.``.

    Returns:
        Ours; ``notes`` tells what was unwrapped and left out.

    Raises:
        UserError: No tensors; tensors of no known network, or of another than ``name``; or so few that the variant
            cannot be told.
    """
    tensors, notes = _bare(state)
    if not tensors:
        raise UserError("there are no tensors in it; is it the checkpoint of a network?")
    system = next((s for s in _SYSTEMS.values() if s.recognises(tensors)), None)
    if system is None:
        known = ", ".join(_SYSTEMS)
        raise UserError(
            f"its {len(tensors)} tensors (first: {next(iter(tensors))!r}) are of no published network that is known "
            f"({known}); give the authors' checkpoint of one of these"
        )
    if name is not None and model_info(name).family != system.family:
        raise UserError(f"its tensors are those of {system.family}, not of {name}; use --model {system.family}")
    try:
        converted = system.convert(tensors)
    except KeyError as error:
        raise UserError(
            f"its tensors look like {system.family}, but {error.args[0]!r} is missing; is the file complete?"
        ) from None
    except (IndexError, ValueError) as error:
        raise UserError(
            f"its tensors are named as those of {system.family}, but have other shapes ({error}); is it the right file?"
        ) from None
    if converted.ignored:
        notes.append(f"left out {len(converted.ignored)} tensors that the published network never uses")
    return replace(converted, notes=(*notes, *converted.notes))


def build_component(record: Record) -> Component:
    """Our module for the published one that a golden record names, from its ``component`` and ``arguments``.

    Args:
        record: The record; ``system`` and ``component`` say which module.

    Raises:
        UnknownComponentError: The system or the component is not known; the message names it.
        TypeError: The record gives the component an argument that it does not take.
    """
    system = _SYSTEMS.get(record["system"])
    if system is None:
        raise UnknownComponentError(f"no published system {record['system']!r}")
    make = system.components.get(record["component"])
    if make is None:
        raise UnknownComponentError(f"no component {record['component']!r} of {record['system']}")
    return make(record)


def _bare(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by their published names, and what was unwrapped."""
    notes: list[str] = []
    while not any(isinstance(value, Tensor) for value in state.values()):
        key = next((key for key in _NESTED_UNDER if isinstance(state.get(key), Mapping)), None)
        if key is None:
            return {}, notes
        state = state[key]
        notes.append(f"took the tensors under {key!r}")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        notes.append(f"removed the prefix {prefix!r} of the tensors' names")
    return tensors, notes
