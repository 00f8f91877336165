"""The scripts are no package: they are imported by path."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module
