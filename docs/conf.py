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
