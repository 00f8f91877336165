"""What README and docs show runs: Python, and every command with every option that is named."""

import math
import re
import shlex
import shutil

import pytest
import typer.main

from meanfield.study.cli.app import app
from meanfield.study.config.reference import all_keys
from tests.helpers.commands import meanfield_command
from tests.helpers.pages import PAGES, ROOT, text_of

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.slow
@pytest.mark.essential
def test_the_examples_of_minimising_movements_run(capsys):
    text = text_of("guides/minimising_movements.md")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, scope)
    spread, evolved, *_, of_second_order = (shown := capsys.readouterr().out.splitlines())[:-2]
    spread, of_second_order, *distances = map(float, (spread, of_second_order, *shown[-2:]))
    # The scheme's steps between normal laws, s'(1 + τ − τ/s'²) = s, from 2 at τ = 1/20; the grid's error, of second order in its
    # cells, is 2e-5.
    assert spread == pytest.approx(0.0123857, abs=5e-5)
    # ½ E[x²] + E[log ρ] of a normal law of standard deviation s is s²/2 − log s − ½ log 2πe; the certificate is below 0.
    energy, balance, excess = map(float, evolved.split())
    law = 0.5 * 1.1857512**2 - math.log(1.1857512) - 0.5 * math.log(2 * math.pi * math.e)
    assert energy == pytest.approx(law, abs=1e-3) and abs(balance) < 0.01 and excess < 0
    assert of_second_order == pytest.approx(0.0003, abs=5e-5)
    assert max(distances) < 0.1
    assert scope["pde"].status == "complete"


def test_the_page_of_configurations_has_every_key():
    text = text_of("reference/configuration.md")
    for key in all_keys():
        heading = f"### `[{key.table}]`" if key.table else "### At the top of the file"
        sections = [part for part in text.split("\n### ") if f"### {part}".startswith(heading)]
        assert any(f"\n| `{key.name}` |" in part for part in sections), key


# --- commands ------------------------------------------------------------------------------------


def shown_commands(page):
    """Every ``meanfield <command> …`` in code, up to where the shell's own words begin."""
    text = text_of(page)
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    code += re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for piece in code:
        for line in piece.splitlines():
            yield from re.findall(r"\bmeanfield ([a-z]+)\b([^#;&\"]*)", line)


SHOWN = sorted({(page.name, *found) for page in PAGES for found in shown_commands(page)})


def test_something_is_found():
    assert {name for _, name, _ in SHOWN} == set(COMMANDS)


def test_commands_and_their_options_are_there():
    assert len(SHOWN) > 50
    for page, command, rest in SHOWN:
        assert command in COMMANDS, page
        known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest):
            assert option in known, f"{page}: meanfield {command} has no {option}"


def test_options_that_are_named_by_themselves_are_some_commands():
    known = {o for c in COMMANDS.values() for p in c.params for o in p.opts}
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "scripts").glob("*.py")]
    known |= set(re.findall(r'"(--[a-z-]+)"', "".join(scripts)))
    known |= {"--allow-run-as-root", "--bind-to", "--map-by", "--mpi"}  # of mpiexec and srun
    for page in PAGES:
        text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        for option in re.findall(r"`(--[a-z-]+)[^`]*`", text):
            assert option in known, (page.name, option)


