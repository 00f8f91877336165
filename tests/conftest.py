"""What every test shares."""

import gc
import os
import signal
import sys

import hypothesis
import pytest
import scipy.linalg.cython_blas  # noqa: F401  (SciPy brings a BLAS of its own)
from threadpoolctl import threadpool_limits

from meanfield._kernels.threads import most_threads, use_threads

pytest_plugins = ("tests.helpers.slow_checks",)

# A shell that starts the tests in the background has them, and every process they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# One process of the tests for each core: threads of BLAS would wait for each other, which doubles the time of small matrices.
if "PYTEST_XDIST_WORKER" in os.environ:
    _BLAS = threadpool_limits(1, user_api="blas")

# Modules, tests and their parameters are millions of objects that stay: the garbage collector need not look through them.
gc.disable()


def pytest_configure(config):
    """The fast tests draw the same examples on every machine; with `-m slow` they are others every time."""
    if config.option.markexpr.startswith("not slow"):
        hypothesis.settings.register_profile("the same", derandomize=True)
        hypothesis.settings.load_profile("the same")


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    if "PYTEST_XDIST_WORKER" in os.environ and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """Before `-n` starts its processes, which would each begin by compiling the same."""
    from tests.helpers.compile_kernels import compile_kernels

    compile_kernels()


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    """Messages are asserted on as text: no colours, and lines wide enough not to be broken."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def _threads_as_before():
    """``--threads`` holds for the rest of a process."""
    before = most_threads()
    yield
    use_threads(before)
