"""What the tables of the comparison networks share: rules of names, and systems made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from glocal.models.network import Network
from glocal.models.published.system import Component, Converted, Record, Rules, System, apply_rules, renamed, within

__all__ = ["CONV_NORM_PAIRS", "conv_norm", "family", "network"]

_AS_IT_IS: Rules = [(r"(.+)", r"\1")]


def conv_norm(conv: str, norm: str, ours: str) -> Rules:
    """The rules of a convolution and its batch norm, published under two names, which are one ``ConvNorm`` here."""
    place = f"{ours}." if ours else ""
    return [*within(conv, f"{place}conv", _AS_IT_IS), *within(norm, f"{place}norm", _AS_IT_IS)]


CONV_NORM_PAIRS: Rules = [*conv_norm("0", "1", "first"), *conv_norm("3", "4", "second")]
"""Twice convolution, norm, ReLU in one list."""


_LINEAR = re.compile(r"squeeze\.fc[12]\.weight$")
"""Ours that are 1×1 convolutions, and linear layers in the published code."""


def family(
    name: str,
    rules: Rules,
    mark: str,
    arguments: Callable[[Mapping[str, Tensor]], dict[str, Any]],
    components: Mapping[str, Callable[[Record], Component]],
    variant: Callable[[Mapping[str, Any]], str] | None = None,
) -> System:
    """The system of one network.

    Args:
        name: The family, and the registered network unless ``variant`` tells another from the arguments.
        rules: Published tensor names to ours.
        mark: Pattern of how names begin that only this network has.
        arguments: What the tensors imply.
        components: Its modules in golden cases.
        variant: Arguments -> registered network.
    """

    def convert(state: Mapping[str, Tensor]) -> Converted:
        told = arguments(state)
        ours, ignored, unexpected = renamed(state, partial(apply_rules, rules=rules))
        ours = {key: t[..., None, None] if _LINEAR.search(key) else t for key, t in ours.items()}
        return Converted(name, variant(told) if variant else name, told, ours, ignored, unexpected)

    return System(name, lambda state: any(re.match(mark, key) for key in state), convert, components)


def network(
    make: Callable[..., Network], rules: Rules, arguments: Mapping[str, str], **fixed: Any
) -> Callable[[Record], Component]:
    """A component that is a whole network; ``arguments``: theirs -> ours."""

    def build(record: Record) -> Component:
        given = {
            ours: record["arguments"][theirs] for theirs, ours in arguments.items() if theirs in record["arguments"]
        }
        return Component(make(**{**fixed, **given}), partial(apply_rules, rules=rules))

    return build
