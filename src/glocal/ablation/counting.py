"""Parameters and multiply-adds of the rows of an ablation; nothing is trained, and no weights are made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from glocal.ablation.declared import Ablation, Row
from glocal.errors import UserError
from glocal.models import deploy, model_info
from glocal.models.complexity import Complexity, PapersCount, complexity
from glocal.models.registry import build, default_options, same_network

__all__ = ["Counts", "Entry", "count_ablation", "networks_of", "same_options"]


@dataclass(frozen=True)
class Counts:
    """The cost of one forward pass of one image at the published size of the network.

    Attributes:
        parameters: Trainable numbers.
        multiply_adds: True ones: convolutions, linear layers, attention products.
        papers: By the paper's counter; None where it is not known which one the paper used.
        merged: The same of the form with merged branches, where the ablation asks for it.
    """

    parameters: int
    multiply_adds: int
    papers: PapersCount | None = None
    merged: Counts | None = None


@dataclass(frozen=True)
class Entry:
    """A row of an ablation as an option of one network.

    Attributes:
        row: As declared.
        network: Registered name.
        size: Height and width of the image that is counted.
        counts: None for a row that is refused.
        refusal: Why the network refuses the row; empty where it does not.
    """

    row: Row
    network: str
    size: tuple[int, int]
    counts: Counts | None
    refusal: str = ""


def networks_of(ablation: Ablation, model: str | None = None) -> tuple[str, ...]:
    """The networks that the rows are options of.

    Args:
        ablation: Declared.
        model: Another variant of its network, such as a small one; default: those declared.

    Raises:
        UserError: No network has this name, or it is not a variant of the ablation's.
    """
    if model is None:
        return ablation.networks
    if not same_network(model, ablation.networks[0]):
        raise UserError(
            f"{ablation.name} is of {ablation.networks[0]} and its variants (`glocal models --family "
            f"{model_info(ablation.networks[0]).family}`), and {model} is another network (--model)"
        )
    return (model,)


def same_options(network: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of options make the same network; what is not given is what the variant has."""
    usual = default_options(network)
    first, second = (json.loads(json.dumps({**usual, **options})) for options in (one, other))
    return bool(first == second)


def count_ablation(ablation: Ablation, model: str | None = None) -> list[Entry]:
    """Count every row, as an option of every network of the ablation.

    Args:
        ablation: Declared.
        model: As :func:`networks_of`.

    Raises:
        UserError: As :func:`networks_of`, or the network cannot have the options of a row.
    """
    networks = networks_of(ablation, model)
    entries = []
    for row in ablation.rows:
        for network in (row.model,) if row.model is not None else networks:
            entries.append(_entry(ablation, row, network))
    return entries


def _entry(ablation: Ablation, row: Row, network: str) -> Entry:
    size = model_info(network).input_size
    try:
        counts = _counts(network, row.arguments, size, papers=ablation.papers_counter, deployed=row.deployed)
    except UserError as refusal:
        if not row.refused:
            raise
        return Entry(row, network, size, None, str(refusal))
    assert not row.refused, f"{ablation.name}: {row.label} is declared as refused, and {network} takes it"
    if ablation.merged and row.model is None:
        options = {**row.arguments, "merged": True}
        merged = _counts(network, options, size, papers=ablation.papers_counter)
        counts = Counts(counts.parameters, counts.multiply_adds, counts.papers, merged)
    return Entry(row, network, size, counts)


def _counts(
    network: str, options: Mapping[str, Any], size: tuple[int, int], *, papers: bool, deployed: bool = False
) -> Counts:
    cost = _cost(network, json.dumps(dict(options), sort_keys=True), size, deployed)
    return Counts(cost.parameters, cost.multiply_adds, cost.papers if papers else None)


@cache
def _cost(network: str, options: str, size: tuple[int, int], deployed: bool) -> Complexity:
    """Several tables have rows in common, such as the whole network."""
    with torch.device("meta"):
        made = build(network, json.loads(options))
    return complexity(deploy(made) if deployed else made, size, in_channels=made.in_channels)
