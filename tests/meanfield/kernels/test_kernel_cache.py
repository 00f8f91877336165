"""What is compiled is kept on disk: a second process compiles nothing, an edit of the kernels compiles anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import meanfield
from tests.helpers.clocks import HANGS

ROOT = Path(meanfield.__file__).parents[1]
# A driver compiles in `Dispatcher.compile` only where the cache has nothing: hits and misses are counted where numba counts.
STEP = """
import numba.core.caching as caching
found = {"hit": 0, "miss": 0}
whole = caching.Cache._load_overload
def noted(self, signature, context):
    data = whole(self, signature, context)
    if type(self).__module__.startswith("solvers"):
        found["miss" if data is None else "hit"] += 1
    return data
caching.Cache._load_overload = noted
import numpy as np, meanfield
risk = meanfield.Risk(meanfield.TwoLayerNetwork(2), meanfield.tasks.teacher_student(n=40, input_dim=2))
risk.gradient(risk.network.initialize(30, seed=0))
print(meanfield.__file__, found["hit"], found["miss"])
"""


def step(tree, cache):
    """How many compiled functions one gradient found on disk, and how many it did not."""
    environment = os.environ | {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", STEP], env=environment, cwd=tree, capture_output=True, text=True, timeout=HANGS
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, hits, misses = done.stdout.split()
    assert Path(where).is_relative_to(tree)
    return int(hits), int(misses)


def written(cache):
    return {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_an_edit_compiles_anew(tmp_path):
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    for package in ("meanfield", "solvers", "data"):
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    hits, misses = step(tree, cache)
    assert hits == 0 and misses > 0
    files = written(cache)
    assert any(path.suffix == ".nbc" for path in files)
    assert step(tree, cache) == (misses, 0)
    assert written(cache) == files
    with (tree / "meanfield/_kernels/chain.py").open("a") as file:
        file.write("# an edit of another file than the drivers' own\n")
    assert step(tree, cache) == (0, misses)
