"""How Sphinx builds the pages. `make docs` calls it by way of docs/build.py."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent / "tests")]

import ranks  # noqa: E402
from sphinx_gallery.sorting import FileNameSortKey  # noqa: E402

import parnwb  # noqa: E402

project = "parnwb"
author = "parnwb developers"
copyright = "parnwb developers"
version = release = parnwb.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "reference_tables",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# examples/ are programs that the tutorials run and show; gallery headers go into pages that Sphinx-Gallery makes.
exclude_patterns = ["_build", "examples", "tutorials"]
suppress_warnings = ["config.cache"]  # the sort key of the gallery is a class
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "parnwb"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["parnwb.css"]
html_show_sourcelink = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "parnwb"},
    "show_prev_next": False,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "none"
copybutton_prompt_text = "$ "

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's parameters say what they are
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": FileNameSortKey,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 10**6,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "write_computation_times": False,
}
ranks.run_tutorials_under_mpiexec()
