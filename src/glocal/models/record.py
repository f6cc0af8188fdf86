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

__all__ = ["FORMAT", "INTENSITY_KINDS", "Mode", "ModelRecord", "Preprocessing"]

Mode: TypeAlias = Literal["resize", "window"]

FORMAT = 1
"""Version of ``model.json`` that this package writes, and the newest it reads."""

INTENSITY_KINDS = ("full", "window", "percentiles", "zscore")
"""Ways in which the values of a volume come to [0, 1]; :class:`glocal.data.intensity.Intensity` says what they are."""

_POSTPROCESSING = {"largest_component": list, "fill_holes": list, "minimum_size": dict}
_AXES = ("LR", "PA", "IS")


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
    intensity: Mapping[str, Any] | None = None
    """Volumes: how values come to [0, 1]: ``kind``, ``low`` and ``high``. Pictures are over their full range."""
    orientation: str | None = None
    """Volumes: where their axes x (column), y (row), z (slice) point to, such as ``"RAS"``; all are brought to it."""
    neighbours: int = 1
    """Volumes: slices the network sees at once, as channels, the middle one being segmented (2.5-D); odd."""

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
        return self._problem_of_volumes()

    def _problem_of_volumes(self) -> str | None:
        if self.intensity is not None:
            kind, low, high = (self.intensity.get(key) for key in ("kind", "low", "high"))
            if kind not in INTENSITY_KINDS or self.intensity.keys() - {"kind", "low", "high"}:
                return (
                    f"intensity is {dict(self.intensity)}; it must have kind ({', '.join(INTENSITY_KINDS)}), low, high"
                )
            two = _number(low) and _number(high) and float(low or 0) < float(high or 0)
            if not (low is high is None if kind == "full" else two):
                return f"intensity {kind} has low {low!r} and high {high!r}; it needs two numbers, the smaller first"
        if self.orientation is not None:
            axes = sorted(next((i for i, pair in enumerate(_AXES) if c in pair), -1) for c in self.orientation)
            if axes != [0, 1, 2]:
                return f"orientation is {self.orientation!r}; it must be three letters such as RAS or LPS"
        if not _whole(self.neighbours) or self.neighbours < 1 or self.neighbours % 2 == 0:
            return f"neighbours is {self.neighbours!r}; it must be an odd whole number of at least 1"
        if self.neighbours > 1 and self.channels != self.neighbours:
            return (
                f"neighbours is {self.neighbours} with {self.channels} channels; each neighbouring slice is a channel"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what concerns volumes only where it does."""
        usual = {"intensity": None, "orientation": None, "neighbours": 1}
        return {key: value for key, value in asdict(self).items() if key not in usual or value != usual[key]}


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
    postprocessing: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Segmentation: what is mended in a predicted mask: ``largest_component`` and ``fill_holes``, lists of class
    indices, ``minimum_size``, a number for each class index written as text."""

    def __post_init__(self) -> None:
        if problem := self._problem_of_postprocessing():
            raise ValueError(f"postprocessing: {problem}")
        if not _number(self.temperature) or not 1e-6 <= self.temperature <= 1e6:  # beyond, logits / T overflow
            raise ValueError(f"temperature is {self.temperature!r}; it must be a number above 0, from 1e-6 to 1e6")
        if self.task != "classification" and (self.multi_label or self.temperature != 1.0):
            raise ValueError(f"temperature and multi_label are for classification; the task is {self.task}")

    def _problem_of_postprocessing(self) -> str | None:
        if self.postprocessing and self.task != "segmentation":
            return f"it is for segmentation; the task is {self.task}"
        known = {str(index) for index in range(1, len(self.classes))}
        for name, value in self.postprocessing.items():
            if name not in _POSTPROCESSING:
                return f"unknown step {name!r}; use one of {', '.join(_POSTPROCESSING)}"
            if not isinstance(value, Mapping if name == "minimum_size" else list | tuple):
                return f"{name} must be {_KINDS[_POSTPROCESSING[name]]}, not {value!r}"[:200]
            indices = list(value) if isinstance(value, Mapping) else [str(i) if _whole(i) else None for i in value]
            if any(index not in known for index in indices):
                return f"{name} is {value!r}; its classes go from 1 to {len(known)}"[:200]
            if isinstance(value, Mapping) and not all(_number(size) and size >= 0 for size in value.values()):
                return f"{name} is {dict(value)!r}; its sizes must be numbers of at least 0"[:200]
        return None

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, with the format version."""
        plain = {
            **{name: getattr(self, name) for name in ("name", "arguments", "classes", "task")},
            "preprocessing": self.preprocessing.to_json(),
            "deployed": self.deployed,
            "manifest": self.manifest,
        }
        if self.task == "classification":
            plain |= {"temperature": self.temperature, "multi_label": self.multi_label}
        if self.postprocessing:
            plain["postprocessing"] = self.postprocessing
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
                intensity=inner.maybe("intensity", dict),
                orientation=inner.maybe("orientation", str),
                neighbours=inner.get("neighbours", int, 1),
            )
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path}: {error}; mend the file or save the model again") from None
        inner.nothing_else()
        arguments, deployed = what.get("arguments", dict), what.get("deployed", bool)
        manifest = what.get("manifest", dict)
        temperature, multi_label = what.get("temperature", float, 1.0), what.get("multi_label", bool, False)
        postprocessing = what.get("postprocessing", dict, {})
        what.nothing_else()
        head = (name, arguments, tuple(classes), task, preprocessing, deployed, manifest)
        try:
            return cls(*head, temperature, multi_label, postprocessing)
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

    def maybe(self, key: str, kind: type) -> Any:
        """As :meth:`get`; ``None`` where the key is missing or null."""
        if self._value.get(key) is None:
            self._taken.append(key)
            return None
        return self.get(key, kind)

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
