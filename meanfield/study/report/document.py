"""What a report is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """The text of a report, and what it is about.

    `source` is the file that was read, `kind` "run" or "study"; `warnings` are sentences, `figures` names.
    """

    source: Path
    kind: str
    status: str
    text: str
    warnings: tuple[str, ...]
    figures: tuple[str, ...]
