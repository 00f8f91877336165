"""A scraper of sphinx-gallery for figures of results: one that ends a block, as ``result.figures["loss"]`` does, is its image.

They are not pyplot's, which alone the scraper "matplotlib" knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from meanfield.study.figures import STYLE


def shown_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figure that the block's last expression is, and return the markup that shows it."""
    last = block_vars["example_globals"].pop("___", None)
    if not isinstance(last, Figure) or hasattr(last, "number"):  # pyplot's have a number
        return figure_rst([], gallery_conf["src_dir"])
    path = Path(next(block_vars["image_path_iterator"]))
    with rc_context(STYLE):
        last.savefig(path, format="png")
    return figure_rst([str(path)], gallery_conf["src_dir"])


def _get_sg_image_scraper() -> Any:
    return shown_figures
