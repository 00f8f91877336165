"""Imports matplotlib, before any other module of this package.

Where matplotlib cannot write to its configuration folder it creates a temporary one, removed at the end, and prints
two lines on stderr, which are silenced here: in a container or a batch job this is normal.
"""

import logging

from meanfield.study.storage.schema import OutputError

_log = logging.getLogger("matplotlib")
_level = _log.level
_log.setLevel(logging.ERROR)
try:
    import matplotlib.font_manager  # noqa: F401
except OSError as error:  # no folder for temporary files either
    raise OutputError(
        "matplotlib must have a writable folder, got none; set MPLCONFIGDIR to one"
    ) from error
finally:
    _log.setLevel(_level)
