"""Convolutional networks: their published tensor names and modules."""

from __future__ import annotations

from glocal.models.published.system import System

__all__ = ["SYSTEMS"]

SYSTEMS: tuple[System, ...] = ()
