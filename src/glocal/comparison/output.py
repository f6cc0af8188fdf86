"""The folder of a comparison: report, tables, JSON and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.comparison.figures import FIGURES, figures_of
from glocal.comparison.report import render
from glocal.comparison.tables import latex_table, long_csv, markdown_table, pairwise_csv
from glocal.evaluation.page import Markup
from glocal.evaluation.plots import to_svg
from glocal.files import atomic, write_json, write_text

if TYPE_CHECKING:
    from glocal.comparison.comparison import Comparison

__all__ = ["write_comparison"]


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Write everything; see :meth:`glocal.comparison.Comparison.write`."""
    figures = figures_of(comparison)
    drawings = {name: to_svg(figure, name, FIGURES[name][0]) for name, figure in figures.items()}
    page = render(comparison, drawings)
    paths = {}
    texts = {
        "table.md": markdown_table(comparison),
        "table.tex": latex_table(comparison),
        "table.csv": long_csv(comparison),
        "pairwise.csv": pairwise_csv(comparison),
    }
    for name, text in texts.items():
        paths[name] = folder / name
        write_text(paths[name], text)
    for name, figure in figures.items():
        paths |= _draw(figure, drawings[name], folder / "figures" / name)
    for name in FIGURES:
        if name not in figures:
            for suffix in (".svg", ".png"):
                (folder / "figures" / f"{name}{suffix}").unlink(missing_ok=True)
    paths["comparison.json"] = folder / "comparison.json"
    write_json(paths["comparison.json"], comparison.to_json())
    paths["report.html"] = folder / "report.html"
    write_text(paths["report.html"], page)
    return paths


def _draw(figure: Any, drawing: Markup, stem: Path) -> dict[str, Path]:
    """One figure as files with a white ground."""
    found = {}
    for suffix in (".svg", ".png"):
        path = stem.with_name(stem.name + suffix)
        if suffix == ".svg":
            write_text(path, drawing.replace("<svg ", '<svg color="black" font-family="sans-serif" ', 1) + "\n")
        else:
            figure.set_layout_engine("none")  # laid out already, for the SVG
            with atomic(path) as temporary:
                figure.savefig(temporary, dpi=200, facecolor="white")
        found[f"figures/{path.name}"] = path
    return found
