"""What texts and titles say of the process that the others are compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meanfield.study.storage.schema import RunRecord
from solvers.flows import REFERENCE_FLOW

AWAY = ", one rounding away"  # not in a valid name of a process


def reference_words(run: RunRecord) -> str:
    """The process in words: "gradient descent", "heavy ball"."""
    name = run.reference
    if name is None or run.processes[name].flow == REFERENCE_FLOW:
        return REFERENCE_FLOW.replace("_", " ")
    return name.replace("_", " ")


def has_own_optimizer(run: RunRecord) -> bool:
    """Whether the others are compared with another rule than gradient descent."""
    name = run.reference
    return name is not None and run.processes[name].flow != REFERENCE_FLOW


def said(run: RunRecord, text: str) -> str:
    """A text that names gradient descent, of another optimizer where that is what the others are compared with."""
    if not has_own_optimizer(run):
        return text
    name = reference_words(run)
    for before, after in (("gradient descent", name), ("Gradient descent", _capital(name))):
        text = text.replace(before, after)
    return re.sub(r"\bGD\b|(?<=_)GD\b", name, text)


def titles_for(run: RunRecord, titles: Mapping[str, str]) -> dict[str, str]:
    """Titles by key, as `said`."""
    return {key: said(run, title) for key, title in titles.items()}


def perturbed_title(run: RunRecord) -> str:
    """What the perturbed run of that process is called."""
    return reference_words(run) + AWAY


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
