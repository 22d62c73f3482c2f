"""The documentation site: MyST Markdown, one executed notebook, figures from committed results; no network."""

from __future__ import annotations

import sys
from pathlib import Path

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

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

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
