"""The JSON record beside the weights of a model folder: what the network is, and what it takes and gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from glocal.errors import UserError, nearest
from glocal.models.registry import Task

__all__ = ["FORMAT", "Mode", "ModelRecord", "Preprocessing"]

Mode: TypeAlias = Literal["resize", "window"]

FORMAT = 1
"""Version of ``model.json`` that this package writes, and the newest it reads."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image in [0, 1] before the network sees it."""

    size: tuple[int, int]
    """Height and width the network was trained at."""
    channels: int
    mean: tuple[float, ...]
    """One a channel, subtracted first."""
    std: tuple[float, ...]
    """One a channel, divided by."""
    mode: Mode = "resize"
    """What happens to an image larger than ``size``: stretched to it whole, or cut into overlapping windows of it."""

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ValueError(f"preprocessing: {problem}")

    def _problem(self) -> str | None:
        if len(self.size) != 2 or not all(_whole(n) and n > 0 for n in self.size):
            return f"size is {list(self.size)}; it must be a height and a width of at least 1"
        if not _whole(self.channels) or self.channels < 1:
            return f"channels is {self.channels!r}; it must be a whole number of at least 1"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(_number(v) for v in values):
                return f"{name} is {list(values)}; it must be {self.channels} numbers, one a channel"
        if not all(v > 0 for v in self.std):
            return f"std is {list(self.std)}; its numbers must be above 0"
        if self.mode not in get_args(Mode):
            return f"mode is {self.mode!r}; it must be one of {', '.join(get_args(Mode))}"
        return None


@dataclass(frozen=True)
class ModelRecord:
    """Everything ``model.json`` says."""

    name: str
    """Registered name of the network."""
    arguments: Mapping[str, Any]
    """What the network was made with, ``in_channels`` and ``num_classes`` included."""
    classes: tuple[str, ...]
    """Names of the outputs, in order; of a segmentation the first is the background."""
    task: Task
    preprocessing: Preprocessing
    deployed: bool = False
    """The weights are those of the merged form, :func:`glocal.deploy`."""
    manifest: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Where the weights come from: versions, data, dates."""
    temperature: float = 1.0
    """Classification: what logits are divided by before they become probabilities (Guo et al., ICML 2017)."""
    multi_label: bool = False
    """Classification: each class is present or absent by itself (sigmoid), rather than one of them (softmax)."""

    def __post_init__(self) -> None:
        if not _number(self.temperature) or not 1e-6 <= self.temperature <= 1e6:  # beyond, logits / T overflow
            raise ValueError(f"temperature is {self.temperature!r}; it must be a number above 0, from 1e-6 to 1e6")
        if self.task != "classification" and (self.multi_label or self.temperature != 1.0):
            raise ValueError(f"temperature and multi_label are for classification; the task is {self.task}")

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, with the format version."""
        plain = {
            **{name: getattr(self, name) for name in ("name", "arguments", "classes", "task")},
            "preprocessing": asdict(self.preprocessing),
            "deployed": self.deployed,
            "manifest": self.manifest,
        }
        if self.task == "classification":
            plain |= {"temperature": self.temperature, "multi_label": self.multi_label}
        return {"format": FORMAT, **_plain(plain)}

    @classmethod
    def from_json(cls, value: Any, path: str | Path) -> ModelRecord:
        """Check and read a record.

        Args:
            value: Parsed JSON.
            path: The file it came from, for messages.

        Raises:
            UserError: A key is missing, unknown or of the wrong type, or the format is newer than this package.
        """
        what = _Fields(value, path, "")
        version = what.get("format", int)
        if version != FORMAT:
            newer = "update glocal to read it" if version > FORMAT else "save the model again"
            raise UserError(f"{path}: format {version} where this version of glocal reads {FORMAT}; {newer}")
        name, task = what.get("name", str), what.get("task", str)
        if task not in get_args(Task):
            raise UserError(f"{path}: task is {task!r}; it must be one of {', '.join(get_args(Task))}")
        classes = what.get("classes", list)
        if not classes or not all(isinstance(c, str) for c in classes):
            raise UserError(f"{path}: classes must be a list of names, one for each output")
        inner = _Fields(what.get("preprocessing", dict), path, "preprocessing.")
        try:
            preprocessing = Preprocessing(
                size=tuple(inner.get("size", list)),
                channels=inner.get("channels", int),
                mean=tuple(inner.get("mean", list)),
                std=tuple(inner.get("std", list)),
                mode=inner.get("mode", str, "resize"),
            )
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path}: {error}; mend the file or save the model again") from None
        inner.nothing_else()
        arguments, deployed = what.get("arguments", dict), what.get("deployed", bool)
        manifest = what.get("manifest", dict)
        temperature, multi_label = what.get("temperature", float, 1.0), what.get("multi_label", bool, False)
        what.nothing_else()
        head = (name, arguments, tuple(classes), task, preprocessing, deployed, manifest)
        try:
            return cls(*head, temperature, multi_label)
        except ValueError as error:
            raise UserError(f"{path}: {error}; mend the file or save the model again") from None


_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class _Fields:
    """The keys of one JSON object, taken one by one, each of the type it must have."""

    def __init__(self, value: Any, path: str | Path, prefix: str) -> None:
        if not isinstance(value, dict):
            raise UserError(f"{path}: not the record of a model (an object of keys is expected); is it the right file?")
        self._value, self._path, self._prefix = value, path, prefix
        self._taken: list[str] = []

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        if key not in self._value:
            if default is not None:
                return default
            raise UserError(f"{self._path}: no key {self._prefix + key!r}; restore the file or save the model again")
        value = self._value[key]
        kinds = (int, float) if kind is float else (kind,)
        if not isinstance(value, kinds) or (bool not in kinds and isinstance(value, bool)):
            raise UserError(f"{self._path}: {self._prefix + key} must be {_KINDS[kind]}, not {value!r}"[:300])
        self._taken.append(key)
        return value

    def nothing_else(self) -> None:
        for key in self._value:
            if key not in self._taken:
                hint = nearest(key, self._taken)
                raise UserError(f"{self._path}: unknown key {self._prefix + key!r}.{hint} Remove or correct it")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """Tuples as lists, mappings as dictionaries, so that what is written equals what is read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
