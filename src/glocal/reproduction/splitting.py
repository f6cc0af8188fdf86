"""The split that a protocol asks for."""

from __future__ import annotations

from dataclasses import replace

from glocal.data import Dataset, Splits, make_splits
from glocal.reproduction.table import Protocol

__all__ = ["split_for"]


def split_for(protocol: Protocol, dataset: Dataset) -> Splits:
    """Divide a data set as a protocol does. A split that the data set came with is kept.

    Where the protocol chooses the epoch on the part that it measures, that part is ``val`` and there is no ``test``.

    Args:
        protocol: Of a table.
        dataset: Of :func:`glocal.data.open_dataset`.

    Raises:
        UserError: As :func:`glocal.data.make_splits`.
    """
    splits = make_splits(dataset, protocol.split_seed, protocol.fractions, protocol.folds, protocol.grouped)
    if not protocol.chosen_on_test or not splits.test:  # no test: the data set came with train and val alone
        return splits
    train = (*splits.train, *splits.val)
    return replace(splits, train=train, val=splits.test, test=(), notes=(*splits.notes, _CHOSEN))


_CHOSEN = "as published, the best epoch is chosen on the part that is measured: its scores come out too high"
