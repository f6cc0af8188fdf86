"""How the values of a volume, in Hounsfield or any other units, come to [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError

__all__ = ["Blocks", "Intensity", "Kind", "Readable", "percentiles"]

Kind: TypeAlias = Literal["full", "window", "percentiles", "zscore"]
Blocks: TypeAlias = Callable[[], Iterable[NDArray[Any]]]
"""Called as often as needed: the same values again, in pieces of any shape."""

_KEYS = ("kind", "low", "high")
_DEFAULTS: Mapping[str, tuple[float | None, float | None]] = {
    "full": (None, None),
    "window": (None, None),
    "percentiles": (0.5, 99.5),
    "zscore": (-4.0, 4.0),
}


class Readable(Protocol):
    """What is needed of a volume: :class:`glocal.data.volumes.VolumeFile` has it."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values that are read."""

    def slices(self) -> Iterator[NDArray[Any]]:
        """Its slices in order, in real units."""


@dataclass(frozen=True)
class Intensity:
    """How values come to [0, 1]: two limits, between which they are mapped linearly and beyond which they are clipped.

    * ``full``: the whole range: 0 and 255 of a ``uint8`` volume, else its least and largest value.
    * ``window``: ``low`` and ``high``, the same for every volume, in its units (CT: Hounsfield units).
    * ``percentiles``: the ``low``-th and ``high``-th percentile of the volume. Default: 0.5 and 99.5.
    * ``zscore``: ``low`` and ``high`` standard deviations of the volume from its mean. Default: -4 and 4.

    Attributes:
        kind: One of the four.
        low: See above; ``None`` takes the default.
        high: See above.

    Raises:
        ValueError: An unknown kind, or numbers that make no sense for it.
    """

    kind: Kind = "full"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"intensity kind is {self.kind!r}; it must be one of {', '.join(get_args(Kind))}")
        usual = _DEFAULTS[self.kind]
        for name, default in zip(("low", "high"), usual, strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        low, high = self.low, self.high
        if self.kind == "full":
            if low is not None or high is not None:
                raise ValueError("intensity full takes no low and high; leave them out, or use kind window")
            return
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"intensity {self.kind} needs a low below its high, got {low} and {high}")
        if self.kind == "percentiles" and not 0 <= low < high <= 100:
            raise ValueError(f"intensity percentiles are from 0 to 100, got {low:g} and {high:g}")

    def limits(self, file: Readable) -> tuple[float, float]:
        """What becomes 0 and what becomes 1 in one volume; read slice by slice, in memory that depth does not change.

        Args:
            file: The volume, whole: of a part of it the limits would be others.

        Raises:
            UserError: It cannot be read, or holds NaN or infinity.
        """
        if self.low is None or self.high is None:  # full
            return (0.0, 255.0) if file.dtype == np.uint8 else _range(_checked(file))
        if self.kind == "window":
            return self.low, self.high
        if self.kind == "zscore":
            mean, deviation = _moments(_checked(file))
            return mean + self.low * deviation, mean + self.high * deviation
        low, high = percentiles(lambda: _checked(file), (self.low, self.high))
        return low, high

    def unit(self, values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
        """Values of any shape and type in [0, 1]: ``float32``; where both limits are equal, 0 up to them and 1 above.

        Args:
            values: In the units of the limits.
            limits: Of :meth:`limits`.
        """
        low, high = limits
        if not high > low:
            return (values > low).astype(np.float32)
        unit = (values.astype(np.float32) - np.float32(low)) * np.float32(1 / (high - low))
        return np.clip(unit, 0.0, 1.0, out=unit)

    def to_json(self) -> dict[str, Any]:
        """``{"kind", "low", "high"}``."""
        return {key: getattr(self, key) for key in _KEYS}

    @classmethod
    def from_json(cls, value: Any) -> Intensity:
        """What :meth:`to_json` gave.

        Raises:
            ValueError: It is no such object.
        """
        if not isinstance(value, Mapping) or "kind" not in value or value.keys() - set(_KEYS):
            raise ValueError(f"intensity is {value!r}; it must be an object with kind, low and high"[:200])
        numbers = [value.get(key) for key in ("low", "high")]
        if not all(n is None or (isinstance(n, int | float) and not isinstance(n, bool)) for n in numbers):
            raise ValueError(f"intensity low and high must be numbers, not {numbers}"[:200])
        low, high = (None if n is None else float(n) for n in numbers)
        return cls(value["kind"], low, high)

    def __str__(self) -> str:
        if self.kind == "full":
            return "full range of values"
        numbers = f"{self.low:g} to {self.high:g}"
        return {
            "window": f"window from {numbers}",
            "percentiles": f"percentiles {numbers} of each volume",
            "zscore": f"{numbers} standard deviations of each volume",
        }[self.kind]


def percentiles(blocks: Blocks, percents: Sequence[float]) -> tuple[float, ...]:
    """Percentiles of any number of values in constant memory; exact, as those of NumPy of the values as ``float32``.

    The values are read twice: first the upper, then the lower 16 bits of their ``float32`` pattern are counted, which
    in the order of the numbers gives the values of the wanted ranks.

    Args:
        blocks: The values, finite.
        percents: From 0 to 100.

    Raises:
        ValueError: There are no values.
    """
    upper = np.zeros(65536, np.int64)
    for block in blocks():
        upper += np.bincount(_ordered(block) >> np.uint32(16), minlength=65536)
    count = int(upper.sum())
    if not count:
        raise ValueError("no values to take percentiles of")
    places = [percent / 100 * (count - 1) for percent in percents]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    ends = np.cumsum(upper)
    buckets = {rank: int(np.searchsorted(ends, rank, side="right")) for rank in ranks}
    lower = {bucket: np.zeros(65536, np.int64) for bucket in buckets.values()}
    for block in blocks():
        patterns = _ordered(block)
        for bucket, counts in lower.items():
            inside = patterns[patterns >> np.uint32(16) == bucket] & np.uint32(0xFFFF)
            counts += np.bincount(inside, minlength=65536)
    found = {}
    for rank, bucket in buckets.items():
        before = int(ends[bucket] - upper[bucket])
        low = int(np.searchsorted(np.cumsum(lower[bucket]), rank - before, side="right"))
        found[rank] = _value(bucket << 16 | low)
    return tuple(
        found[math.floor(place)] + (found[math.ceil(place)] - found[math.floor(place)]) * (place - math.floor(place))
        for place in places
    )


def _ordered(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Patterns of 32 bits that sort as the numbers do."""
    bits = (values.astype(np.float32).reshape(-1) + np.float32(0)).view(np.uint32)  # + 0: -0 becomes 0
    sign = np.uint32(0x80000000)
    return np.where(bits & sign, ~bits, bits | sign)


def _value(pattern: int) -> float:
    bits = pattern & 0x7FFFFFFF if pattern & 0x80000000 else ~pattern & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


def _checked(file: Readable) -> Iterator[NDArray[Any]]:
    for values in file.slices():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(f"{file.path}: holds NaN or infinity; replace them, or remove the volume")
        yield values


def _range(blocks: Iterable[NDArray[Any]]) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for block in blocks:
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high


def _moments(blocks: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """Mean and standard deviation in one pass, the means of the pieces merged (Chan et al., 1979)."""
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        own = float(block.mean(dtype=np.float64))
        shift, total = own - mean, count + block.size
        squares += float(((block.astype(np.float64) - own) ** 2).sum()) + shift**2 * count * block.size / total
        mean += shift * block.size / total
        count = total
    return mean, math.sqrt(squares / count) if count else 0.0
