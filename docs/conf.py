"""How Sphinx builds the documentation.

sphinx-build -W docs docs/_build/html            # every tutorial and every example is executed
sphinx-build -W -t fast docs docs/_build/html    # those of `FAST` only, as in CI
"""

import os
import sys
from pathlib import Path

import meanfield

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
sys.path.insert(0, str(HERE.parent))  # `scripts`, which some examples draw with

# Pages are made by one process: its results and its messages are the same everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "meanfield"
author = "meanfield developers"
copyright = "meanfield developers"
version = release = meanfield.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstring_text",
    "api_pages",
    "from_code",
    "subjects",
    "source_pages",
    "mathml",
]
exclude_patterns = [
    "_build",
    "gallery",
    "tutorials",
    "reference/api/examples",
    "**/sg_execution_times.rst",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "py:obj"  # what stands in single backticks in docstrings
suppress_warnings = [
    "config.cache",  # functions among the options of sphinx-gallery
]

# --- Markdown --------------------------------------------------------------------------------------

myst_enable_extensions = [
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
]
myst_heading_anchors = 4

# --- examples ------------------------------------------------------------------------------------

#: The examples that a fast build executes, one or two of every kind, some seconds each.
FAST = (
    "landscapes/plot_catapult",
    "landscapes/plot_zigzag",
    "models/plot_delay",
    "models/plot_free_energy_saddle",
    "measures/plot_transport_plan",
    "extending/plot_own_flow",
)
GROUPS = ("landscapes", "networks", "models", "measures", "files", "extending", "papers")

is_fast = tags.has("fast")  # noqa: F821, of Sphinx

sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "gallery"],
    "gallery_dirs": ["auto_tutorials", "auto_gallery"],
    "filename_pattern": "|".join(FAST) if is_fast else r"\.py$",
    "ignore_pattern": r"(^|/)_",
    "subsection_order": [f"gallery/{group}" for group in GROUPS],
    "within_subsection_order": "FileNameSortKey",
    "nested_sections": True,
    "abort_on_example_error": False,
    "min_reported_time": 1e9,  # seconds: pages say the same wherever they are built
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "matplotlib_animations": True,
    "reset_modules": ("matplotlib",),
    "parallel": 1,
    "image_scrapers": ("matplotlib", "shown_figures"),
    "ignore_repr_types": r"matplotlib\.|meanfield\.study\.figures\.",  # figures are shown
    # code of the examples leads to the reference, and the reference to the examples
    "doc_module": ("meanfield", "solvers"),
    "reference_url": {"meanfield": None, "solvers": None},
    "backreferences_dir": "reference/api/examples",
    "default_thumb_file": str(HERE / "overview.png"),
}

# --- docstrings ----------------------------------------------------------------------------------

maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstring says shapes and units, too
numpydoc_show_class_members = False

# --- pages ---------------------------------------------------------------------------------------

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "meanfield"

html_static_path = ["_static"]
html_css_files = ["meanfield.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "meanfield"},
    "navbar_align": "left",
    "header_links_before_dropdown": 9,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
