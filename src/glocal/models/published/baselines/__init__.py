"""The networks that others are compared with, as the public code behind the comparisons holds them.

One file a group of networks. Each gives ``SYSTEMS``, one a network or backbone; golden cases know all of them as the
one system ``baselines``, whose components are collected here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from glocal.models.published.baselines import backbones, cnn, mit, transformer
from glocal.models.published.system import Component, Record, System

__all__ = ["COMPONENTS", "SYSTEMS"]

SYSTEMS: tuple[System, ...] = (
    *cnn.SYSTEMS,
    *backbones.SYSTEMS,
    *mit.SYSTEMS,
    *transformer.SYSTEMS,
)

COMPONENTS: Mapping[str, Callable[[Record], Component]] = {
    name: make for system in SYSTEMS for name, make in system.components.items()
}
"""Golden ``component`` of the system ``baselines`` -> what builds ours from the record."""