#: Every command with options in all their forms, for instance.
CALLS = [
    (
        "run",
        "[CONFIG.toml] [--out DIR] [--set section.key=value]… "
        "[--checkpoint-seconds S] [--checkpoint-every STEPS] [--max-runtime "
        "1h30m] [--memory-limit 8GB]",
    ),
    ("resume", "DIR"),
    ("extend", "DIR --steps 800"),
    ("config", "[--defaults]"),
    ("validate", "CONFIG.toml"),
    ("info", "RUN.h5"),
    ("compare", "RUN.h5 [--format png,svg,pdf] [--no-figure]"),
    (
        "distance",
        "A.h5 B.h5 [--method exact|sliced|sinkhorn] [--process NAME] [--time T] "
        "[--subsample N] [--lazy] [--memory-limit 8GB] [--force]",
    ),
    ("width", "CONFIG.toml --widths 64,256,1024,4096 --seeds 8"),
    ("sweep", "[CONFIG.toml] --over learning_rate=0.5,1,2 --seeds 4 [--out DIR]"),
    (
        "plot",
        "PATH [--format png,svg,pdf] [--animate PROCESS [--format gif,mp4] [--fps 10]]",
    ),
    ("report", "RUN_OR_STUDY [--out FILE.html]"),
]
CONFIG = """
learning_rate = 0.5
steps = 6
[task]
name = "digits"
n = 12
[network]
width = 8
[output]
snapshot_every = 3
sharpness_every = 3
[processes.gradient_descent]
[processes.free_energy_flow]
"""
VALUES = {
    "section.key=value": ["task.n=11"],
    "S": ["30"],
    "STEPS": ["2"],
    "exact|sliced|sinkhorn": ["exact", "sliced", "sinkhorn"],
    "NAME": ["gradient_descent"],
    "T": ["3"],
    "N": ["6"],
    "gif,mp4": ["gif"],
    "loss,sharpness": ["loss", "loss,sharpness"],
    "3.4in": ["3.4in"],
    "png,svg,pdf": ["png", "png,svg,pdf"],
    "64,256,1024,4096": ["4,6,8"],
    "8": ["2"],
}


def calls(command, rest):
    """The call without its optional parts, and one with each of them."""
    nested = re.search(r"\[(--animate) PROCESS \[--format gif,mp4\] \[--fps 10\]\]", rest)
    rest = rest.replace(nested[0], "") if nested else rest
    optional = re.findall(r"\[([^\]]+)\]", rest)
    base = shlex.split(re.sub(r"\[[^\]]*\]…?", "", rest))
    yield base
    for part in optional:
        option, *value = part.split(" ")
        for chosen in VALUES.get(value[0], value) if value else [None]:
            yield [*base, option] + ([] if chosen is None else [chosen])
    if nested:
        yield [*base, "--animate", "gradient_descent", "--format", "gif", "--fps", "10"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    (folder / "CONFIG.toml").write_text(CONFIG)
    for name in ("A", "B"):
        arguments = [
            "run",
            str(folder / "CONFIG.toml"),
            "--out",
            str(folder / name),
            "--no-figures",
        ]
        assert meanfield_command(*arguments, "--quiet").exit_code == 0
        (folder / f"{name}.h5").write_bytes((folder / name / "run.h5").read_bytes())
    (folder / "RUN.h5").write_bytes((folder / "A.h5").read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("command", "rest"), CALLS)
def test_commands_with_each_of_their_options_are_done(command, rest, place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in place.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    places = {"RUN_OR_STUDY": "RUN.h5", "PATH": "RUN.h5", "FILE.html": "FILE.html"}
    for number, call in enumerate(calls(command, rest)):
        words = [VALUES.get(word, [places.get(word, word)])[0] for word in call]
        if command in ("run", "width", "sweep"):
            if "CONFIG.toml" not in words:
                words = ["CONFIG.toml", *words]
            words = [f"DIR{number}" if word == "DIR" else word for word in words]
            if "--out" not in words:
                words += ["--out", f"out{number}"]
            if command == "width":
                words += ["--reference-width", "16"]
        if command == "resume":
            words = [str(place / "A")]
        if command == "extend":
            shutil.copytree(place / "A", tmp_path / "A")
            words = ["A", "--steps", "9"]
        result = meanfield_command(command, *words)
        expected = 0
        assert result.exit_code == expected, (words, result.output)


def test_every_command_is_called():
    assert {command for command, _ in CALLS} == set(COMMANDS)
