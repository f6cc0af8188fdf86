"""What is known about one published code base: how its checkpoints and its modules become ours."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "Component",
    "Converted",
    "Record",
    "Rules",
    "System",
    "UnknownComponentError",
    "apply_rules",
    "part_of",
    "renamed",
    "within",
    "within_pattern",
]


class UnknownComponentError(LookupError):
    """No network of ours corresponds to a published module; the message names it."""


Record = Mapping[str, Any]
"""The record of a golden case: ``component``, ``arguments``, ``state``, ``parameters`` and how the input is cut."""

Rules = Sequence[tuple[str, str | None]]
"""Pairs of a pattern for the whole published name and our name (``\\1`` is a group); None: the tensor is not used.

Our name may end in ``[i/k]``: the published tensor is part i of k equal ones along our tensor's first axis."""


@dataclass(frozen=True)
class Converted:
    """A published state dict in our words."""

    family: str
    """The system the tensors belong to, such as ``"lmnet"``."""
    name: str
    """The registered network to build."""
    arguments: dict[str, Any]
    """Constructor arguments that the tensors imply, ``in_channels`` and ``num_classes`` among them."""
    state: dict[str, Tensor]
    """Our name -> tensor, for a network built with ``arguments``."""
    ignored: tuple[str, ...] = ()
    """Published tensors that the published network holds but never uses; nothing is lost without them."""
    unexpected: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that no rule knows, by published name: with strict loading an error, otherwise left out and told."""
    notes: tuple[str, ...] = ()
    """What was done to get at the tensors, one sentence each."""
    repeats_grey: tuple[str, ...] = ()
    """Our names of the kernels whose inputs a published network fed with a single grey channel, repeated: summed over
    the channels, they do the same to one."""


@dataclass(frozen=True)
class Component:
    """Our module for a published one, as a golden record describes it."""

    module: nn.Module
    rename: Callable[[str], str | None]
    """Published tensor name -> ours; None: the published module never uses it. ``KeyError``: unknown.

    Ours may be a part of a tensor, as :func:`part_of` reads it."""
    feed: Callable[[Tensor], tuple[Any, ...]] = lambda x: (x,)
    """The one input array of the record -> the arguments of ``module``."""
    finish: Callable[[nn.Module], None] = lambda module: None
    """What is done to the module, in eval mode, once the published tensors are loaded (merging, say)."""


@dataclass(frozen=True)
class System:
    """One published code base."""

    family: str
    recognises: Callable[[Mapping[str, Tensor]], bool]
    """Whether a bare state dict (published names) is one of this system's networks."""
    convert: Callable[[Mapping[str, Tensor]], Converted]
    """The state dict in our words. ``KeyError``: a tensor that is needed is missing; ``IndexError``: misshapen."""
    components: Mapping[str, Callable[[Record], Component]] = field(default_factory=dict)
    """Golden ``component`` -> what builds ours from the record."""


_compiled = functools.cache(re.compile)
"""The cache of ``re`` itself holds fewer patterns than some tables."""


def apply_rules(name: str, rules: Rules) -> str | None:
    """Our name of a published tensor; None: it is not used.

    Raises:
        KeyError: No rule knows the name.
    """
    for pattern, ours in rules:
        match = _compiled(pattern).fullmatch(name)
        if match is not None:
            return None if ours is None else match.expand(ours)
    raise KeyError(name)


def part_of(name: str) -> tuple[str, int, int]:
    """Our tensor's name, which part of it is meant, and of how many: ``"qkv.weight[1/3]"`` -> its second third."""
    match = re.fullmatch(r"(.+)\[(\d+)/(\d+)\]", name)
    return (name, 0, 1) if match is None else (match[1], int(match[2]), int(match[3]))


def within(published: str, ours: str, rules: Rules) -> Rules:
    """The rules of a part, for the whole: both names get the part's place in front (an empty one: nothing)."""
    place = f"{ours}." if ours else ""
    return [(rf"{re.escape(published)}\.{p}", None if r is None else place + r) for p, r in rules]


def within_pattern(published: str, ours: str, rules: Rules) -> Rules:
    """As :func:`within`, of parts in many places: both are patterns, and groups of the place are counted first."""
    groups = re.compile(published).groups
    place = f"{ours}." if ours else ""

    def shifted(name: str) -> str:
        return re.sub(r"\\(\d)", lambda group: rf"\{int(group[1]) + groups}", name)

    return [(rf"{published}\.{p}", None if r is None else place + shifted(r)) for p, r in rules]


def renamed(
    state: Mapping[str, Tensor], rename: Callable[[str], str | None]
) -> tuple[dict[str, Tensor], tuple[str, ...], dict[str, Tensor]]:
    """A state dict under our names, the names that are not used, and the tensors that no rule knows.

    Raises:
        KeyError: Of a tensor of ours that the published code holds in parts, one is missing.
    """
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[int, Tensor]] = {}
    ignored: list[str] = []
    unexpected: dict[str, Tensor] = {}
    for name, tensor in state.items():
        try:
            new = rename(name)
        except KeyError:
            unexpected[name] = tensor
            continue
        if new is None:
            ignored.append(name)
            continue
        whole, i, count = part_of(new)
        if count == 1:
            ours[whole] = tensor
            continue
        held = parts.setdefault(whole, {})
        held[i] = tensor
        if len(held) == count:
            ours[whole] = torch.cat([held[j] for j in range(count)])
    incomplete = [f"a part of what becomes {whole}" for whole in parts if whole not in ours]
    if incomplete:
        raise KeyError(incomplete[0])
    return ours, tuple(ignored), unexpected
