"""The documentation site: MyST Markdown, one executed notebook, figures from committed results; no network."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

import hews_gpu

sys.path.insert(0, str(Path(__file__).parent / "ext"))

project = "HEWS-GPU"
author = "HEWS-GPU developers"
copyright = author
version = release = hews_gpu.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "listings",
    "results",
]
exclude_patterns = ["_build", "ext"]
templates_path = ["_templates"]
smartquotes = False  # would make a dash of the two before an option

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
default_role = "literal"  # docstrings write code in single backticks

html_theme = "pydata_sphinx_theme"
html_title = "HEWS-GPU"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "**": ["pages.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_persistent": ["search-button-field"],
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def _one_sentence(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep napoleon from reading the words before a colon in an attribute's docstring as its type."""
    if what in {"attribute", "data", "property"} and lines and ": " in lines[0]:
        lines[:1] = lines[0].replace(": ", ":\n", 1).split("\n")


def _without_made_up_arguments(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show a protocol without the arguments that `typing` gives its constructor."""
    return ("", returns) if what == "class" and signature == "(*args, **kwargs)" else None


def setup(app: Sphinx) -> None:
    """Connect what corrects docstrings and signatures."""
    app.connect("autodoc-process-docstring", _one_sentence, priority=400)
    app.connect("autodoc-process-signature", _without_made_up_arguments)
