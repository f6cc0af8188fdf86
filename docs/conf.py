"""Sphinx settings: Markdown pages as they stand in the repository, and the reference from docstrings."""

from importlib.metadata import version as installed

project = "Glocal"
author = "The Glocal developers"
copyright = "2026, The Glocal developers"
release = version = installed("glocal")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["results/assets/**"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
nitpicky = False
html_theme = "furo"
html_title = f"Glocal {release}"


def _command_pages() -> str:
    """The help of every command, as it is printed."""
    import io
    import os
    from contextlib import redirect_stdout

    from glocal.cli import COMMANDS, main

    os.environ["COLUMNS"] = "100"  # the width of the help
    pages = []
    for command, summary in COMMANDS.items():
        words = [[command]] if command != "data" else [["data", part] for part in ("inspect", "splits", "phantom")]
        pages.append(f"## {command}\n\n{summary[0].upper()}{summary[1:]}.\n")
        for line in words:
            shown = io.StringIO()
            with redirect_stdout(shown):
                main([*line, "--help"])
            pages.append(f"```text\n{shown.getvalue()}\n```\n")
    return "\n".join(pages)


def _insert_commands(app: object, name: str, source: list[str]) -> None:
    if name == "reference/command-line":
        source[0] = source[0].replace("<!-- commands -->", _command_pages())


def setup(app) -> None:
    """Fill the page of the command line when it is read."""
    app.connect("source-read", _insert_commands)
