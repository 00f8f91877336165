"""Settings as nested tables of plain values, before they are validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from meanfield.study.config.errors import ConfigError

MAX_DEPTH = 8  # nesting of tables and arrays; a configuration needs 3


def plain(value: Any) -> Any:
    """The TOML equivalent of a Python value, including NumPy numbers and arrays, tuples and paths; others unchanged."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def require_shallow(settings: dict[str, Any]) -> None:
    """Raise for deeply nested tables, whose errors would take too much time and memory to report."""
    level: list[Any] = [settings]
    for _ in range(MAX_DEPTH + 1):
        level = [
            value
            for table in level
            for value in (table.values() if isinstance(table, dict) else table)
            if isinstance(value, dict | list | tuple)
        ]
    if level:
        raise ConfigError(f"tables and arrays must be nested at most {MAX_DEPTH} deep, got more")


def set_key(settings: dict[str, Any], key: str, value: Any, what: str) -> None:
    """Set ``a.b`` in nested tables; `what` names the option in messages."""
    *sections, last = [part.strip() for part in key.split(".")]
    if not all([*sections, last]) or len(sections) > MAX_DEPTH:
        raise ConfigError(f"{what} must be the path of a key, as section.key, got {key!r:.100}")
    table: Any = settings
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"{what} must be a key of a section, got {key!r}, where {section!r} is no section"
            )
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value
