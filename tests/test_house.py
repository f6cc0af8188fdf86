"""What an installation from a clone relies on."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_constraint_pins_one_package() -> None:
    """Anything else (an editable path, a file) breaks the installation, or works on one machine alone."""
    lines = (ROOT / "constraints.txt").read_text().split("\n")
    assert [line for line in lines if line and not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in lines
