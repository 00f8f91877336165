"""Imports matplotlib before any other module of this package does.

Where it cannot write to its folder of settings it makes a temporary one, which it removes at the end, and would tell stderr so in
two lines: in a container or a batch job there is nothing to mend.
"""

import logging

from meanfield.study.storage.layout import OutputError

_log = logging.getLogger("matplotlib")
_level = _log.level
_log.setLevel(logging.ERROR)
try:
    import matplotlib.font_manager  # noqa: F401
except OSError as error:  # nor is there a folder for temporary files
    raise OutputError(
        "matplotlib must have a writable folder, got none; set MPLCONFIGDIR to one"
    ) from error
finally:
    _log.setLevel(_level)
