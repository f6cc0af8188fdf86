"""Data sets as their makers distribute them: one file a layout, all giving the same steps for the conversion.

``recognise(root)`` names what is there; :func:`glocal.data.prepare.prepare` converts it.
"""

from __future__ import annotations

from pathlib import Path

from glocal.data.distributed import (
    hc18,
    iugc2024,
    jnu_ifm,
    medmnist,
    nnunet,
    pictures,
    psfhs,
    transunet,
    volumes,
)
from glocal.data.distributed._files import Tree
from glocal.data.distributed.distribution import Content, Distribution, Item, Step
from glocal.errors import UserError, nearest

__all__ = ["LAYOUTS", "Content", "Distribution", "Item", "Step", "recognise", "refuse_unprepared"]

LAYOUTS = (
    *("nnunet", "synapse", "acdc", "psfhs", "iugc2024", "jnu-ifm", "hc18", "medmnist"),
    *("isic2018", "lgg", "busi", "kvasir", "volumes", "plain"),
)
"""Names for ``--layout``."""

_RECOGNISERS = (
    transunet.recognise,
    psfhs.recognise,
    iugc2024.recognise,
    jnu_ifm.recognise,
    hc18.recognise,
    medmnist.recognise,
    pictures.recognise,
    volumes.recognise,
)


def recognise(root: str | Path, layout: str | None = None, channel: str | None = None) -> Distribution | None:
    """What a folder holds as its makers distribute it, told from names; no picture is decoded.

    Args:
        root: The folder; of MedMNIST also the file.
        layout: The name of the one it has to be, where several would do.
        channel: Of several in an nnU-Net set, the one to take.

    Returns:
        The data set; None if it is none that is known (it may still be a plain one for
        :func:`~glocal.data.open_dataset`).

    Raises:
        UserError: The folder is missing or cannot be listed, holds several sets, or not ``layout``.
    """
    root = Path(root)
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"no layout {layout!r}.{nearest(layout, LAYOUTS)} There are {', '.join(LAYOUTS)}")
    if not root.exists():
        raise UserError(f"{root}: no such folder; check the path")
    if layout == "plain":
        return pictures.plain(root)
    tree = Tree.of(root)
    for found in (nnunet.recognise(tree, channel), *(recognise(tree) for recognise in _RECOGNISERS)):
        if found is not None and layout in (None, found.name):
            return found
    if layout is not None:
        raise UserError(f"{root}: this is not the layout {layout!r}; leave --layout out to have it recognised")
    return None


def refuse_unprepared(root: str | Path) -> None:
    """Refuse a folder that has to be converted before it can be read.

    Raises:
        UserError: It is a distribution that ``open_dataset`` does not read; names the command that converts it.
    """
    found = recognise(root)
    if found is not None and not found.readable:
        raise UserError(f"{root}: {found.title}, which has to be converted first: {found.command}")
