"""The little TOML that is written or typed; `tomllib` reads the rest."""

from __future__ import annotations

import json
import tomllib
from typing import Any


def format_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Nested tables of strings, booleans, integers, floats and sequences of them as TOML text."""
    values = [f"{key} = {_value(v)}" for key, v in table.items() if not isinstance(v, dict)]
    text = "".join(line + "\n" for line in values)
    for key, value in table.items():
        if isinstance(value, dict):
            body = format_toml(value, f"{prefix}{key}.")
            text += body if body.startswith("\n") else f"\n[{prefix}{key}]\n{body}"
    return text


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character that JSON leaves alone
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none: ``--set risk.loss=softmax``."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
