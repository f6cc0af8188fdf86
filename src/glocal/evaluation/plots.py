"""What all plots share: SVG that takes the colour of the page's text, so that it is readable in light and dark."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import Any

import numpy as np

from glocal.errors import optional_import
from glocal.evaluation.page import Markup

__all__ = ["INK", "PALETTE", "axes_of", "plain", "to_svg"]

PALETTE = ("#2f81f7", "#f97316", "#10a37f", "#a855f7", "#e0427f", "#b58900", "#14a3b8", "#7c8796")
INK = "#010203"
"""Stands for the text colour of the page until the SVG is written."""


def axes_of(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    """Return a matplotlib figure of so many inches and its axes, side by side.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = optional_import("matplotlib.figure", "train").Figure(figsize=(width, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=INK, labelsize=9)
        axis.grid(True, color=INK, alpha=0.12, linewidth=0.8)
        axis.set_axisbelow(True)
        for name, spine in axis.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(INK)
    return figure, axes


def to_svg(figure: Any, salt: str, label: str) -> Markup:
    """Write ``figure`` as an ``<svg>`` without fixed size, fonts, text colour, or names that clash on one page."""
    matplotlib = optional_import("matplotlib", "train")
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the glyph
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", text)
    text = re.sub(r"font-family:[^;\"]*|font: ([\d.]+px) [^;\"]*", lambda m: f"font-size: {m[1]}" if m[1] else "", text)
    head, _, rest = text.partition(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    width = round(100 * figure.get_figwidth())
    head += f' style="width:100%;max-width:{width}px;height:auto" role="img" aria-label="{html.escape(label)}"'
    return Markup(f"{head}>{rest}".replace(INK, "currentColor").strip())


def plain(text: str, longest: int) -> str:
    """Shorten ``text`` and keep matplotlib from reading ``$`` as mathematics and a leading ``_`` as "no legend"."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return ("\u200b" + text if text.startswith("_") else text).replace("$", r"\$")
