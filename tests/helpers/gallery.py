"""The scripts of the site's gallery and tutorials: what they are made of, and running one as a reader would."""

import ast
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

from tests.helpers.pages import ROOT

DOCS = ROOT / "docs"
EXAMPLES = sorted(DOCS.glob("gallery/*/plot_*.py"))
TUTORIALS = sorted(DOCS.glob("tutorials/plot_*.py"))
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}
#: Runs the script that it is given, and prints how many figures it has drawn with pyplot.
RUN = """
import runpy, sys
import matplotlib.pyplot as plt
runpy.run_path(sys.argv[1], run_name="__main__")
print("figures:", len(plt.get_fignums()))
"""


def code_lines(source: str) -> int:
    """Lines with code: neither blank, nor comments, nor docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def run_script(path: Path, cwd: Path) -> str:
    """What it prints, run in a process of its own on one thread, with warnings as errors."""
    threads = dict.fromkeys(["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"], "1")
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(path)],
        cwd=cwd,
        env=environment | threads | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
