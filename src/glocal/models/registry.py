"""Names of networks and the facts about them: one frozen record beside each network."""

from __future__ import annotations

import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from torch import nn

from glocal.errors import UserError, nearest
from glocal.models._option_types import wrong_kind
from glocal.models.network import Features, Network

__all__ = [
    "ModelInfo",
    "Paper",
    "Task",
    "create_model",
    "default_options",
    "list_models",
    "model_info",
    "register",
    "same_network",
]

Task = Literal["segmentation", "classification"]

_NETWORK_FILES = (
    "attention_unet",
    "deeplab",
    "dssaunet",
    "esfpnet",
    "fcbformer",
    "fcn",
    "hifuse",
    "hiperformer",
    "lmnet",
    "mix_transformer",
    "monai_networks",
    "mobilenet",
    "pvt",
    "resnet",
    "resunet",
    "resunetpp",
    "semantic_fpn",
    "ssformer",
    "swin",
    "swinunet",
    "transunet",
    "transunet_mk",
    "uctransnet",
    "unet",
    "unetpp",
    "upernet",
)
"""Modules of this package that register networks; imported when the registry is first asked."""


@dataclass(frozen=True)
class Paper:
    """Where a network was published."""

    title: str
    year: int
    url: str
    """Persistent address: arXiv or DOI."""


