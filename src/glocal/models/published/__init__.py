"""Networks as their authors published them: foreign tensors in our words, foreign modules as ours.

Add a system: one file with a :class:`System` (rules from published tensor names to ours, the arguments that shapes and
names imply, and the published components that golden cases name), and a line in ``_SYSTEMS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from glocal.errors import UserError
from glocal.models.published import baselines, dssaunet, hifuse, hiperformer, lmnet, mmsegmentation, spm, swin
from glocal.models.published.system import Component, Converted, Record, System, UnknownComponentError

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

_SYSTEMS: Mapping[str, System] = {
    system.family: system
    for system in (
        dssaunet.SYSTEM,
        dssaunet.STAR_SYSTEM,
        hifuse.SYSTEM,
        hiperformer.SYSTEM,
        lmnet.SYSTEM,
        mmsegmentation.SYSTEM,
        spm.SYSTEM,
        *baselines.SYSTEMS,  # before swin: Swin-Unet's names hold those of a Swin
        swin.SYSTEM,
    )
}

_COMPONENTS = {**{system.family: system.components for system in _SYSTEMS.values()}, "baselines": baselines.COMPONENTS}
"""Golden ``system`` -> its components."""


def recognise(tensors: Mapping[str, Tensor]) -> str | None:
    """The family whose published network a checkpoint holds; None: none that is known.

    Args:
        tensors: As for :func:`convert_state_dict`.
    """
    return next((s.family for s in _SYSTEMS.values() if s.recognises(tensors)), None)


def convert_state_dict(tensors: Mapping[str, Tensor]) -> Converted:
    """Translate a published checkpoint into our tensors and the arguments of the network that takes them.

    Args:
        tensors: By their published names, as :func:`glocal.models.checkpoints.read_checkpoint` gives them: without
            what training scripts put around and wrappers in front of them.

    Returns:
        Ours; ``notes`` tells what was left out.

    Raises:
        UserError: Tensors of no known network, or so few that the variant cannot be told.
    """
    system = next((s for s in _SYSTEMS.values() if s.recognises(tensors)), None)
    if system is None:
        known = ", ".join(_SYSTEMS)
        raise UserError(
            f"its {len(tensors)} tensors (first: {next(iter(tensors), None)!r}) are of no published network that is "
            f"known ({known}); give the authors' checkpoint of one of these"
        )
    try:
        converted = system.convert(tensors)
    except KeyError as error:
        raise UserError(
            f"its tensors look like {system.family}, but {error.args[0]!r} is missing; is the file complete?"
        ) from None
    except UserError:
        raise
    except (IndexError, ValueError) as error:
        raise UserError(
            f"its tensors are named as those of {system.family}, but have other shapes ({error}); is it the right file?"
        ) from None
    if converted.ignored:
        note = f"left out {len(converted.ignored)} tensors that the published network never uses"
        return replace(converted, notes=(note, *converted.notes))
    return converted


def build_component(record: Record) -> Component:
    """Our module for the published one that a golden record names, from its ``component`` and ``arguments``.

    Args:
        record: The record; ``system`` and ``component`` say which module.

    Raises:
        UnknownComponentError: The system or the component is not known; the message names it.
        TypeError: The record gives the component an argument that it does not take.
    """
    components = _COMPONENTS.get(record["system"])
    if components is None:
        raise UnknownComponentError(f"no published system {record['system']!r}")
    make = components.get(record["component"])
    if make is None:
        raise UnknownComponentError(f"no component {record['component']!r} of {record['system']}")
    return make(record)
