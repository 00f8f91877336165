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

_SHOWN = "__shown__"  # the last one, which stays the last value of blocks that have none


def shown_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figure that the block's last expression is, and return the markup that shows it."""
    known = block_vars["example_globals"]
    last = known.get("___")
    is_new = isinstance(last, Figure) and last is not known.get(_SHOWN)
    if not is_new or hasattr(last, "number"):  # pyplot's have a number
        return figure_rst([], gallery_conf["src_dir"])
    known[_SHOWN] = last
    path = Path(next(block_vars["image_path_iterator"]))
    with rc_context(STYLE):
        last.savefig(path, format="png")
    return figure_rst([str(path)], gallery_conf["src_dir"])


def _get_sg_image_scraper() -> Any:
    return shown_figures
