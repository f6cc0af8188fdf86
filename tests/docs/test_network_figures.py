"""The parameters and multiply-adds that the pages of networks give are those of the registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glocal.models import list_models, model_info

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "networks").glob("*.md"))
COUNT = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")


def rows(page: Path) -> list[tuple[str, str]]:
    """Each network that begins a row, or follows a figure in one, and the rest of the row."""
    found = []
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        for i, cell in enumerate(cells):
            name = cell.strip("`")
            if cell == f"`{name}`" and name in list_models() and (i == 0 or COUNT.search(cells[i - 1])):
                found.append((name, " | ".join(cells[i + 1 :])))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_are_those_of_the_registry(page: Path) -> None:
    for name, row in rows(page):
        counts = COUNT.findall(row)
        if counts:
            assert counts[0] == f"{model_info(name).parameters:,}", f"{name} in {page.name}"
            assert f"{model_info(name).multiply_adds / 1e9:.2f}" in row, f"{name} in {page.name}"


def test_there_are_figures_to_look_at() -> None:
    assert sum(bool(COUNT.search(row)) for page in PAGES for _, row in rows(page)) > 30
