"""What the README shows is true."""

import re
from pathlib import Path

import pytest

from meanfield.study.config import load, load_text

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL).group(1)


def test_the_configuration_shown_is_the_default():
    assert load_text(block("toml")) == load()


@pytest.mark.slow
def test_the_python_example_runs():
    scope = {}
    exec(block("python"), scope)
    assert scope["descent"].status == scope["flow"].status == "complete"
    assert scope["values"][0] == pytest.approx(2.0, rel=0.05)
