"""Output on stdout and stderr with any encoding."""

from __future__ import annotations

import codecs
import io
import sys
import warnings
from typing import TextIO

from meanfield.study.cli._shared import say

ERRORS = "meanfield"  # the name of `_escaped`


def set_up_streams() -> None:
    """Make printing safe for any encoding, and print warnings on one line each."""
    codecs.register_error(ERRORS, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    warnings.showwarning = _show_warning


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    r"""Replacement for unencodable text: the bytes of an undecodable file name, an escape as \u03b7 for other letters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1
    if "\udc80" <= error.object[error.start] <= "\udcff":
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.backslashreplace_errors(error)


_show_elsewhere = warnings.showwarning
_shown: set[str] = set()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print warnings for users on one line, once; others as Python does, with the location in the code."""
    if category is not UserWarning:
        _show_elsewhere(message, category, filename, lineno, file, line)
    elif str(message) not in _shown:
        _shown.add(str(message))
        say(f"warning: {message}")
