"""What the README shows is true."""

import re
from pathlib import Path

import pytest

from meanfield.study.config import load, load_text
from meanfield.study.run import run

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_configuration_shown_is_the_default():
    assert load_text(blocks("toml")[0]) == load()


def test_the_others_are_configurations():
    for text in blocks("toml")[1:]:
        load_text(text)


@pytest.mark.slow
@pytest.mark.essential
def test_the_python_examples_run(tmp_path, monkeypatch):
    networks, landscapes, results = blocks("python")
    scope = {}
    exec(networks, scope)
    assert scope["descent"].status == scope["flow"].status == "complete"
    assert scope["values"][0] == pytest.approx(2.0, rel=0.05)
    exec(landscapes, scope)
    assert scope["model"].status == "complete"
    monkeypatch.chdir(tmp_path)
    run(load(None, ("task.n=20", "network.width=10")), "meanfield-run")
    exec(results, scope)
    assert scope["result"].status == "complete"