@dataclass(frozen=True)
class ModelInfo:
    """The facts about one registered network. A test checks each claim, so they cannot lie."""

    name: str
    family: str
    """The system the variant belongs to, such as ``"lmnet"``."""
    task: Task
    summary: str
    """One sentence."""
    input_size: tuple[int, int]
    """Height and width the published figures are for; the network takes any."""
    in_channels: int
    """Channels of the published configuration; the network takes any number."""
    num_classes: int
    """Outputs of the published configuration, for which the counts below hold."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalisation of an image in [0, 1]."""
    parameters: int
    """Trainable numbers in training form."""
    multiply_adds: int
    """True multiply-adds at ``input_size``, batch 1, training form; attention products are included."""
    feature_channels: tuple[int, ...]
    feature_strides: tuple[int, ...]
    paper: Paper
    weights_licence: str | None = None
    """Licence of the weights the authors published; None: there are none, or nothing here says under which licence."""
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Constructor arguments that make the variant."""


@dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    make: Callable[..., Network]


_entries: dict[str, _Entry] = {}
N = TypeVar("N", bound=Callable[..., Network])


def register(*records: ModelInfo) -> Callable[[N], N]:
    """Class decorator: make a network known under the names of its records.

    The class is called with ``in_channels``, ``num_classes``, the record's ``arguments`` and the caller's, all by
    keyword. Its options take what JSON can hold (lists for tuples), so that a model folder can repeat them, and it can
    be made on the meta device.
    """

    def enter(make: N) -> N:
        for record in records:
            assert record.name not in _entries, f"{record.name} is registered twice"
            _entries[record.name] = _Entry(record, make)
        return make

    return enter


def _all() -> dict[str, _Entry]:
    for name in _NETWORK_FILES:
        importlib.import_module(f"glocal.models.{name}")
    return _entries


def _entry(name: str) -> _Entry:
    entries = _all()
    if name not in entries:
        plain = str(name).lower().replace("-", "_").replace(" ", "_")
        raise UserError(f"no network {name!r}.{nearest(plain, entries)} `glocal models` lists them")
    return entries[name]


def list_models(
    *patterns: str,
    task: Task | None = None,
    family: str | None = None,
    max_params: float | None = None,
    max_multiply_adds: float | None = None,
) -> list[str]:
    """Names of the registered networks, sorted.

    Args:
        patterns: Shell patterns in any case, such as ``"lmnet*"``; a name that matches any of them is listed. None
            given: all.
        task: Only networks for this task.
        family: Only variants of this system.
        max_params: Only networks with at most so many parameters.
        max_multiply_adds: Only networks with at most so many multiply-adds at their published input size.

    Raises:
        UserError: ``task`` or ``family`` is not one there is.
    """
    infos = [entry.info for entry in _all().values()]
    _known("task", task, ("segmentation", "classification"))
    _known("family", family, sorted({info.family for info in infos}))
    return sorted(
        info.name
        for info in infos
        if (not patterns or any(fnmatch.fnmatchcase(info.name, pattern.lower()) for pattern in patterns))
        and (task is None or info.task == task)
        and (family is None or info.family == family)
        and (max_params is None or info.parameters <= max_params)
        and (max_multiply_adds is None or info.multiply_adds <= max_multiply_adds)
    )


def _known(what: str, value: str | None, values: Iterable[str]) -> None:
    values = list(values)
    if value is not None and value not in values:
        raise UserError(f"no {what} {value!r}.{nearest(value, values)} There are: {', '.join(values)}")


def model_info(name: str) -> ModelInfo:
    """The facts about a registered network.

    Raises:
        UserError: No network has this name; the nearest one is named.
    """
    return _entry(name).info


def same_network(name: str, other: str) -> bool:
    """Whether two registered names are variants of one network, whose tensors have the same names where both have them.

    Raises:
        UserError: No network has one of these names.
    """
    return _entry(name).make is _entry(other).make


def default_options(name: str) -> dict[str, Any]:
    """Every option of a network and the value it has when none is given.

    Raises:
        UserError: No network has this name.
    """
    entry = _entry(name)
    parameters = inspect.signature(entry.make).parameters.values()
    usual = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    numbers = {"in_channels": entry.info.in_channels, "num_classes": entry.info.num_classes}
    return {**usual, **numbers, **entry.info.arguments}


def create_model(
    name: str,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    features_only: bool = False,
    weights: str | Path | None = None,
    strict: bool = True,
    **arguments: Any,
) -> nn.Module:
    """Make a network.

    Args:
        name: A registered name; :func:`list_models` gives them.
        in_channels: Channels of the input; default: those of ``weights``, else the published number.
        num_classes: Classes of the output; default: those of ``weights``, else the published number.
        features_only: Return the feature pyramid, a list of maps, in place of logits; ``.feature_info`` gives channels
            and strides.
        weights: A model or run folder, a ``.safetensors`` file, or a published ``.pth``, recognised by its keys.
            Options that the weights imply are adopted unless they are given here. Weights of a deployed network give a
            deployed network.
        strict: With ``weights``: refuse missing, unexpected or mis-shaped tensors (they are listed by name). False:
            load what fits and log what was left out; another ``num_classes`` then means a fresh head.
        arguments: Options of the network, such as ``preset="paper"``.

    Returns:
        A :class:`~glocal.models.network.Network`, in training mode, or :class:`~glocal.models.network.Features`.

    Raises:
        UserError: An unknown name or option (the nearest is named), a value the network cannot have, or weights that
            are damaged, hostile or of another network.

    Example:
        >>> import torch, glocal
        >>> network = glocal.create_model("lmnet", in_channels=1, num_classes=3)
        >>> network.eval()(torch.rand(1, 1, 33, 47)).shape
        torch.Size([1, 3, 33, 47])
    """
    given = {"in_channels": in_channels, "num_classes": num_classes}
    options = {**{key: value for key, value in given.items() if value is not None}, **arguments}
    if weights is None:
        network = build(name, options)
    else:
        from glocal.models.weights import network_with_weights

        network = network_with_weights(name, options, weights, strict=strict)
    return Features(network) if features_only else network


def build(name: str, options: Mapping[str, Any]) -> Network:
    """Call the network's class with the published numbers, the variant's arguments and ``options``, later ones first.

    Unlike :func:`create_model` it takes nothing but options of the network, wherever they come from.

    Raises:
        UserError: An unknown name or option, or a value the network cannot have.
    """
    entry = _entry(name)
    known = list(inspect.signature(entry.make).parameters)
    for option in options:
        if option not in known:
            raise UserError(f"{name} has no option {option!r}.{nearest(option, known)} Options: {', '.join(known)}")
    given = {**default_options(name), **options}
    for what in ("in_channels", "num_classes"):
        if not isinstance(given[what], int) or isinstance(given[what], bool) or given[what] < 1:
            raise UserError(f"{name}: {what} is {given[what]!r}; it must be a whole number of at least 1")
    wrong = wrong_kind(entry.make, given)
    if wrong is not None:
        raise UserError(f"{name}: {wrong}")
    try:
        return entry.make(**given)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: numbers beyond what memory can hold
        raise UserError(f"{name}: {' '.join(str(error).split())[:300]}") from error
