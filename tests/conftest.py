"""What every test shares."""

import pytest


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    """Messages are asserted on as text: no colours, and lines wide enough not to be broken."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
