"""What a folder holds as its makers distribute it, and the steps that turn each case into arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from glocal.data._tree import Part
from glocal.data.cases import Problem, Progress, Task

__all__ = ["Array", "Content", "Distribution", "Item", "Kind", "Step"]

Kind: TypeAlias = Literal["pictures", "volumes"]
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Item:
    """One case, read.

    Attributes:
        image: A picture ``(H, W)`` or ``(H, W, 3)``, ``uint8`` or ``uint16``; a volume ``(D, H, W)`` of any real type;
            or the file to copy as it is, since it needs no change.
        label: Class indices ``uint8``, ``(H, W)`` or ``(D, H, W)``; None for classification.
        affine: Volumes: ``(4, 4)`` from (column, row, slice) to RAS+ millimetres; None if the source knows no position.
        notes: What was changed on the way, a few words each.
    """

    image: Array | Path
    label: Array | None = None
    affine: npt.NDArray[Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """How one case is read.

    Attributes:
        id: Name of the case; may hold ``/`` where folders tell cases apart.
        sources: Its files.
        read: Reads it; raises :class:`~glocal.errors.UserError` where it cannot be used. Called with True it mends what
            can be mended safely, and notes it.
        group: What must not be split, or None if it belongs to nothing larger.
        split: The part that a ready-made split puts it in.
        labels: Classification: its classes. Segmentation: at most one class of the whole image.
        pixel_size: Side of a square pixel in mm, where it is known beside the image.
    """

    id: str
    sources: tuple[Path, ...]
    read: Callable[[bool], Item] = field(repr=False)
    group: str | None = None
    split: Part | None = None
    labels: tuple[str, ...] = ()
    pixel_size: float | None = None


@dataclass(frozen=True)
class Content:
    """The cases of a distribution, as they are converted.

    Attributes:
        steps: In order; may be read only once, and lazily.
        count: How many there are.
        classes: Names of the classes in the order of their indices; empty where nobody gives them.
        notes: How names and values were understood.
        problems: Cases that cannot be converted, found before anything is read.
        multi_label: Classification: an image may show several classes, or none.
        channel: nnU-Net's name of the image channel, such as ``"CT"``.
    """

    steps: Iterable[Step]
    count: int
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    multi_label: bool = False
    channel: str = ""


@dataclass(frozen=True)
class Distribution:
    """A data set as its makers distribute it.

    Attributes:
        name: For ``--layout``: ``"synapse"``, ``"nnunet"`` …
        title: In words.
        root: The folder (or file) it was recognised in.
        task: Segmentation or classification.
        kind: Pictures or volumes, after conversion.
        readable: :func:`~glocal.data.open_dataset` reads it as it is; otherwise it has to be prepared first.
        found: What it holds, a few words each: ``"18 training volumes in 2212 slices"``.
        open: Lists its cases. May read all masks first, since their values get a meaning as a set.
    """

    name: str
    title: str
    root: Path
    task: Task
    kind: Kind
    readable: bool
    found: tuple[str, ...]
    open: Callable[[Progress | None], Content] = field(repr=False)

    @property
    def command(self) -> str:
        """The command that converts it."""
        from shlex import quote

        root = quote(str(self.root))
        return f"glocal data prepare {'-- ' if root.startswith('-') else ''}{root} OUT"
