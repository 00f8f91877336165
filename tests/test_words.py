"""The language of the packages: the form of error messages, and no private metaphors."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for package in ("meanfield", "solvers")
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)
#: What messages say instead of "<argument> must be <condition>, got <value>".
OLD_FORMS = (r"(came|come), .*(needed|allowed)", r"\{[^}]*\} came\b", r"\bcame for\b")
#: Images that a reader would have to translate.
METAPHORS = (
    "would rather have stayed",
    "closed in peace",
    "does not let go",
    "keeper",
    "has rather",
    "from strangers",
    "may come from anybody",
    "nobody's business",
    "is going to take",
    "what came of it",
    "came to its end",
    "comes to its end",
    "the way of a",
    "in this very moment",
    "as if nothing had happened",
    "before it is believed",
)
#: Names that files had once, and what they are called now; `figures/layout.py` is about the layout of figures.
OLD_NAMES = {
    "team": "ranks", "launch": "mpi_launcher", "keeper": "checkpointing", "meter": "counting", "trial": "sandbox",
    "work": "setup", "plain_file": "validation", "guarded_file": "fault_tolerant", "whole_file": "atomic",
    "notices": "warnings", "cautions": "warnings", "places": "trajectories", "line": "quantile_functions",
    "turns_of": "third_derivatives", "styles": "palette", "snapshots": "writer",
}  # fmt: skip
#: Beginnings of messages of ValueErrors whose subject is a file or a path, each with the reason why "must" would be odd.
OTHER_FORMS = {
    "path: error of what reads it": r"^(\{[\w.]+\}: )+\{\w+\}$",
    "a pickle is described, after its file and a colon": r"^its? ",
    "path: no such file": r": there is no such file",
    "path: what the operating system says": r"(cannot be (read|opened|created|imported)|cannot write)",
    "archive: a member is missing": r"is missing",
    "processes.<name>: message of the flow": r"^processes\.",
    "messages of several lines or of another library": r"^\{\w+\}$",
}


def texts(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", OLD_FORMS)
def test_no_message_has_an_old_form(form):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(texts(path).splitlines(), 1)
        if re.search(form, line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("metaphor", METAPHORS)
def test_no_private_metaphors(metaphor):
    found = [
        str(path.relative_to(ROOT))
        for path in FILES
        if metaphor in re.sub(r"\s*\n\s*(#:? )?", " ", texts(path))
    ]
    assert not found


def test_files_have_standard_names():
    assert not [str(path.relative_to(ROOT)) for path in FILES if path.stem in OLD_NAMES]


def raised_messages(source):
    """(line, text) of the string literal in every ``raise ValueError("…")``; replaced fields are {expression}."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
            continue
        if ast.unparse(node.exc.func) != "ValueError" or not node.exc.args:
            continue
        message = node.exc.args[0]
        if isinstance(message, ast.Constant):
            yield node.lineno, str(message.value)
        elif isinstance(message, ast.JoinedStr):
            parts = [
                str(part.value)
                if isinstance(part, ast.Constant)
                else f"{{{ast.unparse(part.value)}}}"
                for part in message.values
            ]
            yield node.lineno, "".join(parts)


def test_messages_are_found_in_source():
    source = (
        "def f(x):\n"
        "    if x: raise ValueError(f'x must be {1 + x}, ' 'got 3')\n"
        "    raise ValueError('no')\n"
        "    raise TypeError('other')\n"
    )
    assert sorted(raised_messages(source)) == [(2, "x must be {1 + x}, got 3"), (3, "no")]


def test_every_value_error_says_what_must_be():
    odd = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in raised_messages(texts(path))
        if "must" not in text and not any(re.search(form, text) for form in OTHER_FORMS.values())
    ]
    assert not odd, "\n".join(odd)


def test_no_two_modules_of_a_folder_differ_by_an_s():
    for folder in {path.parent for path in FILES}:
        names = {path.stem for path in folder.glob("*.py")}
        assert not {name for name in names if f"{name}s" in names}, folder


def test_names_in_the_documentation_of_version_0_1_are_importable_and_warn():
    """`meanfield.study.resume` is a function now: it stays one where the module of that name has been imported."""
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    from meanfield.distributed import Communicator, Processes as first\n"
        "    from meanfield.distributed.processes import Processes as second\n"
        "    from solvers.energies import Entropy, Potential\n"
        "    import meanfield.study.resume\n"
        "    from meanfield.study.resume import resume\n"
        "words = ' '.join(str(w.message) for w in said)\n"
        "for name in ('meanfield.distributed.processes', 'solvers.energies', 'meanfield.study.resume'):\n"
        "    assert f'{name} has moved to ' in words, words\n"
        "assert 'meanfield.distributed.Processes' in words\n"
        "assert {w.category for w in said} == {DeprecationWarning}, said\n"
        "import solvers.measures.energies as energies\n"
        "from meanfield.study.figures import run_figures\n"
        "from meanfield.study.width import read_study\n"
        "from solvers.transport import coupled_distance\n"
        "assert first is second is Communicator\n"
        "assert Entropy is energies.Entropy and Potential is energies.Potential\n"
        "assert meanfield.study.resume.resume is resume is meanfield.resume\n"
        "for call in (resume, meanfield.study.resume):\n"
        "    try:\n"
        "        call('nowhere')\n"
        "    except ValueError:\n"
        "        continue\n"
        "    raise AssertionError(call)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
