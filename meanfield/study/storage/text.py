"""Sanitising text from files before it is shown."""

from __future__ import annotations

import unicodedata
from typing import Any


def clean(value: Any) -> Any:
    """A text with control characters replaced by question marks; other values unchanged."""
    if not isinstance(value, str):
        return value
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "?" for c in value)
