"""The code that pages show: Python is executed as printed, TOML is read, and no block is in another language unseen.

A page's blocks of Python run one after the other, in a folder with a finished run ``meanfield-run``.
"""

import re
import shutil
import tomllib

import matplotlib
import pytest

import meanfield
from meanfield.study.config.run_config import load_text
from tests.helpers.pages import DOCS, PAGES, ROOT, text_of

BLOCK = re.compile(
    r"^```(?:\{code-block\} )?([\w{}:-]*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE
)
#: Pages whose Python needs more than to be executed as printed, and the test that has it.
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "getting_started.md": "tests/test_tutorials.py",
    "guides/python.md": "tests/test_readme.py",
    "reference/figures.md": "tests/meanfield/study/figures/test_selection.py",
    "reference/run_file.md": "tests/test_readme.py",
    "guides/minimising_movements.md": "tests/test_docs.py",
    "guides/mpi.md": "tests/meanfield/distributed/test_distributed_runs.py",
    "guides/writing_a_flow.md": "tests/test_writing_a_flow.py",
}
#: Languages that are not executed here: commands are checked by test_docs.py, the others stand for other programs.
OTHER = {"sh", "text", "julia", "matlab", "json"}


def name(page):
    return page.relative_to(ROOT if page.parent == ROOT else DOCS).as_posix()


def blocks(page, language):
    return [body for found, body in BLOCK.findall(text_of(page)) if found == language]


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_has_a_known_language(page):
    for language, _ in BLOCK.findall(text_of(page)):
        is_directive = language.startswith("{")
        assert is_directive or language in OTHER | {"python", "toml", ""}, language


@pytest.mark.parametrize("page", ELSEWHERE)
def test_what_is_executed_elsewhere_is(page):
    text = (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")
    assert page.rpartition("/")[2] in text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    config = meanfield.RunConfig(
        steps=20,
        task={"name": "digits", "n": 20},
        network={"width": 10},
        output={"snapshot_every": 10},
    )
    meanfield.run(config, folder / "meanfield-run").close()
    return folder


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    "page", [page for page in WITH_PYTHON if name(page) not in ELSEWHERE], ids=name
)
def test_python_runs_as_printed(page, finished, tmp_path, monkeypatch):
    matplotlib.use("agg")
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{name(page)}, block {number + 1}", "exec"), scope)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name)
def test_toml_is_a_configuration(page):
    for block in blocks(page, "toml"):
        if "project" not in tomllib.loads(block):  # a distribution's own file
            load_text(block)
