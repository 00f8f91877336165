"""What was done before an error of a user's function, as a part of that error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

_NOTE = "What was done before it is the attribute `partial` of this error."


def with_partial(error: Exception, done: Any) -> None:
    """Give an error the attribute `partial`, and a note that says so."""
    with suppress(AttributeError):  # a class with slots
        error.partial = done  # type: ignore[attr-defined]
        error.add_note(_NOTE)
