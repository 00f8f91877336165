"""Imports matplotlib, before any other module of this package.

Where matplotlib cannot write to its configuration folder it creates a temporary one, removed at the end, and prints
two lines on stderr, which are silenced here: in a container or a batch job this is normal.

While it is imported, matplotlib writes lists of properties into the docstrings of its hundred classes of artists, a twentieth of
the time of a short run. In the process of the command, where no one reads them, these lists are left empty; in a user's Python
they are there. It is by a function of matplotlib's public interface, which is as before afterwards.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meanfield import _process
from meanfield.study.storage.schema import OutputError

_log = logging.getLogger("matplotlib")
_level = _log.level
_log.setLevel(logging.ERROR)
try:
    import matplotlib.font_manager
except OSError as error:  # no folder for temporary files either
    raise OutputError(
        "matplotlib must have a writable folder, got none; set MPLCONFIGDIR to one"
    ) from error
finally:
    _log.setLevel(_level)


@contextmanager
def _without_lists_of_properties() -> Iterator[None]:
    from matplotlib import artist

    module: Any = artist
    listed = getattr(module, "kwdoc", None)
    if listed is None:  # another version of matplotlib
        yield
        return
    module.kwdoc = lambda *_: ""
    try:
        yield
    finally:
        module.kwdoc = listed


if _process.is_command:
    with _without_lists_of_properties():
        import matplotlib.figure  # noqa: F401  (and with it all artists)
